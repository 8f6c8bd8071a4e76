/* A filter put into a running process changes nothing but what the filter says. */
#include "base/cleanup.h"
#include "filter/filter.h"
#include "filter/inject.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { RM_CONTROL = 0xc020462a, THREADS = 4 };

/* What target and test tell each other. */
struct shared {
	_Atomic int ready, stop, rounds;
	_Atomic int wrong; /* what the target found wrong, 0 for nothing */
};

struct target {
	pid_t pid;
	int to, from; /* pipes */
	struct shared *shared;
};

static struct filter_program program;
static unsigned int flags;

static void setup(void)
{
	struct mpu_error error = {0};

	cr_assert_eq(filter_build(filter_native_architectures(), &program, &error), 0, "%s",
		     error.text);
	flags = filter_probe_flags(&error);
	cr_assert_neq(flags, 0, "%s", error.text);
}

static void teardown(void)
{
	filter_program_free(&program);
}

TestSuite(inject, .init = setup, .fini = teardown, .timeout = 60);

static struct target start(void (*body)(struct shared *shared, int in, int out))
{
	int to[2], from[2];
	struct target target = {0};

	target.shared = mmap(NULL, sizeof(*target.shared), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(target.shared, MAP_FAILED);
	cr_assert_eq(pipe2(to, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(from, O_CLOEXEC), 0);
	target.pid = fork();
	if (target.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		body(target.shared, to[0], from[1]);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	target.to = to[1];
	target.from = from[0];
	for (int i = 0; i < 5000 && !target.shared->ready; i++)
		usleep(1000);
	cr_assert_eq(target.shared->ready, 1);
	usleep(20000);
	return target;
}

static int finish(struct target *target)
{
	int status;

	target->shared->stop = 1;
	cr_assert_eq(waitpid(target->pid, &status, 0), target->pid);
	close(target->to);
	close(target->from);
	return status;
}

static int count_lines(pid_t pid, const char *name)
{
	cleanup_free char *path = NULL;
	cleanup_file FILE *file = NULL;
	int lines = 0;

	cr_assert_gt(asprintf(&path, "/proc/%d/%s", pid, name), 0);
	file = fopen(path, "r");
	cr_assert_not_null(file);
	for (int c = getc(file); c != EOF; c = getc(file))
		lines += c == '\n';
	return lines;
}

static int count_fds(pid_t pid)
{
	cleanup_free char *path = NULL;
	cleanup_dir DIR *dir = NULL;
	int count = 0;

	cr_assert_gt(asprintf(&path, "/proc/%d/fd", pid), 0);
	dir = opendir(path);
	cr_assert_not_null(dir);
	while (readdir(dir))
		count++;
	return count;
}

/* Threads of PID that run under a filter. */
static int count_filtered(pid_t pid)
{
	cleanup_free char *path = NULL;
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;
	int count = 0;

	cr_assert_gt(asprintf(&path, "/proc/%d/task", pid), 0);
	dir = opendir(path);
	while ((entry = readdir(dir))) {
		cleanup_free char *status = NULL;
		cleanup_file FILE *file = NULL;
		char line[256];

		if (entry->d_name[0] == '.')
			continue;
		cr_assert_gt(asprintf(&status, "%s/%s/status", path, entry->d_name), 0);
		file = fopen(status, "r");
		while (file && fgets(line, sizeof(line), file))
			count += strcmp(line, "Seccomp:\t2\n") == 0;
	}
	return count;
}

static int inject(struct target *target, struct mpu_error *error)
{
	int listener = -1;
	int result = filter_inject(target->pid, &program, flags, &listener, error);

	return result ? result : listener;
}

/* Answers one notification with VALUE. */
static void answer(int listener, int64_t value)
{
	struct seccomp_notif notification = {0};
	struct seccomp_notif_resp response = {0};
	struct pollfd ready = {.fd = listener, .events = POLLIN};

	cr_assert_eq(poll(&ready, 1, 10000), 1, "no notification came");
	cr_assert_eq(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification), 0);
	response.id = notification.id;
	response.val = value;
	cr_assert_eq(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response), 0);
}

static void *wait_for_stop(void *argument)
{
	struct shared *shared = argument;

	while (!shared->stop)
		usleep(1000);
	return NULL;
}

/* Waits in read(2) with other threads about; then makes an RM control. */
static void read_then_control(struct shared *shared, int in, int out)
{
	pthread_t thread;
	char byte = 0;
	int got;

	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread, NULL, wait_for_stop, shared);
	shared->ready = 1;
	if (read(in, &byte, 1) != 1 || byte != 'x')
		_exit(1);
	got = ioctl(in, RM_CONTROL, NULL);
	if (write(out, &got, sizeof(got)) != sizeof(got))
		_exit(2);
	/* The rest of the world is as before. */
	if (ioctl(in, FIONREAD, &got) || got != 0)
		_exit(3);
	while (!shared->stop)
		usleep(1000);
}

