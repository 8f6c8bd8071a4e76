/* mpuctl: what mpu knows and does, for people and scripts. */
#include "nvabi/tools/abi-command.h"
#include "supervisor/mpuctl/ask.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: mpuctl COMMAND [ARGUMENT]...\n"
    "\n"
    "  status  the running mpud: driver, processes, privilege, containers\n"
    "  stats   what it has done: calls, and how long they took\n"
    "  trace   the NVIDIA calls of a container, as they are made\n"
    "  ps      the processes of each GPU, and which container each is in; without\n"
    "          mpud too\n"
    "  abi     what is known of the NVIDIA driver's ABI, release by release; needs\n"
    "          neither the driver nor mpud\n"
    "\n"
    "Each says more with --help.\n"
    "\n"
    "  --help, --version\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {{"status", status_command},
		{"stats", stats_command},
		{"trace", trace_command},
		{"ps", ps_command},
		{"abi", abi_command}};

/* mpuctl --socket=PATH COMMAND: the command takes the option. */
static void put_behind_command(int argc, char **argv)
{
	char *option = argc > 2 ? argv[1] : NULL;

	if (!option || strncmp(option, "--socket=", strlen("--socket=")) != 0)
		return;
	argv[1] = argv[2];
	argv[2] = option;
}

int main(int argc, char **argv)
{
	put_behind_command(argc, argv);
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
