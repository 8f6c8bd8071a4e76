/* Processes that make calls and say how long each took. */
#include "bench.h"

#include "base/cleanup.h"
#include "filter/filter.h"
#include "supervisor/run/message.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void *open_null(const void *argument)
{
	(void)argument;
	return (void *)(intptr_t)open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void control_null(void *prepared)
{
	static const char params[32];

	ioctl((int)(intptr_t)prepared, 0xc020462a, params);
}

const struct workload workload_pass = {.prepare = open_null, .call = control_null};

struct worker {
	pthread_t thread;
	const struct workload *workload;
	const struct target_work *work;
	uint32_t *latencies;
	pthread_barrier_t *begin, *end;
};

/* Busy, as a program is that computes between two calls. */
static void other_work(unsigned int us)
{
	uint64_t until = bench_now_ns() + us * 1000ULL;

	while (us && bench_now_ns() < until)
		;
}

static void *worker_thread(void *argument)
{
	struct worker *worker = argument;
	const struct workload *workload = worker->workload;
	void *prepared = workload->prepare(workload->argument);

	for (;;) {
		pthread_barrier_wait(worker->begin);
		for (unsigned int i = 0; i < worker->work->calls; i++) {
			uint64_t before;

			other_work(worker->work->pause_us);
			before = bench_now_ns();
			workload->call(prepared);
			worker->latencies[i] = (uint32_t)(bench_now_ns() - before);
		}
		pthread_barrier_wait(worker->end);
	}
	return NULL;
}

static _Noreturn void serve(const struct target *target, const struct workload *workload,
			    int command, int report)
{
	static struct worker workers[THREADS_MAX];
	pthread_barrier_t begin, end;
	struct target_work work;

	pthread_barrier_init(&begin, NULL, target->threads + 1);
	pthread_barrier_init(&end, NULL, target->threads + 1);
	for (unsigned int i = 0; i < target->threads; i++) {
		workers[i] = (struct worker){.workload = workload,
					     .work = &work,
					     .latencies = target->latencies + i * CALLS_MAX,
					     .begin = &begin,
					     .end = &end};
		if (pthread_create(&workers[i].thread, NULL, worker_thread, &workers[i]))
			bench_die("cannot start a thread");
	}
	while (read(command, &work, sizeof(work)) == sizeof(work)) {
		pthread_barrier_wait(&begin);
		pthread_barrier_wait(&end);
		if (write(report, "d", 1) != 1)
			break;
	}
	_exit(0);
}

static int install(void)
{
	static struct filter_program program;
	struct mpu_error error = {0};
	int listener = -1;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (program.code || !filter_build(filter_native_architectures(), &program, &error))
		listener = filter_install(&program, filter_probe_flags(&error), &error);
	if (listener < 0)
		bench_die("%s", error.text);
	return listener;
}

static void send_listener(int socket)
{
	cleanup_close int listener = install();

	if (message_send(socket, "l", 1, listener))
		bench_die("cannot send a listener");
}

static int receive_listener(int socket)
{
	char word;
	int listener;

	if (message_receive(socket, &word, 1, &listener) || listener < 0)
		bench_die("no listener came");
	return listener;
}

/* strace must start the program itself for --seccomp-bpf to have effect. */
static _Noreturn void execute_straced(const struct target *target, int memory, int command,
				      int report)
{
	char threads[16], fds[3][16];
	int keep[] = {memory, command, report};

	snprintf(threads, sizeof(threads), "%u", target->threads);
	for (int i = 0; i < 3; i++) {
		snprintf(fds[i], sizeof(fds[i]), "%d", keep[i]);
		fcntl(keep[i], F_SETFD, 0);
	}
	execlp("strace", "strace", "--seccomp-bpf", "-f", "-qq", "-e", "trace=ioctl", "-o",
	       "/dev/null", bench_self(), "--target", threads, fds[0], fds[1], fds[2], NULL);
	bench_die("cannot execute strace: %s", strerror(errno));
}

static uint32_t *map_latencies(int memory, unsigned int threads)
{
	uint32_t *latencies = mmap(NULL, (size_t)threads * CALLS_MAX * sizeof(uint32_t),
				   PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);

	if (latencies == MAP_FAILED)
		bench_die("no memory");
	return latencies;
}

int target_main(char **arguments)
{
	struct target target = {.threads = (unsigned int)atoi(arguments[0])};

	target.latencies = map_latencies(atoi(arguments[1]), target.threads);
	serve(&target, &workload_pass, atoi(arguments[2]), atoi(arguments[3]));
}

/* Children are born into the PID namespace of BESIDE, or again into our own. */
static void children_live_beside(pid_t beside)
{
	char path[48];
	cleanup_close int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", beside ? beside : getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWPID))
		bench_die("cannot enter a PID namespace: %s", strerror(errno));
}

static _Noreturn void become_target(const struct target *target,
				    const struct target_options *options, int memory, int command,
				    int report, int socket)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (options->kind == TARGET_STRACED)
		execute_straced(target, memory, command, report);
	if (options->kind == TARGET_FILTERED)
		send_listener(socket);
	serve(target, &options->workload, command, report);
}

