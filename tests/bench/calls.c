/* Sections pass and handled: what one call costs. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum answerer { AGENT_NONE, AGENT_FLOOR, AGENT_PLAIN, AGENT_MPU };

/* One target and who answers it. */
struct pair {
	struct target target;
	struct target_work work;
};

static double pair_round(struct contender *contender)
{
	struct pair *pair = contender->context;

	return target_round(&pair->target, 1, pair->work, &contender->histogram);
}

static void start_agent(enum answerer answerer, struct agent *mpu, int listener)
{
	if (answerer == AGENT_MPU)
		agent_give(mpu, listener);
	else if (answerer != AGENT_NONE)
		agent_start_floor(listener, answerer == AGENT_FLOOR);
}

/* Fills CONTENDER, whose name is set, with a new pair, and warms it up. */
static void add_pair(struct contender *contender, const struct target_options *options,
		     enum answerer answerer, struct agent *mpu, struct target_work work)
{
	struct target_work warm_up = {.calls = work.calls / 2 + 1};
	struct pair *pair = calloc(1, sizeof(*pair));

	pair->work = work;
	pair->target = target_start(options);
	start_agent(answerer, mpu, pair->target.listener);
	target_round(&pair->target, 1, warm_up, NULL);
	contender->round = pair_round;
	contender->context = pair;
}

static void end_pairs(struct contender *contenders, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct pair *pair = contenders[i].context;

		target_end(&pair->target);
		free(pair);
	}
	free(contenders);
}

static const struct {
	const char *name;
	enum target_kind kind;
	enum answerer answerer;
	unsigned int slower; /* makes that many times fewer calls in a round */
} passing[] = {
    {"bare ioctl", TARGET_BARE, AGENT_NONE, 1},
    {"floor loop", TARGET_FILTERED, AGENT_FLOOR, 1},
    {"mpu", TARGET_FILTERED, AGENT_MPU, 1},
    {"agent without sync wake-up", TARGET_FILTERED, AGENT_PLAIN, 1},
    {"strace --seccomp-bpf", TARGET_STRACED, AGENT_NONE, 20},
};
enum { PASSING = sizeof(passing) / sizeof(passing[0]), THE_FLOOR = 1, MPU = 2, STRACE = 4 };

static bool has_strace(void)
{
	return system("command -v strace >/dev/null") == 0;
}

static void pass(unsigned int threads, struct target_work work, unsigned int rounds,
		 struct agent *agent)
{
	struct contender *contenders = calloc(PASSING, sizeof(*contenders));
	/* With pauses strace says nothing new. */
	unsigned int count = work.pause_us || !has_strace() ? STRACE : PASSING;

	for (unsigned int i = 0; i < count; i++) {
		struct target_options options = {
		    .threads = threads, .kind = passing[i].kind, .workload = workload_pass};
		struct target_work own = work;

		own.calls = work.calls / passing[i].slower + 1;
		snprintf(contenders[i].name, sizeof(contenders[i].name), "%s", passing[i].name);
		add_pair(&contenders[i], &options, passing[i].answerer, agent, own);
	}
	compete(contenders, count, rounds);
	if (work.pause_us)
		report_section("pass", "A passed call, after %u us of other work", work.pause_us);
	else
		report_section("pass", "A passed call, %u thread%s in the target", threads,
			       threads == 1 ? "" : "s");
	for (unsigned int i = 0; i < count; i++) {
		struct row row =
		    report_contender(&contenders[i], &contenders[THE_FLOOR], "floor", NULL);

		if (i == MPU && !work.pause_us) {
			row.bar = 1.10;
			row.bar_of = BAR_RATIO;
		}
		report_row(&row);
	}
	if (!work.pause_us && count == STRACE)
		printf("NOT RUN: strace --seccomp-bpf (strace is not installed)\n");
	end_pairs(contenders, count);
}

void section_pass(void)
{
	struct target_work work = {.calls = bench_count(4000, 100)};
	struct target_work apart = {.calls = bench_count(500, 20), .pause_us = 200};
	struct agent *agent = agent_mpu("580.142", NULL, PIDMAP_NSPID);

	pass(1, work, bench_count(100, 2), agent);
	pass(8, work, bench_count(30, 2), agent);
	pass(1, apart, bench_count(30, 2), agent);
}

/* ---- handled ---- */

enum { QUESTIONS = BENCH_GPUS + 1, LOOKUPS = 2 };

/* A GPU for each number of processes, as a driver lists those of the whole machine. 950 are the
 * most that a driver lists: where one of these is another container's, one of this container's may be
 * missing, and mpu looks for it. */
