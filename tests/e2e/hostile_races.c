/* What happens to a call while it is under way: its descriptor, its memory, its process. Each race
 * is run many times; a line says how often the answer was one that the driver never gives. */
#include "tests/e2e/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 300, PROCESSES = 40, THREADS = 16, CALLS = 100 };

/* Something done in another thread, after a while that differs from round to round. */
struct disturbance {
	void (*act)(struct disturbance *);
	unsigned int round;
	int fd;
	void *memory;
	const char *root;
	atomic_bool go;
};

static void spin(unsigned int round)
{
	for (volatile unsigned int i = 0; i < round % 100 * 300; i++)
		;
}

static void *disturb(void *argument)
{
	struct disturbance *disturbance = argument;

	while (!atomic_load(&disturbance->go))
		;
	spin(disturbance->round);
	disturbance->act(disturbance);
	return NULL;
}

static void close_it(struct disturbance *disturbance)
{
	close(disturbance->fd);
}

static void replace_it(struct disturbance *disturbance)
{
	int other = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup3(other, disturbance->fd, O_CLOEXEC);
	close(other);
}

static void unmap_it(struct disturbance *disturbance)
{
	munmap(disturbance->memory, PAGE);
}

static struct nvos54_parameters get_pids_call(const struct gpu *gpu, void *params)
{
	const struct nvabi_pid_control *control =
	    nvabi_pids_find(&gpu->pids, NV2080_CTRL_CMD_GPU_GET_PIDS);

	fill_valid(gpu, control, params, NULL, 0);
	return gpu_call(gpu, control, params);
}

static void *page(void)
{
	void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void start_disturbance(struct disturbance *disturbance, pthread_t *thread)
{
	atomic_store(&disturbance->go, false);
	if (pthread_create(thread, NULL, disturb, disturbance))
		die("pthread_create");
	atomic_store(&disturbance->go, true);
}

/* The descriptor is closed, or becomes another file. */
static void descriptor_race(const struct gpu *gpu, const char *name,
			    void (*act)(struct disturbance *), int allowed_error)
{
	unsigned int strange = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct get_pids_params params;
		struct nvos54_parameters call = get_pids_call(gpu, &params);
		struct disturbance disturbance = {.act = act, .round = round};
		struct result result;
		pthread_t thread;

		disturbance.fd = fcntl(gpu->ctl, F_DUPFD_CLOEXEC, 100);
		start_disturbance(&disturbance, &thread);
		result = call_control(disturbance.fd, RM_CONTROL, &call);
		pthread_join(thread, NULL);
		if (act == replace_it)
			close(disturbance.fd);
		if (result.error ? result.error != allowed_error : result.status != NV_OK)
			strange++;
	}
	say("race", "%s: %u of %d strange", name, strange, ROUNDS);
}

static void memory_race(const struct gpu *gpu, bool envelope)
{
	unsigned int strange = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		void *memory = page();
		struct get_pids_params other;
		struct nvos54_parameters call = get_pids_call(gpu, envelope ? &other : memory);
		struct nvos54_parameters *used = envelope ? memory : &call;
		struct disturbance disturbance = {
		    .act = unmap_it, .round = round, .memory = memory};
		pthread_t thread;
		int error;

		if (envelope)
			memcpy(memory, &call, sizeof(call));
		start_disturbance(&disturbance, &thread);
		errno = 0;
		error = ioctl(gpu->ctl, RM_CONTROL, used) < 0 ? errno : 0;
		pthread_join(thread, NULL);
		if (envelope
			? error && error != EFAULT
			: error || (call.status != NV_OK && call.status != NV_ERR_INVALID_ADDRESS))
			strange++;
	}
	say("race", "%s unmapped meanwhile: %u of %d strange", envelope ? "NVOS54" : "parameters",
	    strange, ROUNDS);
}

static void *call_forever(void *argument)
{
	const struct gpu *gpu = argument;
	struct get_pids_params params;

	for (;;) {
		struct nvos54_parameters call = get_pids_call(gpu, &params);

		call_control(gpu->ctl, RM_CONTROL, &call);
	}
	return NULL;
}

/* A process is killed while it waits; afterwards others are answered as before. */
static void killed_meanwhile(struct gpu *gpu)
{
	unsigned int strange = 0;

	for (int i = 0; i < PROCESSES; i++) {
		pid_t child = fork();
		int status;

		if (child < 0)
			die("fork");
		if (child == 0)
			call_forever(gpu);
		usleep(1000 + (useconds_t)i * 97);
		kill(child, SIGKILL);
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
			strange++;
	}
	say("race", "killed meanwhile: %u of %d strange", strange, PROCESSES);
}

/* Another thread executes a program while the call waits: the process goes on as that program. */
static void executes_meanwhile(struct gpu *gpu)
{
	unsigned int strange = 0;

	for (int i = 0; i < PROCESSES; i++) {
		pid_t child = fork();
		pthread_t thread;
		int status;

		if (child < 0)
			die("fork");
		if (child == 0) {
			if (pthread_create(&thread, NULL, call_forever, gpu))
				_exit(2);
			usleep(500 + (useconds_t)i * 53);
			execl("/bin/sh", "sh", "-c", "exit 42", NULL);
			_exit(2);
		}
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != 42)
			strange++;
	}
	say("race", "executes meanwhile: %u of %d strange", strange, PROCESSES);
}

