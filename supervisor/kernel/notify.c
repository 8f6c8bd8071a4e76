#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

bool notify_is_listener(int fd)
{
	char path[40], name[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, name, sizeof(name) - 1);
	if (length < 0)
		return false;
	name[length] = '\0';
	return strcmp(name, "anon_inode:seccomp notify") == 0;
}

static atomic_int sync_wake_up = -1;

int notify_sync_wake_up(int listener)
{
	int result = ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
			   SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
			 ? -errno
			 : 0;

	atomic_store(&sync_wake_up, !result);
	return result;
}

int notify_has_sync_wake_up(void)
{
	return atomic_load(&sync_wake_up);
}

int notify_receive(int listener, struct seccomp_notif *notification)
{
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification) ? -errno : 0;
}

/* The kernel takes a lock that a signal interrupts: a target whose answer, or whose sign of life, was
 * given up for that would wait for ever. */
static int ioctl_whole(int listener, unsigned long request, void *argument)
{
	int result;

	do
		result = ioctl(listener, request, argument) ? -errno : 0;
	while (result == -EINTR);
	return result;
}

int notify_give_fd(int listener, uint64_t id, int fd)
{
	struct seccomp_notif_addfd give = {
	    .id = id, .srcfd = (__u32)fd, .newfd_flags = O_CLOEXEC};
	int number;

	do
		number = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
	while (number < 0 && errno == EINTR);
	return number < 0 ? -errno : number;
}

bool notify_id_valid(int listener, uint64_t id)
{
	return ioctl_whole(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int notify_respond(int listener, const struct seccomp_notif_resp *response)
{
	struct seccomp_notif_resp copy = *response;

	return ioctl_whole(listener, SECCOMP_IOCTL_NOTIF_SEND, &copy);
}

int notify_continue(int listener, uint64_t id)
{
	return notify_respond(listener, &(struct seccomp_notif_resp){
					    .id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

int notify_answer(int listener, uint64_t id, int64_t value, int errnum)
{
	return notify_respond(listener, &(struct seccomp_notif_resp){
					    .id = id, .val = errnum ? 0 : value, .error = -errnum});
}
