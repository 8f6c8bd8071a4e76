/* Sections idle, active and memory: many containers. */
#include "bench.h"

#include "base/cleanup.h"
#include "supervisor/mpud-protocol.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct group {
	struct target target[THREADS_MAX];
	unsigned int count;
	struct target_work work;
};

static double group_round(struct contender *contender)
{
	struct group *group = contender->context;

	return target_round(group->target, group->count, group->work, &contender->histogram);
}

/* COUNT active targets, answered by MPU or, where it is NULL, by a floor loop each. */
static void add_group(struct contender *contender, unsigned int count, struct target_work work,
		      struct agent *mpu)
{
	static const struct target_options options = {
	    .threads = 1, .kind = TARGET_FILTERED, .workload = {NULL}};
	struct group *group = calloc(1, sizeof(*group));

	group->count = count;
	group->work = work;
	for (unsigned int i = 0; i < count; i++) {
		struct target_options own = options;

		own.workload = workload_pass;
		group->target[i] = target_start(&own);
		if (mpu)
			agent_give(mpu, group->target[i].listener);
		else
			agent_start_floor(group->target[i].listener, true);
	}
	target_round(group->target, count, work, NULL);
	contender->round = group_round;
	contender->context = group;
}

static void end_groups(struct contender *contenders, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct group *group = contenders[i].context;

		for (unsigned int at = 0; at < group->count; at++)
			target_end(&group->target[at]);
		free(group);
	}
	free(contenders);
}

static struct agent *mpu_for_passing(void)
{
	return agent_mpu("580.142", NULL, PIDMAP_NSPID);
}

/* An engine each, all alive at once. */
void section_idle(void)
{
	const unsigned int listeners[] = {1, 10, 100, bench_count(1000, 110),
					  bench_count(5000, 120)};
	enum { SIZES = sizeof(listeners) / sizeof(listeners[0]) };
	struct contender *contenders = calloc(SIZES, sizeof(*contenders));
	struct target_work work = {.calls = bench_count(4000, 100)};
	struct idlers idle[SIZES];

	for (unsigned int i = 0; i < SIZES; i++) {
		struct agent *mpu = mpu_for_passing();

		snprintf(contenders[i].name, sizeof(contenders[i].name), "mpu with %u listener%s",
			 listeners[i], listeners[i] == 1 ? "" : "s");
		idle[i] = idlers_start(listeners[i] - 1);
		for (unsigned int at = 0; at < idle[i].count; at++)
			agent_give(mpu, idle[i].listener[at]);
		add_group(&contenders[i], 1, work, mpu);
	}
	compete(contenders, SIZES, bench_count(100, 2));
	report_section("idle", "A passed call of one target, the others idle");
	for (unsigned int i = 0; i < SIZES; i++) {
		struct row row =
		    report_contender(&contenders[i], i ? &contenders[0] : NULL, "1 listener", NULL);

		if (i == SIZES - 1) {
			row.bar = 1.05;
			row.bar_of = BAR_RATIO;
		}
		report_row(&row);
	}
	end_groups(contenders, SIZES);
	for (unsigned int i = 0; i < SIZES; i++)
		idlers_end(&idle[i]);
}

/* Throughput: the whole of the calls over the whole of the time. */
static void active(unsigned int targets)
{
	struct contender *contenders = calloc(2, sizeof(*contenders));
	struct target_work work = {.calls = bench_count(8000, 200) / targets + 1};
	struct row row;

	snprintf(contenders[0].name, sizeof(contenders[0].name), "%u floor loop%s", targets,
		 targets == 1 ? "" : "s");
	add_group(&contenders[0], targets, work, NULL);
	snprintf(contenders[1].name, sizeof(contenders[1].name), "mpu, %u active", targets);
	add_group(&contenders[1], targets, work, mpu_for_passing());
	compete(contenders, 2, bench_count(80, 2));
	row = report_contender(&contenders[0], NULL, NULL, NULL);
	report_row(&row);
	row = report_contender(&contenders[1], &contenders[0], "floor loops", NULL);
	if (targets == 64) {
		row.bar = 1 / 0.9;
		row.bar_of = BAR_RATIO;
	}
	report_row(&row);
	if (targets == 64) {
		row.name = "  the same, slowest call of a hundred";
		row.median = row_empty.median;
		row.ratio = row_empty.ratio;
		row.bar = 3;
		row.bar_of = BAR_P99_RATIO;
		report_row(&row);
	}
	end_groups(contenders, 2);
}

void section_active(void)
{
	report_section("active", "Time per passed call, all targets together");
	active(1);
	active(2);
	active(8);
	active(64);
}

/* ---- memory ---- */

struct daemon {
	pid_t pid;
	char directory[64], socket[80];
};

static struct daemon daemon_start(void)
{
	struct daemon daemon = {.directory = "/tmp/mpu-bench.XXXXXX"};
	char socket[96], dev_root[160];

