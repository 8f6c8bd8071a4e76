/* Sections start and run: whole programs under mpu-run. */
#include "bench.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

enum { ARGUMENTS = 12, RUNS = 5 };

struct command {
	char *argv[ARGUMENTS];
	unsigned int argc;
	bool until_exec; /* the time until the command runs; else until all has ended */
	int stamp[2];	 /* pipe on which the command writes when it began */
};

static void add(struct command *command, const char *argument)
{
	command->argv[command->argc++] = strdup(argument);
}

static pid_t spawn(const struct command *command)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int result;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (command->until_exec)
		posix_spawn_file_actions_adddup2(&actions, command->stamp[1], 3);
	result = posix_spawn(&pid, command->argv[0], &actions, NULL, command->argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result)
		bench_die("cannot execute %s: %s", command->argv[0], strerror(result));
	return pid;
}

static uint64_t run_once(const struct command *command)
{
	uint64_t start = bench_now_ns(), end = 0;
	pid_t pid = spawn(command);
	int status;

	if (command->until_exec && read(command->stamp[0], &end, sizeof(end)) != sizeof(end))
		bench_die("%s did not run its command", command->argv[0]);
	if (waitpid(pid, &status, 0) != pid || status)
		bench_die("%s failed", command->argv[0]);
	return (end ? end : bench_now_ns()) - start;
}

static double command_round(struct contender *contender)
{
	uint64_t sum = 0;

	for (int i = 0; i < RUNS; i++) {
		uint64_t took = run_once(contender->context);

		histogram_add(&contender->histogram, took);
		sum += took;
	}
	return (double)sum / RUNS;
}

/* PREFIX (ended by NULL) and behind it COMMAND with OPTION. */
static void add_command(struct contender *contender, const char *name, const char *const *prefix,
			const char *program, const char *option, bool until_exec)
{
	struct command *command = calloc(1, sizeof(*command));

	snprintf(contender->name, sizeof(contender->name), "%s", name);
	for (; *prefix; prefix++)
		add(command, *prefix);
	add(command, program);
	if (option)
		add(command, option);
	command->until_exec = until_exec;
	if (until_exec && pipe2(command->stamp, O_CLOEXEC))
		bench_die("no file descriptors");
	contender->round = command_round;
	contender->context = command;
}

static void add_three(struct contender contenders[3], const char *program, const char *option,
		      bool until_exec)
{
	char mpu_run[512], dev_root[160];
	const char *const bare[] = {NULL};
	const char *const prefix[] = {mpu_run, dev_root, "--", NULL};
	const char *const prefix_ns[] = {mpu_run, dev_root, "--pid-ns", "--", NULL};

	snprintf(mpu_run, sizeof(mpu_run), "%s", bench_program("supervisor/mpu-run"));
	snprintf(dev_root, sizeof(dev_root), "--dev-root=%s", bench_driver());
	add_command(&contenders[0], "bare", bare, program, option, until_exec);
	add_command(&contenders[1], "mpu-run", prefix, program, option, until_exec);
	add_command(&contenders[2], "mpu-run --pid-ns", prefix_ns, program, option, until_exec);
}

/* What mpu-run adds, in place of a ratio. */
static void report_added(const struct contender contenders[3], double bar_us)
{
	for (int i = 0; i < 3; i++) {
		struct row row =
		    report_contender(&contenders[i], i ? &contenders[0] : NULL, "bare", NULL);

		report_row(&row);
	}
	for (int i = 1; i < 3; i++) {
		struct row row = row_empty;
		char name[96];

		snprintf(name, sizeof(name), "  added by %s", contenders[i].name);
		row.name = name;
		row.median = contender_difference(&contenders[i], &contenders[0]) / 1000;
		if (bar_us > 0) {
			row.bar = bar_us;
			row.bar_of = BAR_MEDIAN;
		}
		report_row(&row);
	}
}

void section_start(void)
{
	struct contender *contenders = calloc(3, sizeof(*contenders));

	add_three(contenders, bench_self(), "--stamp", true);
	compete(contenders, 3, bench_count(60, 2));
	report_section("start", "From exec of mpu-run to main() of its command");
	report_added(contenders, 3000);
	free(contenders);

	contenders = calloc(3, sizeof(*contenders));
	add_three(contenders, "/bin/true", NULL, false);
	compete(contenders, 3, bench_count(60, 2));
	report_section("start", "The whole of a run of true");
	report_added(contenders, 0);
	free(contenders);
}

void section_run(void)
{
	struct world world;
	struct contender *contenders = calloc(3, sizeof(*contenders));
	char gpu_ps[512], dev_root[160];

	snprintf(gpu_ps, sizeof(gpu_ps), "%s", bench_program("examples/gpu-ps"));
	snprintf(dev_root, sizeof(dev_root), "--dev-root=%s", bench_driver());
	world = world_start(0, 20, false);
	add_three(contenders, gpu_ps, dev_root, false);
	compete(contenders, 3, bench_count(40, 2));
	report_section("run", "A whole run of gpu-ps (simulated: 4 GPUs, in FUSE)");
	report_added(contenders, 0);
	world_end(&world);
	free(contenders);
}
