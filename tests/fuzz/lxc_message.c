/* LXC's messages, with descriptors of any number. */
#include "supervisor/mpud/lxc-message.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_all(int to, const uint8_t *data, size_t size, size_t fds)
{
	union {
		char room[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec bytes = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
	struct cmsghdr *rights;

	if (fds) {
		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(fds * sizeof(int));
		for (size_t i = 0; i < fds; i++)
			memcpy(CMSG_DATA(rights) + i * sizeof(int), &to, sizeof(int));
	}
	fuzz_check(sendmsg(to, &message, MSG_NOSIGNAL) >= 0, "%m");
}

/* Any descriptor passes for a listener: what lies behind that check is to be reached. */
bool __wrap_notify_is_listener(int fd);
bool __wrap_notify_is_listener(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lxc_message message;
	const char *why;
	int pair[2], probe;

	if (size < 2)
		return 0;
	fuzz_check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "%m");
	memset(&message, 0, sizeof(message));
	lxc_message_prepare(pair[1]);
	send_all(pair[0], data + 1, size - 1, data[0] & 7);
	if (lxc_message_receive(pair[1], &message) == 1) {
		why = lxc_message_read(&message);
		fuzz_check(why || (message.notification.pid &&
				   message.length <= message.size &&
				   message.response_at + sizeof(struct seccomp_notif_resp) <=
				       message.length),
			   "a message of %zu bytes, %zu of them its own", message.size,
			   message.length);
	}
	lxc_message_drop(&message);
	close(pair[0]);
	close(pair[1]);
	probe = dup(0);
	fuzz_check(probe == pair[0], "a descriptor is left: %d, not %d", probe, pair[0]);
	close(probe);
	return 0;
}
