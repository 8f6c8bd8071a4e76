/* mpuctl: what mpu knows and does, for people and scripts. */
#include "nvabi/tools/abi-command.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
	"Usage: mpuctl COMMAND [ARGUMENT]...\n"
	"\n"
	"  abi    what is known of the NVIDIA driver's ABI, release by release (mpuctl\n"
	"         abi --help); needs neither the driver nor mpud\n"
	"\n"
	"  --help, --version\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {{"abi", abi_command}};

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs("mpuctl: no command (see mpuctl --help)\n", stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(usage, stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("mpuctl " MPU_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "mpuctl: unknown command %s (see mpuctl --help)\n", argv[1]);
	return 2;
}
