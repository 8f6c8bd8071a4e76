/* What supervision costs, side by side in one run: see --help and docs/performance.md. */
#include "bench.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static const char usage[] =
    "usage: mpu-bench [OPTIONS] [SECTION]...\n"
    "\n"
    "Measures, each round of all contenders after the other, and prints medians over\n"
    "rounds, the 99th percentile of single calls, and medians of the ratios within a\n"
    "round. Sections: pass handled idle active memory start run (all). Must be root.\n"
    "\n"
    "  --build=DIR     where the programs under test were built (build)\n"
    "  --driver=V      release of the simulated driver (535.104.05)\n"
    "  --rounds=N      rounds of each section\n"
    "  --quick         few rounds and small numbers: shows that this works\n"
    "  --json=FILE     writes the rows there too\n";

static const struct {
	const char *name;
	void (*run)(void);
} sections[] = {
    {"pass", section_pass},	{"handled", section_handled}, {"idle", section_idle},
    {"active", section_active}, {"memory", section_memory},   {"start", section_start},
    {"run", section_run},
};
enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

struct bench_options bench_options = {.build = "build"};
static const char *driver_version = "535.104.05";
static struct {
	pid_t main, pid;
	char directory[64];
} driver;

_Noreturn void bench_die(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "mpu-bench: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	if (getpid() == driver.main)
		exit(1);
	_exit(1);
}

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

unsigned int bench_count(unsigned int full, unsigned int quick)
{
	return bench_options.quick ? quick : full;
}

const char *bench_program(const char *path)
{
	static char whole[512];

	snprintf(whole, sizeof(whole), "%s/%s", bench_options.build, path);
	return whole;
}

const char *bench_self(void)
{
	static char path[512];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		bench_die("cannot read /proc/self/exe: %s", strerror(errno));
	path[length] = '\0';
	return path;
}

static void driver_end(void)
{
	if (getpid() != driver.main || driver.pid <= 0)
		return;
	kill(driver.pid, SIGTERM);
	waitpid(driver.pid, NULL, 0);
	rmdir(driver.directory);
}

static _Noreturn void become_driver(int ready)
{
	char version[48], gpus[16];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(ready, 1);
	snprintf(version, sizeof(version), "--driver-version=%s", driver_version);
	snprintf(gpus, sizeof(gpus), "--gpus=%d", BENCH_GPUS);
	execl(bench_program("tests/simrm/simrm"), "simrm", version, gpus, "--foreground",
	      driver.directory, NULL);
	bench_die("cannot execute simrm: %s", strerror(errno));
}

const char *bench_driver(void)
{
	int ready[2];
	char line[8];

	if (bench_options.dev_root)
		return bench_options.dev_root;
	strcpy(driver.directory, "/tmp/mpu-bench-dev.XXXXXX");
	if (!mkdtemp(driver.directory) || pipe2(ready, O_CLOEXEC))
		bench_die("cannot make a folder for the simulated driver");
	driver.pid = fork();
	if (driver.pid == 0)
		become_driver(ready[1]);
	close(ready[1]);
	if (read(ready[0], line, sizeof(line)) <= 0)
		bench_die("the simulated driver did not start");
	close(ready[0]);
	bench_options.dev_root = driver.directory;
	return driver.directory;
}

/* Five thousand listeners, and as many again in other agents. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	if ((limit.rlim_max < 8192 && !bench_options.quick) || setrlimit(RLIMIT_NOFILE, &limit))
		bench_die("too few open files are allowed: 8192 are needed (ulimit -Hn)");
}

/* Our own measure of when a command began. */
static int stamp(void)
{
	uint64_t now = bench_now_ns();

	return write(3, &now, sizeof(now)) != sizeof(now);
}

static void run_sections(int count, char **names)
{
	for (int i = 0; i < count; i++) {
		unsigned int at = 0;

		while (at < SECTIONS && strcmp(names[i], sections[at].name))
			at++;
		if (at == SECTIONS)
			bench_die("no section %s: see --help", names[i]);
	}
	for (unsigned int at = 0; at < SECTIONS; at++)
		for (int i = 0; i < (count ? count : 1); i++)
			if (!count || strcmp(names[i], sections[at].name) == 0)
				sections[at].run();
}

int main(int argc, char **argv)
{
	static const struct option table[] = {
	    {"build", required_argument, NULL, 'b'},
	    {"driver", required_argument, NULL, 'd'},
	    {"rounds", required_argument, NULL, 'r'},
	    {"quick", no_argument, NULL, 'q'},
	    {"json", required_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	const char *json = NULL;
	int option;

	if (argc == 2 && strcmp(argv[1], "--stamp") == 0)
		return stamp();
	if (argc == 6 && strcmp(argv[1], "--target") == 0)
		return target_main(argv + 2);
	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (option) {
		case 'b':
			bench_options.build = optarg;
			break;
		case 'd':
			driver_version = optarg;
			break;
		case 'r':
			bench_options.rounds = (unsigned int)atoi(optarg);
			break;
		case 'q':
			bench_options.quick = true;
			break;
		case 'j':
			json = optarg;
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (bench_options.rounds > ROUNDS_MAX)
		bench_die("at most %d rounds", ROUNDS_MAX);
	driver.main = getpid();
	atexit(driver_end);
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	run_sections(argc - optind, argv + optind);
	if (json)
		report_json(json);
	return 0;
}
