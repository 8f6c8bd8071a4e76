/* What a trapped ioctl costs, side by side in one run.
 *
 *   mpu-bench [ROUNDS]
 *
 * Each variant has its own target and agent. Rounds of all variants are interleaved, so that what
 * disturbs the machine disturbs all alike. A row has the median over rounds of a round's time per
 * call, the 99th percentile of single calls, and the ratio to the floor: the median of the ratios
 * of neighbouring rounds, which noise moves least. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 4000, WARM_UP = 2000, ROUNDS_MAX = 1000, VARIANTS_MAX = 8 };

enum agent { AGENT_NONE, AGENT_FLOOR, AGENT_PLAIN, AGENT_MPU, AGENT_MPU_EPOLL };

static const struct {
	const char *name;
	enum agent agent;
} variants[] = {
    {"bare ioctl", AGENT_NONE},
    {"floor loop", AGENT_FLOOR},
    {"mpu", AGENT_MPU},
    {"mpu, epoll", AGENT_MPU_EPOLL},
    {"agent without sync wake-up", AGENT_PLAIN},
};
enum { VARIANTS = sizeof(variants) / sizeof(variants[0]), THE_FLOOR = 1 };

struct row {
	struct target target;
	double each[ROUNDS_MAX];
	uint32_t p99;
};

static void start_agent(enum agent agent, int listener)
{
	switch (agent) {
	case AGENT_NONE:
		break;
	case AGENT_FLOOR:
	case AGENT_PLAIN:
		agent_start_floor(listener, agent == AGENT_FLOOR);
		break;
	case AGENT_MPU:
	case AGENT_MPU_EPOLL:
		agent_start_mpu(listener, agent == AGENT_MPU);
		break;
	}
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int by_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, unsigned int count)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), by_double);
	return sorted[count / 2];
}

static uint32_t percentile_99(struct target *target)
{
	size_t count = 0;
	uint32_t *all = malloc((size_t)target->threads * CALLS * sizeof(*all)), p99;

	for (unsigned int thread = 0; thread < target->threads; thread++, count += CALLS)
		memcpy(all + count, target->latencies + (size_t)thread * CALLS_MAX,
		       CALLS * sizeof(*all));
	qsort(all, count, sizeof(*all), by_u32);
	p99 = all[count * 99 / 100];
	free(all);
	return p99;
}

static double ratio(const struct row *row, const struct row *to, unsigned int rounds)
{
	double ratios[ROUNDS_MAX];

	for (unsigned int i = 0; i < rounds; i++)
		ratios[i] = row->each[i] / to->each[i];
	return median(ratios, rounds);
}

static void measure(unsigned int threads, unsigned int rounds)
{
	static struct row rows[VARIANTS];

	for (int v = 0; v < VARIANTS; v++) {
		rows[v].target = target_start(threads, variants[v].agent != AGENT_NONE);
		start_agent(variants[v].agent, rows[v].target.listener);
		target_round(&rows[v].target, WARM_UP);
	}
	for (unsigned int round = 0; round < rounds; round++)
		for (int v = 0; v < VARIANTS; v++) {
			rows[v].each[round] = target_round(&rows[v].target, CALLS);
			rows[v].p99 = percentile_99(&rows[v].target);
		}
	printf("\n%u thread%s in the target, %u rounds of %u calls each\n", threads,
	       threads == 1 ? "" : "s", rounds, CALLS);
	printf("%-28s %10s %12s %10s\n", "", "us a call", "p99 us", "to floor");
	for (int v = 0; v < VARIANTS; v++) {
		printf("%-28s %10.3f %12.3f %10.3f\n", variants[v].name,
		       median(rows[v].each, rounds) / 1000, rows[v].p99 / 1000.0,
		       ratio(&rows[v], &rows[THE_FLOOR], rounds));
		target_end(&rows[v].target);
	}
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 50;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "mpu-bench: between 1 and %d rounds\n", ROUNDS_MAX);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	measure(1, rounds);
	measure(8, rounds / 4 + 1);
	return 0;
}
