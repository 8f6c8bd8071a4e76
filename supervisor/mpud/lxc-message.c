#include "supervisor/mpud/lxc-message.h"

#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void keep_fds(struct lxc_message *message, const struct cmsghdr *part)
{
	message->fd_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(message->fd, CMSG_DATA(part), message->fd_count * sizeof(int));
}

static void keep_time(struct lxc_message *message, const struct cmsghdr *part)
{
	struct timespec sent;

	memcpy(&sent, CMSG_DATA(part), sizeof(sent));
	message->sent_at = (int64_t)sent.tv_sec * 1000 + sent.tv_nsec / 1000000;
}

static void keep_control(struct lxc_message *message, struct msghdr *header)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		if (part->cmsg_level != SOL_SOCKET)
			continue;
		if (part->cmsg_type == SCM_RIGHTS)
			keep_fds(message, part);
		else if (part->cmsg_type == SCM_TIMESTAMPNS)
			keep_time(message, part);
	}
}

int lxc_message_receive(int connection, struct lxc_message *message)
{
	union {
		char room[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(LXC_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	_Static_assert(sizeof(control.room) <= LXC_FD_ROOM * sizeof(int) + CMSG_LEN(0),
		       "no more descriptors come than message->fd holds");
	struct iovec data = {.iov_base = message->bytes, .iov_len = sizeof(message->bytes)};
	struct msghdr header = {.msg_iov = &data,
				.msg_iovlen = 1,
				.msg_control = control.room,
				.msg_controllen = sizeof(control.room)};
	ssize_t got = recvmsg(connection, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	keep_control(message, &header);
	message->size = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? 0 : (size_t)got;
	return got > 0 ? 1 : -1;
}

void lxc_message_drop(const struct lxc_message *message)
{
	for (size_t i = 0; i < message->fd_count; i++)
		if (message->fd[i] >= 0)
			close(message->fd[i]);
}

int lxc_message_prepare(int connection)
{
	int on = 1;

	return setsockopt(connection, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ? -errno : 0;
}

const char *lxc_message_read(struct lxc_message *message)
{
	struct lxc_head *head = &message->head;

	if (message->size < sizeof(*head))
		return "a message that is too short or too long";
	memcpy(head, message->bytes, sizeof(*head));
	if (head->notification_size < sizeof(struct seccomp_notif) ||
	    head->response_size < sizeof(struct seccomp_notif_resp))
		return "structures smaller than any kernel's";
	message->response_at = sizeof(*head) + head->notification_size;
	message->length = message->response_at + head->response_size;
	if (message->size < message->length ||
	    message->size - message->length != head->cookie_length)
		return "a message of another length than it tells";
	if (message->fd_count != LXC_FDS)
		return "a message without its three descriptors";
	if (!notify_is_listener(message->fd[LXC_FD_LISTENER]))
		return "the third descriptor is no seccomp listener";
	memcpy(&message->notification, message->bytes + sizeof(*head),
	       sizeof(message->notification));
	return message->notification.pid ? NULL : "a process that the monitor cannot see";
}
