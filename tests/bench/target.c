#include "bench.h"

#include "base/cleanup.h"
#include "filter/filter.h"
#include "supervisor/run/message.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

struct worker {
	pthread_t thread;
	uint32_t *latencies;
	unsigned int calls;
	int fd;
	pthread_barrier_t *begin, *end;
};

static void *make_calls(void *argument)
{
	struct worker *worker = argument;
	char params[32] = {0};

	for (;;) {
		uint64_t before;

		pthread_barrier_wait(worker->begin);
		before = now_ns();
		for (unsigned int i = 0; i < worker->calls; i++) {
			uint64_t after;

			ioctl(worker->fd, 0xc020462a, params);
			after = now_ns();
			worker->latencies[i] = (uint32_t)(after - before);
			before = after;
		}
		pthread_barrier_wait(worker->end);
	}
	return NULL;
}

static _Noreturn void serve(struct target *target, int command, int report)
{
	static struct worker workers[THREADS_MAX];
	pthread_barrier_t begin, end;
	unsigned int calls;

	pthread_barrier_init(&begin, NULL, target->threads + 1);
	pthread_barrier_init(&end, NULL, target->threads + 1);
	for (unsigned int i = 0; i < target->threads; i++) {
		workers[i] = (struct worker){.latencies = target->latencies + i * CALLS_MAX,
					     .fd = open("/dev/null", O_RDWR | O_CLOEXEC),
					     .begin = &begin,
					     .end = &end};
		if (pthread_create(&workers[i].thread, NULL, make_calls, &workers[i]))
			die("pthread_create");
	}
	while (read(command, &calls, sizeof(calls)) == sizeof(calls)) {
		double each;
		uint64_t start;

		for (unsigned int i = 0; i < target->threads; i++)
			workers[i].calls = calls;
		pthread_barrier_wait(&begin);
		start = now_ns();
		pthread_barrier_wait(&end);
		each = (double)(now_ns() - start) / calls / target->threads;
		if (write(report, &each, sizeof(each)) != sizeof(each))
			break;
	}
	_exit(0);
}

static _Noreturn void become_target(struct target *target, int command, int report, int socket)
{
	struct mpu_error error = {0};
	cleanup_filter struct filter_program program = {0};
	int listener;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (socket >= 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (filter_build(filter_native_architectures(), &program, &error))
			die(error.text);
		listener = filter_install(&program, filter_probe_flags(&error), &error);
		if (listener < 0)
			die(error.text);
		message_send(socket, "l", 1, listener);
		close(listener);
	}
	serve(target, command, report);
}

struct target target_start(unsigned int threads, bool filtered)
{
	struct target target = {.threads = threads, .listener = -1};
	int command[2], report[2], sockets[2] = {-1, -1};
	char word;

	target.latencies = mmap(NULL, (size_t)threads * CALLS_MAX * sizeof(uint32_t),
				PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (target.latencies == MAP_FAILED || pipe2(command, O_CLOEXEC) ||
	    pipe2(report, O_CLOEXEC) ||
	    (filtered && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)))
		die("target");
	target.pid = fork();
	if (target.pid == 0) {
		close(command[1]);
		become_target(&target, command[0], report[1], filtered ? sockets[1] : -1);
	}
	close(command[0]);
	close(report[1]);
	target.command = command[1];
	target.report = report[0];
	if (filtered) {
		close(sockets[1]);
		if (message_receive(sockets[0], &word, 1, &target.listener))
			die("listener");
		close(sockets[0]);
	}
	return target;
}

double target_round(struct target *target, unsigned int calls)
{
	double each;

	if (write(target->command, &calls, sizeof(calls)) != sizeof(calls) ||
	    read(target->report, &each, sizeof(each)) != sizeof(each))
		die("round");
	return each;
}

void target_end(struct target *target)
{
	close(target->command);
	close(target->report);
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	munmap(target->latencies, (size_t)target->threads * CALLS_MAX * sizeof(uint32_t));
}
