/* Measuring what supervision costs: targets that make calls, agents that answer them, contenders
 * that are measured side by side, and the report. Whatever fails ends the benchmark. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "supervisor/pidmap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- bench.c ---- */

struct bench_options {
	bool quick;	      /* proves that the benchmark works; its figures mean nothing */
	unsigned int rounds;  /* 0: each section's own */
	const char *build;    /* directory with the programs under test */
	const char *dev_root; /* of a simulated driver, which bench.c starts when a section asks */
};
extern struct bench_options bench_options;

/* QUICK in the quick run, else FULL. */
unsigned int bench_count(unsigned int full, unsigned int quick);

/* PATH below the build directory, in a static buffer. */
const char *bench_program(const char *path);

/* This program itself, in a static buffer. */
const char *bench_self(void);

/* Starts the simulated driver once, with BENCH_GPUS GPUs, and returns its folder. */
const char *bench_driver(void);
enum { BENCH_GPUS = 4 };

_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t bench_now_ns(void);

/* ---- statistics.c ---- */

/* Counts of durations, by their highest bits: each is known to 1.6 %. */
enum { HISTOGRAM_BITS = 6, HISTOGRAM_SIZE = 59 << HISTOGRAM_BITS };
struct histogram {
	uint64_t count[HISTOGRAM_SIZE], total;
};
void histogram_add(struct histogram *histogram, uint64_t ns);
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

double median_of(const double *values, size_t count);

/* One of those that are measured side by side. */
enum { ROUNDS_MAX = 1000 };
struct contender {
	char name[80];
	/* Runs once. Returns nanoseconds per call and adds single ones to histogram. */
	double (*round)(struct contender *);
	void *context;
	double each[ROUNDS_MAX];
	unsigned int rounds;
	struct histogram histogram;
};

/* Rounds of all, one after the other, the order turned by one in each round, so that what disturbs
 * the machine disturbs all alike. */
void compete(struct contender *contenders, unsigned int count, unsigned int rounds);

double contender_median(const struct contender *contender);
/* The median of the ratios of neighbouring rounds, which noise moves least. PLUS, where there is
 * one, is added to TO. */
double contender_ratio(const struct contender *contender, const struct contender *to,
		       const struct contender *plus);
/* The median of the differences of neighbouring rounds. */
double contender_difference(const struct contender *contender, const struct contender *to);

/* ---- report.c ---- */

/* A line of the table. NAN where there is nothing to say. */
struct row {
	const char *name, *unit;
	double median, p99;
	double ratio; /* MEDIAN to what TO names */
	const char *to;
	double bar; /* the figure named by OF_RATIO must not be above it */
	enum { BAR_NONE, BAR_RATIO, BAR_MEDIAN, BAR_P99_RATIO } bar_of;
	double p99_ratio;
};
extern const struct row row_empty;

void report_section(const char *section, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void report_row(const struct row *row);
/* The row of a contender, in microseconds; TO and PLUS may be NULL. */
struct row report_contender(const struct contender *contender, const struct contender *to,
			    const char *to_name, const struct contender *plus);
/* Writes all rows. */
void report_json(const char *path);

/* ---- target.c ---- */

/* What a target's threads do. A thread prepares once. The functions run in the target. */
struct workload {
	void *(*prepare)(const void *argument);
	void (*call)(void *prepared);
	const void *argument;
};
/* An RM control on /dev/null, which carries no PIDs. */
extern const struct workload workload_pass;

/* A process that makes calls in rounds, with or without a filter. */
struct target {
	pid_t pid;
	int command, report; /* pipes */
	int listener;	     /* -1 without a filter; then the agent's */
	unsigned int threads;
	uint32_t *latencies; /* shared; nanoseconds, CALLS_MAX per thread */
};
enum { CALLS_MAX = 20000, THREADS_MAX = 64 };

enum target_kind { TARGET_BARE, TARGET_FILTERED, TARGET_STRACED };
struct target_options {
	unsigned int threads;
	enum target_kind kind;
	struct workload workload;
	pid_t beside; /* lives in this process's PID namespace; 0: in ours */
};
struct target target_start(const struct target_options *options);

/* What a target is to do in one round. */
struct target_work {
	unsigned int calls;    /* in each thread */
	unsigned int pause_us; /* of other work between two */
};

/* Lets all TARGETS work at once. Returns the time of the round divided by all its calls, or with
 * pauses the mean of the single calls, in nanoseconds. Single calls go to HISTOGRAM. */
double target_round(struct target *targets, unsigned int count, struct target_work work,
		    struct histogram *histogram);
void target_end(struct target *target);

/* What the program does when target_start() executes it again under strace. */
int target_main(char **arguments);

/* COUNT listeners of threads that do nothing. They live until idlers_end(). */
struct idlers {
	pid_t pid;
	unsigned int count;
	int *listener; /* the caller's */
};
struct idlers idlers_start(unsigned int count);
void idlers_end(struct idlers *idle);

/* ---- agent.c ---- */

/* The kernel's own floor: blocking RECV, the 32-byte read, CONTINUE. SYNC: with the wake-up mode
 * that keeps both on one CPU. Owns LISTENER; ends with its targets. */
void agent_start_floor(int listener, bool sync);

/* One engine of mpu, of release VERSION. DEV_ROOT may be NULL. */
struct agent;
struct agent *agent_mpu(const char *version, const char *dev_root, enum pidmap_method lookup);
/* MPU owns LISTENER. */
void agent_give(struct agent *mpu, int listener);

/* ---- world.c ---- */

/* A PID namespace with processes that use a GPU. */
struct world {
	pid_t init;
	unsigned int processes;
	uint32_t *host, *inside; /* their numbers, shared with targets */
	pid_t stranger;		 /* uses the GPU too, from outside; 0: none */
};
struct world world_start(unsigned int gpu, unsigned int processes, bool shared);
void world_end(struct world *world);

/* GET_PIDS, or GET_PID_INFO with ENTRIES processes, on a GPU. */
struct question {
	unsigned int gpu;
	unsigned int entries;  /* 0: GET_PIDS */
	const uint32_t *pids;  /* to ask for */
	unsigned int expected; /* processes in the answer */
	bool others;	       /* more use the GPU than these */
};
extern const struct workload workload_ask; /* the argument is a struct question */

/* ---- the sections ---- */

void section_pass(void);
void section_handled(void);
void section_idle(void);
void section_active(void);
void section_memory(void);
void section_start(void);
void section_run(void);

#endif
