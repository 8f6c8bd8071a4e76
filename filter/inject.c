#include "filter/inject.h"

#include "base/cleanup.h"
#include "filter/inject-regs.h"

#include <errno.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif

enum { PATIENCE_MS = 10000 };

/* A thread of another process, held by ptrace. */
struct held {
	pid_t tid;
	struct timespec deadline;
	struct mpu_error *error;
};

static long sys_pidfd_open(pid_t pid)
{
	return syscall(SYS_pidfd_open, pid, 0U);
}

static bool expired(const struct timespec *deadline)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > deadline->tv_sec ||
	       (now.tv_sec == deadline->tv_sec && now.tv_nsec > deadline->tv_nsec);
}

/* Waits until the thread stops. Returns its status, or -errno. */
static int wait_stop(struct held *held)
{
	const struct timespec nap = {.tv_nsec = 200000};
	int status;

	for (;;) {
		pid_t got = waitpid(held->tid, &status, __WALL | WNOHANG);

		if (got == held->tid && WIFSTOPPED(status))
			return status;
		if (got == held->tid)
			return mpu_fail(held->error, ESRCH,
					"process %d ended while the seccomp "
					"filter was put into it",
					held->tid);
		if (got < 0 && errno != EINTR)
			return mpu_fail(held->error, errno, "cannot wait for process %d: %s",
					held->tid, strerror(errno));
		if (expired(&held->deadline))
			return mpu_fail(held->error, ETIMEDOUT,
					"process %d made no system call for %d s, so the seccomp "
					"filter could not be put into it",
					held->tid, PATIENCE_MS / 1000);
		nanosleep(&nap, NULL);
	}
}

/* The signal that a stop asks to be passed on: 0 for ptrace's own stops. */
static int pending_signal(int status)
{
	int stop = WSTOPSIG(status), event = status >> 16;

	return stop == (SIGTRAP | 0x80) || event ? 0 : stop;
}

/* Lets the thread run to the next entry or exit of a system call (OP, a PTRACE_SYSCALL_INFO_
 * value), passing signals on. */
static int run_to(struct held *held, unsigned char op, int status)
{
	struct ptrace_syscall_info info;

	for (;;) {
		bool group_stop = status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP;

		if (group_stop)
			return mpu_fail(held->error, EAGAIN,
					"process %d is stopped by signal %d, so the seccomp filter "
					"could not be put into it",
					held->tid, WSTOPSIG(status));
		if (ptrace(PTRACE_SYSCALL, held->tid, NULL, (long)pending_signal(status)))
			return mpu_fail(held->error, errno, "cannot resume process %d: %s",
					held->tid, strerror(errno));
		status = wait_stop(held);
		if (status < 0)
			return status;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, held->tid, sizeof(info), &info) < 0)
			return mpu_fail(held->error, errno,
					"cannot ask for the system call of process %d (Linux 5.3 "
					"or newer is needed): %s",
					held->tid, strerror(errno));
		if (info.arch != INJECT_AUDIT_ARCH)
			return mpu_fail(held->error, ENOEXEC,
					"process %d is of another architecture than this program",
					held->tid);
		if (info.op == op)
			return 0;
	}
}

/* Makes the thread, held at the entry of a call, do NUMBER instead, and holds it at the entry of
 * its own call again. Stores what the kernel returned in RESULT. */
static int call_instead(struct held *held, long number, const unsigned long args[INJECT_ARGUMENTS],
			long *result)
{
	inject_regs own, regs;
	int failed;

	failed = inject_get_regs(held->tid, &own);
	if (failed)
		return mpu_fail(held->error, -failed, "cannot read the registers of process %d: %s",
				held->tid, strerror(-failed));
	regs = own;
	inject_set_call(&regs, number, args);
	failed = inject_put_regs(held->tid, &regs);
	if (!failed)
		failed = inject_set_number(held->tid, number);
	if (failed) {
		inject_put_regs(held->tid, &own);
		return mpu_fail(held->error, -failed,
				"cannot change the registers of process %d: %s", held->tid,
				strerror(-failed));
	}
	failed = run_to(held, PTRACE_SYSCALL_INFO_EXIT, 0);
	if (!failed)
		failed = inject_get_regs(held->tid, &regs);
	if (!failed)
		*result = inject_result(&regs);
	inject_rewind(&own);
	if (inject_put_regs(held->tid, &own) && !failed)
		failed =
		    mpu_fail(held->error, errno, "cannot restore the registers of process %d: %s",
			     held->tid, strerror(errno));
	return failed ? failed : run_to(held, PTRACE_SYSCALL_INFO_ENTRY, 0);
}

/* As call_instead(), where an error of the kernel's is one for us too; WHAT names the call. */
static int call_or_fail(struct held *held, const char *what, long number,
			const unsigned long args[INJECT_ARGUMENTS], long *result)
{
	int failed = call_instead(held, number, args, result);

	if (failed || *result >= 0 || *result < -4095)
		return failed;
	if (*result == -EBUSY && number == SYS_seccomp)
		return mpu_fail(held->error, EBUSY,
				"process %d has a seccomp listener already: a container can have "
				"one only",
				held->tid);
	return mpu_fail(held->error, (int)-*result, "%s failed in process %d: %s", what, held->tid,
			strerror((int)-*result));
}