static void make_questions(struct world *worlds, struct question *handled, struct question *bare)
{
	const unsigned int sizes[BENCH_GPUS] = {1, 50, bench_count(950, 60), bench_count(949, 70)};
	const unsigned int most = BENCH_GPUS - 1, entries = bench_count(200, 50);

	for (unsigned int i = 0; i < BENCH_GPUS; i++) {
		const bool shared = i == most;

		worlds[i] = world_start(i, sizes[i], shared);
		handled[i] = (struct question){
		    .gpu = i, .expected = sizes[i], .others = shared};
		bare[i] = handled[i];
		bare[i].expected += shared;
	}
	handled[BENCH_GPUS] = (struct question){
	    .gpu = most, .entries = entries, .expected = entries, .pids = worlds[most].inside};
	bare[BENCH_GPUS] = handled[BENCH_GPUS];
	bare[BENCH_GPUS].pids = worlds[most].host;
}

static const char *question_name(const struct question *question)
{
	static char name[48];

	if (question->entries)
		snprintf(name, sizeof(name), "GET_PID_INFO, %u entries", question->entries);
	else
		snprintf(name, sizeof(name), "GET_PIDS, %u process%s%s", question->expected,
			 question->expected == 1 ? "" : "es",
			 question->others ? " and another's" : "");
	return name;
}

static void report_own(const char *name, const struct contender *handled,
		       const struct contender *bare, bool has_bar)
{
	struct row row = row_empty;
	char text[80];

	snprintf(text, sizeof(text), "  %s, mpu's own part", name);
	row.name = text;
	row.median = contender_difference(handled, bare) / 1000;
	if (has_bar) {
		row.bar = 500;
		row.bar_of = BAR_MEDIAN;
	}
	report_row(&row);
}

static void handled_question(const struct question *question, const struct question *bare,
			     const struct world *world, struct agent *const agents[LOOKUPS])
{
	static const char *const lookups[LOOKUPS] = {"nsfs", "NSpid"};
	struct target_work work = {.calls = bench_count(question->expected > 100 ? 20 : 200, 5)};
	/* By NSpid a call takes a hundred times as long. */
	struct target_work slow = {.calls = work.calls / 10 + 1};
	struct contender *contenders = calloc(2 + LOOKUPS, sizeof(*contenders));
	struct target_options options = {
	    .threads = 1, .workload = workload_ask, .beside = world->init};
	struct target_options floor = {
	    .threads = 1, .kind = TARGET_FILTERED, .workload = workload_pass};

	snprintf(contenders[0].name, sizeof(contenders[0].name), "%s, bare, in simrm",
		 question_name(question));
	options.workload.argument = bare;
	add_pair(&contenders[0], &options, AGENT_NONE, NULL, work);
	snprintf(contenders[1].name, sizeof(contenders[1].name), "floor loop");
	add_pair(&contenders[1], &floor, AGENT_FLOOR, NULL, work);
	options.workload.argument = question;
	options.kind = TARGET_FILTERED;
	for (unsigned int i = 0; i < LOOKUPS; i++) {
		snprintf(contenders[2 + i].name, sizeof(contenders[0].name), "%s, by %s",
			 question_name(question), lookups[i]);
		add_pair(&contenders[2 + i], &options, AGENT_MPU, agents[i], i ? slow : work);
	}
	compete(contenders, 2 + LOOKUPS, bench_count(40, 2));
	for (unsigned int i = 0; i < 2 + LOOKUPS; i++) {
		struct row row = report_contender(&contenders[i], i > 1 ? &contenders[0] : NULL,
						  "bare + floor", &contenders[1]);

		if (i == 2 && !question->entries) {
			row.bar = 3;
			row.bar_of = BAR_RATIO;
		}
		if (i != 1)
			report_row(&row);
	}
	for (unsigned int i = 0; i < LOOKUPS; i++)
		report_own(lookups[i], &contenders[2 + i], &contenders[0],
			   i == 0 && question->expected == 950);
	end_pairs(contenders, 2 + LOOKUPS);
}

void section_handled(void)
{
	struct world worlds[BENCH_GPUS];
	static struct question handled[QUESTIONS], bare[QUESTIONS];
	struct agent *agents[LOOKUPS];

	bench_driver();
	make_questions(worlds, handled, bare);
	agents[0] = agent_mpu(NULL, bench_options.dev_root, PIDMAP_NSFS);
	agents[1] = agent_mpu(NULL, bench_options.dev_root, PIDMAP_NSPID);
	report_section("handled", "A handled call (the driver is simulated, in FUSE)");
	for (unsigned int i = 0; i < QUESTIONS; i++)
		handled_question(&handled[i], &bare[i], &worlds[handled[i].gpu], agents);
	for (unsigned int i = 0; i < BENCH_GPUS; i++)
		world_end(&worlds[i]);
}
