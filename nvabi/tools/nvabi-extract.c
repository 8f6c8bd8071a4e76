/* nvabi-extract TREE [VERSION]: the ABI in the driver's source, as rows of nvabi/data/abi. */
#include "nvabi/tools/extract.h"

#include <errno.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct mpu_error error = {0};
	int rc;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: nvabi-extract TREE [VERSION]\n"
				"Writes every escape, UVM ioctl, control, class and parameter "
				"structure of the driver's\nsource in TREE (of release VERSION) "
				"to standard output.\n");
		return 2;
	}
	rc = extract_tree(argv[1], argc == 3 ? argv[2] : NULL, NVABI_DATA, stdout, &error);
	if (!rc && fflush(stdout))
		rc = mpu_fail(&error, EIO, "standard output cannot be written");
	if (rc)
		fprintf(stderr, "nvabi-extract: %s\n", error.text);
	return rc ? 1 : 0;
}