static int write_program(struct held *held, unsigned long where,
			 const struct filter_program *program)
{
	struct sock_fprog fprog = {.len = program->length,
				   .filter =
				       (struct sock_filter *)(where + sizeof(struct sock_fprog))};
	size_t length = program->length * sizeof(*program->code);
	struct iovec from[] = {{.iov_base = &fprog, .iov_len = sizeof(fprog)},
			       {.iov_base = program->code, .iov_len = length}};
	struct iovec to = {.iov_base = (void *)where, .iov_len = sizeof(fprog) + length};

	if (process_vm_writev(held->tid, from, 2, &to, 1, 0) != (ssize_t)to.iov_len)
		return mpu_fail(held->error, errno, "cannot write to the memory of process %d: %s",
				held->tid, strerror(errno));
	return 0;
}

static int hold(struct held *held)
{
	int status;

	/* A process that lost its tracer in the middle of another's system call must not go on. */
	if (ptrace(PTRACE_SEIZE, held->tid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD))
		return mpu_fail(held->error, errno,
				"cannot trace process %d: %s (does another program trace it, or "
				"does Yama forbid it? see kernel.yama.ptrace_scope)",
				held->tid, strerror(errno));
	if (ptrace(PTRACE_INTERRUPT, held->tid, NULL, NULL))
		return mpu_fail(held->error, errno, "cannot stop process %d: %s", held->tid,
				strerror(errno));
	status = wait_stop(held);
	if (status < 0)
		return status;
	return run_to(held, PTRACE_SYSCALL_INFO_ENTRY, status);
}

static void start_patience(struct held *held)
{
	clock_gettime(CLOCK_MONOTONIC, &held->deadline);
	held->deadline.tv_sec += PATIENCE_MS / 1000;
}

static void let_go(struct held *held)
{
	int status;

	if (ptrace(PTRACE_DETACH, held->tid, NULL, NULL) == 0 || errno != ESRCH)
		return;
	/* It runs, as after a wait that took too long: only a stopped thread can be let go. */
	start_patience(held);
	if (ptrace(PTRACE_INTERRUPT, held->tid, NULL, NULL))
		return;
	status = wait_stop(held);
	if (status > 0)
		ptrace(PTRACE_DETACH, held->tid, NULL, (long)pending_signal(status));
}

static int take_listener(int pidfd, struct held *held, long number, int *listener)
{
	long fd = syscall(SYS_pidfd_getfd, pidfd, (int)number, 0U);

	if (fd < 0) {
		int code = errno;

		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0U);
		return mpu_fail(held->error, code,
				"cannot take the seccomp listener out of process %d: %s; the "
				"process was killed, as nobody would answer its calls",
				held->tid, strerror(code));
	}
	*listener = (int)fd;
	return 0;
}

static int unmap(struct held *held, unsigned long where, size_t size)
{
	const unsigned long args[INJECT_ARGUMENTS] = {where, size};
	long ignored;

	return call_or_fail(held, "munmap", SYS_munmap, args, &ignored);
}

static int inject_held(struct held *held, int pidfd, const struct filter_program *program,
		       unsigned int flags, int *listener)
{
	size_t size = sizeof(struct sock_fprog) + program->length * sizeof(*program->code);
	cleanup_close int taken = -1;
	long where, number, ignored;
	int result;

	/* 3. Memory for the program. */
	result =
	    call_or_fail(held, "mmap", SYS_mmap,
			 (unsigned long[INJECT_ARGUMENTS]){0, size, PROT_READ | PROT_WRITE,
							   MAP_PRIVATE | MAP_ANONYMOUS, -1UL, 0},
			 &where);
	if (result)
		return result;
	/* 4. The program itself, and 5. its installation. Up to here nothing has changed but a
	 * mapping, which is given back whatever happens. */
	result = write_program(held, (unsigned long)where, program);
	if (!result)
		result = call_or_fail(held, "seccomp", SYS_seccomp,
				      (unsigned long[INJECT_ARGUMENTS]){
					  SECCOMP_SET_MODE_FILTER, flags, (unsigned long)where},
				      &number);
	if (result) {
		unmap(held, (unsigned long)where, size);
		return result;
	}
	/* 6. From now on the process depends on the listener. */
	result = take_listener(pidfd, held, number, &taken);
	/* 7. Its own copy would keep the listener open when everybody else has gone. */
	if (!result)
		result = call_or_fail(held, "close", SYS_close,
				      (unsigned long[INJECT_ARGUMENTS]){(unsigned long)number},
				      &ignored);
	if (!result)
		result = unmap(held, (unsigned long)where, size);
	if (!result)
		*listener = steal_fd(&taken);
	return result;
}

int filter_inject(pid_t pid, const struct filter_program *program, unsigned int flags,
		  int *listener, struct mpu_error *error)
{
	struct mpu_error own = {0};
	struct held held = {.tid = pid, .error = error ? error : &own};
	cleanup_close int pidfd = -1;
	int result;

	start_patience(&held);
	/* 1. A handle that cannot come to mean another process. */
	pidfd = (int)sys_pidfd_open(pid);
	if (pidfd < 0)
		return mpu_fail(held.error, errno, "there is no process %d: %s", pid,
				strerror(errno));
	/* 2. Hold its first thread at the entry of a system call. */
	result = hold(&held);
	if (!result)
		result = inject_held(
		    &held, pidfd, program,
		    flags | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, listener);
	/* 8. It goes on with its own call. */
	let_go(&held);
	return result;
}
