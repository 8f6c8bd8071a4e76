/* Calls the driver without pause, and knows every right answer: it is the only GPU process of its PID
 * namespace, and holds MEMORY MiB. Prints counts as JSON when it is told to end (SIGTERM), or after
 * --calls; and at SIGUSR1, from which on it counts anew. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/survival/holder.h"

enum { MEMORY_MIB = 64, THREADS_MAX = 64, SAMPLES = 1 << 16 };

struct load {
	struct holder holder;
	unsigned int threads;
	uint64_t calls_wanted;
	unsigned int pause_us;
	_Atomic bool ended;
};

struct counts {
	uint64_t calls, handled, eintr, eagain, wrong, failed; /* failed: part of wrong */
	uint64_t longest_ns;
	uint32_t samples;
	uint32_t sample_us[SAMPLES]; /* of handled calls, the last ones */
};

struct caller {
	struct load *load;
	pthread_mutex_t lock; /* held over each turn */
	struct counts counts;
	pthread_t thread;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static _Noreturn void fail(const char *what, int result)
{
	char text[64];

	fprintf(stderr, "load: %s: %s\n", what, rm_error_text(result, text));
	exit(1);
}

static void note_wrong(struct caller *caller, const char *what, long long got)
{
	if (caller->counts.wrong++ < 5)
		fprintf(stderr, "load %d: wrong: %s (%lld)\n", getpid(), what, got);
}

static void note_time(struct counts *counts, uint64_t took, bool handled)
{
	if (took > counts->longest_ns)
		counts->longest_ns = took;
	if (handled)
		counts->sample_us[counts->samples++ % SAMPLES] = (uint32_t)(took / 1000);
}

/* A call that no supervisor is there to answer fails with ENOSYS, which is as bad as a lie. */
static void note_failed(struct caller *caller, const char *what, int result)
{
	caller->counts.failed += result != -ENOSYS;
	note_wrong(caller, what, result);
}

/* As NVIDIA's libraries do, EINTR and EAGAIN are tried again. */
static int call(struct caller *caller, uint32_t object, uint32_t cmd, void *params, uint32_t size,
		bool handled)
{
	struct counts *counts = &caller->counts;
	int result;

	for (;;) {
		uint64_t before = now_ns();

		result = rm_control(&caller->load->holder.client, object, cmd, params, size);
		note_time(counts, now_ns() - before, handled);
		counts->calls++;
		counts->handled += handled;
		counts->eintr += result == -EINTR;
		counts->eagain += result == -EAGAIN;
		if (result != -EINTR && result != -EAGAIN)
			return result;
	}
}

static void ask_pids(struct caller *caller)
{
	struct get_pids_params params = {.id = TURING_COMPUTE_A};
	int result = call(caller, caller->load->holder.gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_PIDS, &params,
			  sizeof(params), true);

	if (result)
		note_failed(caller, "GET_PIDS fails", result);
	else if (params.pidTblCount != 1)
		note_wrong(caller, "GET_PIDS lists another number than one", params.pidTblCount);
	else if (params.pidTbl[0] != (uint32_t)getpid())
		note_wrong(caller, "GET_PIDS lists another process", params.pidTbl[0]);
}

static void ask_memory(struct caller *caller)
{
	struct {
		uint32_t count, pad;
		struct pid_info entry[NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT];
	} params = {.count = 1, .entry[0] = {.pid = (uint32_t)getpid()}};
	int result = call(caller, caller->load->holder.gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_PID_INFO,
			  &params, sizeof(params), true);

	if (result)
		note_failed(caller, "GET_PID_INFO fails", result);
	else if (params.entry[0].memPrivate != (uint64_t)MEMORY_MIB << 20)
		note_wrong(caller, "GET_PID_INFO tells other memory",
			   (long long)params.entry[0].memPrivate);
	else if (params.entry[0].pid != (uint32_t)getpid())
		note_wrong(caller, "GET_PID_INFO tells of another process", params.entry[0].pid);
}

static void ask_gpus(struct caller *caller)
{
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS] = {0};
	int result = call(caller, caller->load->holder.client.handle, NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS,
			  ids, sizeof(ids), false);

	if (result)
		note_failed(caller, "GET_ATTACHED_IDS fails", result);
	else if (ids[0] != caller->load->holder.gpu.gpu_id)
		note_wrong(caller, "GET_ATTACHED_IDS tells of another GPU", ids[0]);
}

