#include "supervisor/confine/post.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char room[CMSG_SPACE(POST_FDS * sizeof(int))];
	struct cmsghdr align;
};

int post_send(int socket, const void *data, size_t size, const int *fds, size_t count)
{
	union control control;
	struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *rights;

		header.msg_control = control.room;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		memset(&control, 0, header.msg_controllen);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
	}
	while (sendmsg(socket, &header, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

int post_receive(int socket, void *data, size_t size, int fds[POST_FDS], size_t *count, int flags)
{
	union control control;
	struct iovec piece = {.iov_base = data, .iov_len = size};
	struct msghdr header = {.msg_iov = &piece,
				.msg_iovlen = 1,
				.msg_control = control.room,
				.msg_controllen = sizeof(control.room)};
	const struct cmsghdr *rights;
	ssize_t got;

	*count = 0;
	do
		got = recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got == 0 || errno == ECONNRESET ? -EPIPE : -errno;
	rights = CMSG_FIRSTHDR(&header);
	if (rights && rights->cmsg_type == SCM_RIGHTS) {
		*count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(rights), *count * sizeof(int));
	}
	if ((size_t)got == size && !(header.msg_flags & MSG_TRUNC))
		return 0;
	while (*count)
		close(fds[--*count]);
	return -EBADMSG;
}
