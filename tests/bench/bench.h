/* Measuring trapped ioctls: targets that make them, agents that answer them. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process that makes ioctls in rounds, with or without a filter. */
struct target {
	pid_t pid;
	int command, report; /* pipes */
	int listener;	     /* -1 without a filter; then the agent's */
	unsigned int threads;
	uint32_t *latencies; /* shared; nanoseconds, CALLS_MAX per thread */
};

enum { CALLS_MAX = 20000, THREADS_MAX = 64 };

/* Starts a target with THREADS threads. TRACED wraps nothing; a tracer may attach by itself. */
struct target target_start(unsigned int threads, bool filtered);

/* Lets it make CALLS calls in each thread. Returns the time of the whole round divided by all its
 * calls, in nanoseconds; the latencies of single calls stand in target->latencies. */
double target_round(struct target *target, unsigned int calls);
void target_end(struct target *target);

/* The kernel's own floor: blocking RECV, the 32-byte read, CONTINUE. SYNC: with the wake-up mode
 * that keeps both on one CPU. Owns LISTENER; ends with its targets. */
void agent_start_floor(int listener, bool sync);

/* mpu's engine. Owns LISTENER. */
void agent_start_mpu(int listener, bool with_uring);

#endif
