/* nvabi-rows RELEASE: a stored release's ABI as rows; nvabi-rows BASE NEXT: how two differ. */
#include "nvabi/abi-rows.h"
#include "nvabi/tools/rows.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int write_stored(const char *release, struct mpu_error *error)
{
	struct nvabi_version version;
	enum nvabi_match match;
	struct nvabi_abi *abi;
	int rc = nvabi_version_parse(release, &version);

	if (rc)
		return mpu_fail(error, EINVAL, "'%s' is not a version", release);
	rc = nvabi_abi_open(&version, &abi);
	if (rc)
		return mpu_fail(error, -rc, "%s: %s", release,
				rc == -ENOENT ? "its headers are not public" : strerror(-rc));
	nvabi_abi_release(abi, &match);
	if (match == NVABI_MATCH_EXACT)
		nvabi_abi_write_rows(abi, stdout);
	else
		rc = mpu_fail(error, ENOENT, "%s: is not in nvabi/data/releases", release);
	nvabi_abi_close(abi);
	return rc;
}

static int write_difference(const char *base_path, const char *next_path, struct mpu_error *error)
{
	struct rows base = {0}, next = {0};
	int rc = read_rows(base_path, &base, error);

	if (!rc)
		rc = read_rows(next_path, &next, error);
	if (!rc)
		write_changed_rows(&base, &next, stdout);
	free_rows(&base);
	free_rows(&next);
	return rc;
}

int main(int argc, char **argv)
{
	struct mpu_error error = {0};
	int rc;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: nvabi-rows RELEASE\n"
				"       nvabi-rows BASE NEXT\n"
				"Writes the ABI of a stored release as nvabi-extract does, or what "
				"changed from BASE to\nNEXT, two files of such rows.\n");
		return 2;
	}
	rc = argc == 2 ? write_stored(argv[1], &error) : write_difference(argv[1], argv[2], &error);
	if (!rc && fflush(stdout))
		rc = mpu_fail(&error, EIO, "standard output cannot be written");
	if (rc)
		fprintf(stderr, "nvabi-rows: %s\n", error.text);
	return rc ? 1 : 0;
}
