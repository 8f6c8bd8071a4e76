/* simrm: the simulated NVIDIA driver. See README.md. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/simrm/front.h"

struct options {
	const char *version, *directory, *data;
	unsigned gpus;
	bool foreground, closed_module, accounting, cuse;
};

static const char usage[] =
    "usage: simrm --driver-version=V [options] DIR\n"
    "Simulates the NVIDIA driver of release V with its files in DIR, until SIGTERM.\n"
    "  --gpus=N        number of GPUs, 1 to 32 (1)\n"
    "  --closed        the closed module's wording in DIR/version\n"
    "  --accounting    GPU accounting is on from the start\n"
    "  --data=DIR      where pid-semantics.csv and driver-tree.csv are\n"
    "  --cuse          the devices are character devices in /dev, not files in DIR\n"
    "  --foreground    do not become a daemon; prints \"ready\" when DIR can be used\n";

static int parse_options(int argc, char **argv, struct options *options, struct mpu_error *error)
{
	static const struct option table[] = {
	    {"driver-version", required_argument, NULL, 'v'},
	    {"gpus", required_argument, NULL, 'g'},
	    {"data", required_argument, NULL, 'd'},
	    {"foreground", no_argument, NULL, 'f'},
	    {"closed", no_argument, NULL, 'c'},
	    {"accounting", no_argument, NULL, 'a'},
	    {"cuse", no_argument, NULL, 'C'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	char *end;
	int option;

	*options = (struct options){.gpus = 1, .data = SIMRM_DATA};
	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (option) {
		case 'v':
			options->version = optarg;
			break;
		case 'g':
			options->gpus = (unsigned)strtoul(optarg, &end, 10);
			if (*end || options->gpus < 1 || options->gpus > SIM_GPUS)
				return mpu_fail(error, EINVAL, "--gpus=%s: must be 1 to %d", optarg,
						SIM_GPUS);
			break;
		case 'd':
			options->data = optarg;
			break;
		case 'f':
			options->foreground = true;
			break;
		case 'c':
			options->closed_module = true;
			break;
		case 'a':
			options->accounting = true;
			break;
		case 'C':
			options->cuse = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return mpu_fail(error, EINVAL, "see simrm --help");
		}
	}
	if (!options->version || optind + 1 != argc)
		return mpu_fail(error, EINVAL, "needs --driver-version=V and one DIR; see --help");
	options->directory = argv[optind];
	return 0;
}

static int ready_pipe[2] = {-1, -1};

static void say_ready(void)
{
	if (write(ready_pipe[1], "", 1) < 0)
		perror("simrm: ready");
	close(steal_fd(&ready_pipe[1]));
}

static void print_ready(void)
{
	puts("ready");
	fflush(stdout);
}

/* The parent leaves only when the child has mounted, with 1 when that failed. */
static int become_daemon(void)
{
	char byte;
	pid_t child;

	if (pipe2(ready_pipe, O_CLOEXEC))
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child) {
		close(ready_pipe[1]);
		_exit(read(ready_pipe[0], &byte, 1) == 1 ? 0 : 1);
	}
	close(ready_pipe[0]);
	setsid();
	return 0;
}

static void detach_stdio(void)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
}

static int serve(const struct options *options, struct mpu_error *error)
{
	const struct front_options front = {.directory = options->directory,
					    .open_module = !options->closed_module,
					    .cuse = options->cuse,
					    .ready = options->foreground ? print_ready : say_ready};
	struct rlimit files = {65536, 65536};
	struct release release;
	struct driver *driver;
	int err = release_load(options->data, options->version, &release, error);

	if (err)
		return err;
	driver = calloc(1, sizeof(*driver));
	if (!driver)
		return mpu_fail(error, ENOMEM, "no memory");
	setrlimit(RLIMIT_NOFILE, &files);
	if (!options->foreground) {
		err = become_daemon();
		if (err) {
			free(driver);
			return mpu_fail(error, -err, "fork: %s", strerror(-err));
		}
		detach_stdio();
	}
	err = driver_init(driver, &release, options->gpus, error);
	for (unsigned i = 0; i < options->gpus; i++)
		driver->gpu[i].accounting = options->accounting;
	if (!err)
		err = front_serve(driver, &front, error);
	driver_destroy(driver);
	free(driver);
	return err;
}

int main(int argc, char **argv)
{
	struct mpu_error error = {0};
	struct options options;
	int err = parse_options(argc, argv, &options, &error);

	if (!err)
		err = serve(&options, &error);
	if (err)
		fprintf(stderr, "simrm: %s\n", error.text);
	return err ? 1 : 0;
}
