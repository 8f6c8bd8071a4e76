/* sd_notify(3), which is one datagram. */
#include "supervisor/mpud/mpud.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { FDS_MAX = 4 };

static bool find_address(struct sockaddr_un *address, socklen_t *size)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;

	if (length < 2 || length >= sizeof(address->sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return false;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path, path, length);
	if (path[0] == '@')
		address->sun_path[0] = '\0';
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return true;
}

void mpud_notify(const char *state, const int *fds, size_t count)
{
	const struct timeval patience = {.tv_sec = 1};
	struct sockaddr_un address;
	union {
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec data = {.iov_base = (char *)(uintptr_t)state, .iov_len = strlen(state)};
	struct msghdr message = {.msg_name = &address, .msg_iov = &data, .msg_iovlen = 1};
	cleanup_close int fd = -1;

	if (!find_address(&address, &message.msg_namelen) || count > FDS_MAX)
		return;
	if (count) {
		struct cmsghdr *header;

		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (fd < 0 || sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
		log_warning("systemd does not hear", "word=\"%s\" error=\"%s\"", state,
			    strerror(errno));
}
