#include "supervisor/mpud/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char room[CMSG_SPACE(CHANNEL_FDS * sizeof(int))];
	struct cmsghdr align;
};

int channel_send(int channel, const struct channel_message *message, const int *fds, size_t count,
		 int flags)
{
	union control control;
	struct iovec data = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message)};
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *rights;

		memset(&control, 0, sizeof(control));
		header.msg_control = control.room;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
	}
	while (sendmsg(channel, &header, flags | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int channel_receive(int channel, struct channel_mail *mail, int flags)
{
	union control control;
	struct iovec data = {.iov_base = &mail->message, .iov_len = sizeof(mail->message)};
	struct msghdr header = {.msg_iov = &data,
				.msg_iovlen = 1,
				.msg_control = control.room,
				.msg_controllen = sizeof(control.room)};
	const struct cmsghdr *rights;
	ssize_t got;

	mail->count = 0;
	do
		got = recvmsg(channel, &header, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	rights = CMSG_FIRSTHDR(&header);
	if (rights && rights->cmsg_type == SCM_RIGHTS) {
		mail->count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(mail->fd, CMSG_DATA(rights), mail->count * sizeof(int));
	}
	if (got == (ssize_t)sizeof(mail->message) && !(header.msg_flags & MSG_CTRUNC))
		return 0;
	channel_drop(mail);
	return got ? -EPROTO : -EPIPE;
}

int channel_wait(int channel, struct channel_mail *mail, int timeout_ms)
{
	struct pollfd ready = {.fd = channel, .events = POLLIN};
	int count;

	mail->count = 0;
	do
		count = poll(&ready, 1, timeout_ms);
	while (count < 0 && errno == EINTR);
	if (count < 1)
		return count ? -errno : -ETIMEDOUT;
	return channel_receive(channel, mail, 0);
}

void channel_drop(struct channel_mail *mail)
{
	for (size_t i = 0; i < mail->count; i++)
		if (mail->fd[i] >= 0)
			close(mail->fd[i]);
	mail->count = 0;
}