static void *run(void *argument)
{
	struct caller *caller = argument;
	struct load *load = caller->load;

	while (!atomic_load(&load->ended) &&
	       (!load->calls_wanted || caller->counts.calls < load->calls_wanted)) {
		pthread_mutex_lock(&caller->lock);
		ask_pids(caller);
		ask_gpus(caller);
		ask_memory(caller);
		ask_gpus(caller);
		pthread_mutex_unlock(&caller->lock);
		if (load->pause_us)
			usleep(load->pause_us);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

static void print(const struct caller *caller, unsigned int threads)
{
	static uint32_t sample[SAMPLES * 4];
	struct counts sum = {0};
	size_t samples = 0;

	for (unsigned int i = 0; i < threads; i++) {
		const struct counts *one = &caller[i].counts;
		size_t count = one->samples < SAMPLES ? one->samples : SAMPLES;

		sum.calls += one->calls;
		sum.handled += one->handled;
		sum.eintr += one->eintr;
		sum.eagain += one->eagain;
		sum.wrong += one->wrong;
		sum.failed += one->failed;
		if (one->longest_ns > sum.longest_ns)
			sum.longest_ns = one->longest_ns;
		if (count > sizeof(sample) / sizeof(sample[0]) - samples)
			count = sizeof(sample) / sizeof(sample[0]) - samples;
		memcpy(sample + samples, one->sample_us, count * sizeof(sample[0]));
		samples += count;
	}
	qsort(sample, samples, sizeof(sample[0]), compare);
	printf("{\"calls\":%llu,\"handled\":%llu,\"eintr\":%llu,\"eagain\":%llu,\"wrong\":%llu,"
	       "\"failed\":%llu,"
	       "\"longest_ms\":%.3f,\"median_us\":%u,\"p99_us\":%u}\n",
	       (unsigned long long)sum.calls, (unsigned long long)sum.handled,
	       (unsigned long long)sum.eintr, (unsigned long long)sum.eagain,
	       (unsigned long long)sum.wrong, (unsigned long long)sum.failed,
	       (double)sum.longest_ns / 1e6,
	       samples ? sample[samples / 2] : 0, samples ? sample[samples * 99 / 100] : 0);
	fflush(stdout);
}

static void print_and_begin_anew(struct caller *caller, unsigned int threads)
{
	for (unsigned int i = 0; i < threads; i++)
		pthread_mutex_lock(&caller[i].lock);
	print(caller, threads);
	for (unsigned int i = 0; i < threads; i++) {
		memset(&caller[i].counts, 0, sizeof(caller[i].counts));
		pthread_mutex_unlock(&caller[i].lock);
	}
}

static unsigned long number(const char *text, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value > most) {
		fprintf(stderr, "load: %s: must be a number up to %lu\n", text, most);
		exit(1);
	}
	return value;
}

static const char *parse(int argc, char **argv, struct load *load)
{
	static const struct option table[] = {{"dev-root", required_argument, NULL, 'd'},
					      {"threads", required_argument, NULL, 't'},
					      {"calls", required_argument, NULL, 'c'},
					      {"pause-us", required_argument, NULL, 'p'},
					      {0}};
	const char *root = "/dev";
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (option == 'd')
			root = optarg;
		else if (option == 't')
			load->threads = (unsigned int)number(optarg, THREADS_MAX);
		else if (option == 'c')
			load->calls_wanted = number(optarg, ~0ul >> 1);
		else if (option == 'p')
			load->pause_us = (unsigned int)number(optarg, 1000000);
		else
			exit(1);
	}
	return root;
}

int main(int argc, char **argv)
{
	static struct load load = {.threads = 1};
	static struct caller caller[THREADS_MAX];
	const char *root = parse(argc, argv, &load);
	sigset_t signals;
	int number_of_signal = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	holder_start(&load.holder, root, MEMORY_MIB);
	puts("ready");
	fflush(stdout);
	for (unsigned int i = 0; i < load.threads; i++) {
		caller[i].load = &load;
		pthread_mutex_init(&caller[i].lock, NULL);
		if (pthread_create(&caller[i].thread, NULL, run, &caller[i]))
			fail("cannot start a thread", -EAGAIN);
	}
	while (!load.calls_wanted && !sigwait(&signals, &number_of_signal) &&
	       number_of_signal == SIGUSR1)
		print_and_begin_anew(caller, load.threads);
	atomic_store(&load.ended, !load.calls_wanted);
	for (unsigned int i = 0; i < load.threads; i++)
		pthread_join(caller[i].thread, NULL);
	print(caller, load.threads);
	return 0;
}
