#include "supervisor/kernel/nsfs.h"

#include "base/cleanup.h"
#include "supervisor/kernel/shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* Debian 12's linux/nsfs.h ends before these. */
#ifndef NS_GET_PID_FROM_PIDNS
#define NS_GET_PID_FROM_PIDNS  _IOR(NSIO, 0x6, int)
#define NS_GET_TGID_FROM_PIDNS _IOR(NSIO, 0x7, int)
#define NS_GET_PID_IN_PIDNS    _IOR(NSIO, 0x8, int)
#define NS_GET_TGID_IN_PIDNS   _IOR(NSIO, 0x9, int)
#endif

bool nsfs_translates(void)
{
	static int known = -1;

	if (known < 0) {
		cleanup_close int fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

		known = fd >= 0 && ioctl(fd, NS_GET_TGID_IN_PIDNS, getpid()) == getpid();
	}
	return known;
}

static int failed(int errnum)
{
	shortage_note(errnum);
	return -errnum;
}

int nsfs_open_pid(pid_t tid)
{
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? failed(errno) : fd;
}

uint64_t nsfs_id(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

uint64_t nsfs_id_of(pid_t tid, const char *name)
{
	char path[48];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", tid, name);
	return stat(path, &st) ? (failed(errno), 0) : st.st_ino;
}

int nsfs_parent(int fd)
{
	int parent = ioctl(fd, NS_GET_PARENT);

	return parent < 0 ? failed(errno) : parent;
}

int nsfs_process_in(int fd, pid_t pid)
{
	int number = ioctl(fd, NS_GET_TGID_IN_PIDNS, pid);

	return number < 0 ? -errno : number;
}

int nsfs_process_from(int fd, pid_t pid)
{
	int process = ioctl(fd, NS_GET_TGID_FROM_PIDNS, pid);

	if (process < 0)
		return -errno;
	return ioctl(fd, NS_GET_PID_FROM_PIDNS, pid) == process ? process : -ESRCH;
}