	if (!mkdtemp(daemon.directory))
		bench_die("%s: %s", daemon.directory, strerror(errno));
	snprintf(daemon.socket, sizeof(daemon.socket), "%s/mpud.sock", daemon.directory);
	snprintf(socket, sizeof(socket), "--socket=%s", daemon.socket);
	snprintf(dev_root, sizeof(dev_root), "--dev-root=%s", bench_driver());
	daemon.pid = fork();
	if (daemon.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl(bench_program("supervisor/mpud"), "mpud", socket, dev_root, "--log=error",
		      NULL);
		bench_die("cannot execute mpud: %s", strerror(errno));
	}
	return daemon;
}

static void daemon_end(struct daemon *daemon)
{
	kill(daemon->pid, SIGTERM);
	waitpid(daemon->pid, NULL, 0);
	unlink(daemon->socket);
	rmdir(daemon->directory);
}

static void hand_over(const struct daemon *daemon, struct idlers *idle, unsigned int index)
{
	struct mpud_container container = {
	    .id = "idle", .bundle = "/", .pid = idle->pid, .process = idle->pid};
	struct mpu_error error;
	int connection = -1;

	for (int tries = 0; connection < 0; tries++) {
		error = (struct mpu_error){0};
		connection = mpud_connect(daemon->socket, &error);
		if (connection < 0 && tries == 500)
			bench_die("%s", error.text);
		if (connection < 0)
			usleep(10000);
	}
	if (mpud_send_listener(connection, idle->listener[index], &container, &error))
		bench_die("%s", error.text);
	close(connection);
	close(idle->listener[index]);
}

/* What READ says of PID and all processes below it. */
static double sum_of_tree(pid_t pid, double (*read_one)(pid_t))
{
	char path[64];
	cleanup_file FILE *children = NULL;
	double sum = read_one(pid);
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	children = fopen(path, "re");
	while (children && fscanf(children, "%d", &child) == 1)
		sum += sum_of_tree(child, read_one);
	return sum;
}

static double pss_kib(pid_t pid)
{
	char path[48], line[128];
	cleanup_file FILE *file = NULL;
	unsigned long kib;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Pss: %lu", &kib) == 1)
			return (double)kib;
	bench_die("cannot read %s", path);
}

/* Microseconds on a CPU, of all threads. */
static double cpu_us(pid_t pid)
{
	char path[320];
	cleanup_dir DIR *tasks = NULL;
	struct dirent *entry;
	double sum = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		cleanup_file FILE *file = NULL;
		unsigned long long ns;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (file && fscanf(file, "%llu", &ns) == 1)
			sum += (double)ns / 1000;
	}
	return sum;
}

static double slab_kib(void)
{
	cleanup_file FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long kib;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Slab: %lu", &kib) == 1)
			return (double)kib;
	return 0;
}

static void report_kib(const char *name, double kib, double bar)
{
	struct row row = row_empty;

	row.name = name;
	row.unit = "KiB";
	row.median = kib;
	if (bar > 0) {
		row.bar = bar;
		row.bar_of = BAR_MEDIAN;
	}
	report_row(&row);
}

/* What mpud still does about the last listener is over after some seconds; from then on it is woken by
 * nothing but calls, and once in a minute by itself. */
static void report_idle_cpu(const struct daemon *daemon, unsigned int listeners)
{
	const unsigned int seconds = bench_count(20, 1);
	struct row row = row_empty;
	char name[80];
	double before;

	sleep(bench_count(10, 1));
	before = sum_of_tree(daemon->pid, cpu_us);
	sleep(seconds);
	snprintf(name, sizeof(name), "CPU time of mpud in a second, %u idle listener%s", listeners,
		 listeners == 1 ? "" : "s");
	row.name = name;
	row.median = (sum_of_tree(daemon->pid, cpu_us) - before) / seconds;
	row.bar = 0;
	row.bar_of = BAR_MEDIAN;
	report_row(&row);
}

void section_memory(void)
{
	const unsigned int steps[] = {0, bench_count(1000, 50), bench_count(5000, 100)};
	const unsigned int last = steps[2];
	struct daemon daemon = daemon_start();
	struct idlers idle = idlers_start(last + 1);
	double pss = 0, first = 0, slab = 0;
	unsigned int given = 0;
	char name[64];

	/* One that answers shows that mpud is ready; it is part of every figure. */
	hand_over(&daemon, &idle, last);
	report_section("memory", "Memory (PSS) of mpud, all its processes");
	report_idle_cpu(&daemon, 1);
	for (unsigned int i = 0; i < 3; i++) {
		for (; given < steps[i]; given++)
			hand_over(&daemon, &idle, given);
		usleep(500000);
		pss = sum_of_tree(daemon.pid, pss_kib);
		if (i == 0) {
			first = pss;
			slab = slab_kib();
		}
		snprintf(name, sizeof(name), "mpud with %u listeners", steps[i]);
		report_kib(name, pss, i == 2 ? 20 << 10 : 0);
	}
	report_kib("for each listener", (pss - first) / last, 4);
	report_kib("kernel's slab for each listener (whole machine)", (slab_kib() - slab) / last,
		   0);
	report_idle_cpu(&daemon, given + 1);
	idlers_end(&idle);
	daemon_end(&daemon);
}