static atomic_uint alarms;

static void count_alarm(int number)
{
	(void)number;
	atomic_fetch_add(&alarms, 1);
}

/* Signals come while calls wait. One without SA_RESTART may end a call with EINTR, which NVIDIA's
 * libraries retry; one with it may not. */
static void signals_meanwhile(const struct gpu *gpu, int flags)
{
	struct sigaction action = {.sa_handler = count_alarm, .sa_flags = flags};
	const struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
	unsigned int strange = 0;

	sigaction(SIGALRM, &action, NULL);
	atomic_store(&alarms, 0);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 2000 || atomic_load(&alarms) < 100; i++) {
		struct get_pids_params params;
		struct nvos54_parameters call = get_pids_call(gpu, &params);
		struct result result = call_control(gpu->ctl, RM_CONTROL, &call);

		if (result.error ? result.error != EINTR || (flags & SA_RESTART)
				 : result.status != NV_OK)
			strange++;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	say("race", "signals %s SA_RESTART: %u strange", flags ? "with" : "without", strange);
}

static bool same_processes(const struct get_pids_params *a, const struct get_pids_params *b)
{
	return a->pidTblCount == b->pidTblCount &&
	       !memcmp(a->pidTbl, b->pidTbl, a->pidTblCount * sizeof(a->pidTbl[0]));
}

struct crowd {
	const struct gpu *gpu;
	const struct get_pids_params *expected;
	atomic_uint strange;
};

static void *join_crowd(void *argument)
{
	struct crowd *crowd = argument;

	for (int i = 0; i < CALLS; i++) {
		struct get_pids_params params;
		struct nvos54_parameters call = get_pids_call(crowd->gpu, &params);
		struct result result = call_control(crowd->gpu->ctl, RM_CONTROL, &call);

		if (result.error || result.status || !same_processes(&params, crowd->expected))
			atomic_fetch_add(&crowd->strange, 1);
	}
	return NULL;
}

static void many_threads(const struct gpu *gpu)
{
	struct get_pids_params expected;
	struct nvos54_parameters call = get_pids_call(gpu, &expected);
	struct crowd crowd = {.gpu = gpu, .expected = &expected};
	pthread_t thread[THREADS];

	call_control(gpu->ctl, RM_CONTROL, &call);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, join_crowd, &crowd))
			die("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	say("race", "%d threads: %u of %d strange", THREADS, atomic_load(&crowd.strange),
	    THREADS * CALLS);
}

/* A thread has a descriptor table of its own, where a number is another file than in the leader's.
 */
static void *call_from_own_table(void *argument)
{
	const struct gpu *gpu = argument;
	struct get_pids_params params;
	struct nvos54_parameters call = get_pids_call(gpu, &params);

	if (unshare(CLONE_FILES) || dup2(gpu->ctl, 200) != 200)
		die("unshare");
	say_result("thread", "with its own descriptors", call_control(200, RM_CONTROL, &call));
	return NULL;
}

static void own_table(struct gpu *gpu)
{
	int other = open("/dev/null", O_RDWR | O_CLOEXEC);
	pthread_t thread;

	dup2(other, 200);
	if (pthread_create(&thread, NULL, call_from_own_table, gpu))
		die("pthread_create");
	pthread_join(thread, NULL);
	close(other);
	close(200);
}

static void *call_after_the_leader(void *argument)
{
	const struct gpu *gpu = argument;
	struct get_pids_params params;
	struct nvos54_parameters call = get_pids_call(gpu, &params);

	usleep(50000);
	say_result("thread", "after its leader has ended",
		   call_control(gpu->ctl, RM_CONTROL, &call));
	exit(0);
}

static void leader_has_ended(struct gpu *gpu)
{
	pid_t child = fork();
	pthread_t thread;

	if (child < 0)
		die("fork");
	if (child == 0) {
		if (pthread_create(&thread, NULL, call_after_the_leader, gpu))
			_exit(2);
		pthread_exit(NULL);
	}
	waitpid(child, NULL, 0);
}

/* After all this the driver still answers. */
static void still_answers(const struct gpu *gpu)
{
	struct get_pids_params params;
	struct nvos54_parameters call = get_pids_call(gpu, &params);

	say_result("afterwards", "GET_PIDS", call_control(gpu->ctl, RM_CONTROL, &call));
}

void races(struct gpu *gpu)
{
	descriptor_race(gpu, "descriptor closed meanwhile", close_it, EBADF);
	descriptor_race(gpu, "descriptor replaced meanwhile", replace_it, ENOTTY);
	memory_race(gpu, false);
	memory_race(gpu, true);
	killed_meanwhile(gpu);
	executes_meanwhile(gpu);
	signals_meanwhile(gpu, 0);
	signals_meanwhile(gpu, SA_RESTART);
	many_threads(gpu);
	own_table(gpu);
	leader_has_ended(gpu);
	still_answers(gpu);
}