Test(inject, all_threads_are_filtered_and_the_call_goes_on)
{
	struct target target = start(read_then_control);
	int maps = count_lines(target.pid, "maps"), fds = count_fds(target.pid);
	struct mpu_error error = {0};
	int listener = inject(&target, &error), got = 0;

	cr_assert_geq(listener, 0, "%s", error.text);
	cr_assert_eq(count_filtered(target.pid), THREADS + 1);
	cr_assert_eq(count_lines(target.pid, "maps"), maps);
	cr_assert_eq(count_fds(target.pid), fds);
	cr_assert(fcntl(listener, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(write(target.to, "x", 1), 1);
	answer(listener, 4711);
	cr_assert_eq(read(target.from, &got, sizeof(got)), sizeof(got));
	cr_assert_eq(got, 4711);
	cr_assert_eq(finish(&target), 0);
	close(listener);
}

static void count_round(int number)
{
	(void)number;
}

/* System calls in a row whose results are known, under a rain of signals with handlers that make
 * system calls of their own. */
static void count_rounds(struct shared *shared, int in, int out)
{
	struct sigaction action = {.sa_handler = count_round, .sa_flags = SA_RESTART};
	struct itimerspec every = {.it_interval.tv_nsec = 300000, .it_value.tv_nsec = 300000};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
	pid_t self = getpid();
	timer_t timer;
	char byte = 'a';
	int fds[2];

	(void)in;
	(void)out;
	sigaction(SIGURG, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &every, NULL) || pipe(fds))
		_exit(1);
	shared->ready = 1;
	while (!shared->stop) {
		shared->rounds++;
		byte++;
		if (getpid() != self || write(fds[1], &byte, 1) != 1)
			shared->wrong = 1;
		byte = (char)(byte - 1);
		if (read(fds[0], &byte, 1) != 1 || byte != (char)(shared->rounds + 'a'))
			shared->wrong = 2;
	}
}

Test(inject, a_busy_process_under_signals_computes_on)
{
	for (int i = 0; i < 50; i++) {
		struct target target = start(count_rounds);
		struct mpu_error error = {0};
		int listener = inject(&target, &error), rounds = target.shared->rounds;

		cr_assert_geq(listener, 0, "%s", error.text);
		for (int j = 0; j < 5000 && target.shared->rounds == rounds; j++)
			usleep(1000);
		cr_assert_gt(target.shared->rounds, rounds);
		cr_assert_eq(target.shared->wrong, 0);
		cr_assert_eq(finish(&target), 0);
		close(listener);
	}
}

/* A sleep that must be neither cut short nor begun anew. */
static void sleep_once(struct shared *shared, int in, int out)
{
	struct timespec pause = {.tv_nsec = 600000000}, before, after;
	long milliseconds;

	(void)in;
	(void)out;
	shared->ready = 1;
	clock_gettime(CLOCK_MONOTONIC, &before);
	if (nanosleep(&pause, NULL))
		_exit(1);
	clock_gettime(CLOCK_MONOTONIC, &after);
	milliseconds =
	    (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	_exit(milliseconds >= 600 && milliseconds < 900 ? 0 : 2);
}

Test(inject, a_sleep_is_neither_cut_nor_begun_anew)
{
	struct target target = start(sleep_once);
	struct mpu_error error = {0};
	int listener;

	usleep(400000);
	listener = inject(&target, &error);
	cr_assert_geq(listener, 0, "%s", error.text);
	cr_assert_eq(finish(&target), 0);
	close(listener);
}

static void check_unharmed(struct target *target, int maps, int fds)
{
	int got = 0;

	cr_assert_eq(count_lines(target->pid, "maps"), maps);
	cr_assert_eq(count_fds(target->pid), fds);
	cr_assert_eq(write(target->to, "x", 1), 1);
	cr_assert_eq(read(target->from, &got, sizeof(got)), sizeof(got));
	cr_assert_eq(finish(target), 0);
}

Test(inject, a_second_listener_is_refused_and_the_process_unharmed)
{
	struct target target = start(read_then_control);
	int maps = count_lines(target.pid, "maps"), fds = count_fds(target.pid);
	struct mpu_error error = {0}, second = {0};
	int listener = inject(&target, &error);

	cr_assert_geq(listener, 0, "%s", error.text);
	cr_assert_eq(inject(&target, &second), -EBUSY);
	cr_assert_not_null(strstr(second.text, "listener already"), "%s", second.text);
	close(listener);
	check_unharmed(&target, maps, fds);
}

Test(inject, a_bad_program_leaves_the_process_unharmed)
{
	struct target target = start(read_then_control);
	int maps = count_lines(target.pid, "maps"), fds = count_fds(target.pid), listener = -1;
	struct sock_filter nonsense = {.code = 0xffff};
	struct filter_program bad = {.code = &nonsense, .length = 1};
	struct mpu_error error = {0};

	cr_assert_eq(filter_inject(target.pid, &bad, flags, &listener, &error), -EINVAL);
	cr_assert_eq(listener, -1);
	cr_assert_eq(count_filtered(target.pid), 0);
	check_unharmed(&target, maps, fds);
}

Test(inject, a_process_that_is_gone_is_an_error)
{
	struct target target = start(read_then_control);
	struct mpu_error error = {0};

	kill(target.pid, SIGKILL);
	finish(&target);
	cr_assert_lt(inject(&target, &error), 0);
	cr_assert_not_null(strstr(error.text, "no process"), "%s", error.text);
}

Test(inject, a_stopped_process_is_left_stopped)
{
	struct target target = start(read_then_control);
	int maps = count_lines(target.pid, "maps"), fds = count_fds(target.pid), status;
	struct mpu_error error = {0};

	kill(target.pid, SIGSTOP);
	cr_assert_eq(waitpid(target.pid, &status, WUNTRACED), target.pid);
	cr_assert_eq(inject(&target, &error), -EAGAIN, "%s", error.text);
	cr_assert_eq(count_filtered(target.pid), 0);
	kill(target.pid, SIGCONT);
	check_unharmed(&target, maps, fds);
}

/* No system call at all. */
static void spin(struct shared *shared, int in, int out)
{
	(void)in;
	(void)out;
	shared->ready = 1;
	while (!shared->stop)
		shared->rounds++;
}

Test(inject, a_process_without_system_calls_is_given_up)
{
	struct target target = start(spin);
	struct mpu_error error = {0};
	int rounds;

	cr_assert_eq(inject(&target, &error), -ETIMEDOUT);
	rounds = target.shared->rounds;
	usleep(10000);
	cr_assert_neq(target.shared->rounds, rounds);
	cr_assert_eq(finish(&target), 0);
}