struct target target_start(const struct target_options *options)
{
	struct target target = {.threads = options->threads, .listener = -1};
	cleanup_close int memory = memfd_create("latencies", MFD_CLOEXEC);
	int command[2], report[2], sockets[2];

	if (memory < 0 ||
	    ftruncate(memory, (off_t)(target.threads * CALLS_MAX * sizeof(uint32_t))) ||
	    pipe2(command, O_CLOEXEC) || pipe2(report, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		bench_die("cannot make a target: %s", strerror(errno));
	target.latencies = map_latencies(memory, target.threads);
	if (options->beside)
		children_live_beside(options->beside);
	target.pid = fork();
	if (target.pid == 0) {
		close(command[1]);
		become_target(&target, options, memory, command[0], report[1], sockets[1]);
	}
	if (options->beside)
		children_live_beside(0);
	close(command[0]);
	close(report[1]);
	close(sockets[1]);
	target.command = command[1];
	target.report = report[0];
	if (options->kind == TARGET_FILTERED)
		target.listener = receive_listener(sockets[0]);
	close(sockets[0]);
	return target;
}

/* Adds the single calls to HISTOGRAM and returns their mean. */
static double take_latencies(const struct target *target, unsigned int calls,
			     struct histogram *histogram)
{
	double sum = 0;

	for (unsigned int thread = 0; thread < target->threads; thread++)
		for (unsigned int i = 0; i < calls; i++) {
			uint32_t ns = target->latencies[(size_t)thread * CALLS_MAX + i];

			sum += ns;
			if (histogram)
				histogram_add(histogram, ns);
		}
	return sum / calls / target->threads;
}

double target_round(struct target *targets, unsigned int count, struct target_work work,
		    struct histogram *histogram)
{
	uint64_t start = bench_now_ns(), took;
	double mean = 0;
	char done;

	for (unsigned int i = 0; i < count; i++)
		if (write(targets[i].command, &work, sizeof(work)) != sizeof(work))
			bench_die("a target is gone");
	for (unsigned int i = 0; i < count; i++)
		if (read(targets[i].report, &done, 1) != 1)
			bench_die("a target is gone");
	took = bench_now_ns() - start;
	for (unsigned int i = 0; i < count; i++)
		mean += take_latencies(&targets[i], work.calls, histogram) / count;
	return work.pause_us ? mean : (double)took / work.calls / targets[0].threads / count;
}

void target_end(struct target *target)
{
	close(target->command);
	close(target->report);
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	munmap(target->latencies, (size_t)target->threads * CALLS_MAX * sizeof(uint32_t));
}

static void *idle_thread(void *argument)
{
	send_listener((int)(intptr_t)argument);
	for (;;)
		pause();
	return NULL;
}

/* Each thread has a filter of its own, as each container has. */
static _Noreturn void be_idle(unsigned int count, int socket)
{
	pthread_attr_t attributes;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 << 10);
	for (unsigned int i = 0; i < count; i++)
		if (pthread_create(&thread, &attributes, idle_thread, (void *)(intptr_t)socket))
			bench_die("cannot start a thread: limits on processes?");
	for (;;)
		pause();
}

struct idlers idlers_start(unsigned int count)
{
	struct idlers idle = {.count = count, .listener = calloc(count + 1, sizeof(int))};
	int sockets[2];

	if (!idle.listener || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		bench_die("cannot make listeners");
	idle.pid = fork();
	if (idle.pid == 0)
		be_idle(count, sockets[1]);
	close(sockets[1]);
	for (unsigned int i = 0; i < count; i++)
		idle.listener[i] = receive_listener(sockets[0]);
	close(sockets[0]);
	return idle;
}

void idlers_end(struct idlers *idle)
{
	kill(idle->pid, SIGKILL);
	waitpid(idle->pid, NULL, 0);
	free(idle->listener);
}
