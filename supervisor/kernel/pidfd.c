#include "supervisor/kernel/pidfd.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static int sys_pidfd_open(pid_t pid, unsigned int flags)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, flags);

	return fd < 0 ? -errno : fd;
}

bool pidfd_has_thread(void)
{
	static int known = -1;

	if (known < 0) {
		cleanup_close int fd = sys_pidfd_open(getpid(), PIDFD_THREAD);

		known = fd >= 0;
	}
	return known;
}

int pidfd_of_process(pid_t tgid)
{
	return sys_pidfd_open(tgid, 0);
}

int pidfd_of_thread(pid_t tid)
{
	int fd = sys_pidfd_open(tid, PIDFD_THREAD);

	return fd < 0 ? sys_pidfd_open(tid, 0) : fd;
}

int pidfd_take(int pidfd, int fd)
{
	int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return copy < 0 ? -errno : copy;
}

bool pidfd_has_ended(int pidfd)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	return poll(&end, 1, 0) == 1;
}

static bool same_file(pid_t tid, pid_t tgid, int fd)
{
	if (tid == tgid || syscall(SYS_kcmp, tid, tgid, KCMP_FILES, 0, 0) == 0)
		return true;
	return syscall(SYS_kcmp, tid, tgid, KCMP_FILE, fd, fd) == 0;
}

int pidfd_duplicate(pid_t tid, pid_t tgid, int fd, bool use_thread)
{
	bool by_thread = use_thread && pidfd_has_thread();
	cleanup_close int pidfd =
	    by_thread ? sys_pidfd_open(tid, PIDFD_THREAD) : sys_pidfd_open(tgid, 0);
	cleanup_close int copy = -1;

	if (pidfd < 0)
		return pidfd;
	copy = pidfd_take(pidfd, fd);
	if (copy < 0)
		return copy;
	if (!by_thread && !same_file(tid, tgid, fd))
		return -EXDEV;
	return steal_fd(&copy);
}

int pidfd_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) ? -errno : 0;
}
