/* One message of LXC's proxy protocol (struct seccomp_notify_proxy_msg of LXC 4.0 and later): a
 * head, a seccomp_notif, a seccomp_notif_resp and the cookie, in the sizes that the head tells. */
#ifndef SUPERVISOR_MPUD_LXC_MESSAGE_H
#define SUPERVISOR_MPUD_LXC_MESSAGE_H

#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lxc_head {
	uint64_t reserved;
	pid_t monitor, init;
	uint16_t notification_size, response_size, data_size;
	uint64_t cookie_length;
};

/* The descriptors beside it. */
enum { LXC_FD_PROCESS, LXC_FD_MEMORY, LXC_FD_LISTENER, LXC_FDS, LXC_FD_ROOM = 16 };

enum { LXC_MESSAGE_MAX = 4096 };

struct lxc_message {
	/* As it came. */
	char bytes[LXC_MESSAGE_MAX];
	size_t size;
	int fd[LXC_FD_ROOM]; /* owned */
	size_t fd_count;
	int64_t sent_at; /* CLOCK_REALTIME, milliseconds */
	/* What it says, where lxc_message_read() took it. */
	struct lxc_head head;
	struct seccomp_notif notification;
	size_t response_at, length; /* in bytes: of the response, and of all but the cookie */
};

/* Closes the descriptors that are left. */
void lxc_message_drop(const struct lxc_message *message);
#define cleanup_lxc_message __attribute__((cleanup(lxc_message_drop)))

/* Asks for the times at which messages are sent over CONNECTION. Returns 0 or -errno. */
int lxc_message_prepare(int connection);

/* Receives into MESSAGE, which is zeroed. Returns 1, 0 when nothing has come, -1 when the
 * connection has ended. Never blocks. */
int lxc_message_receive(int connection, struct lxc_message *message);

/* Reads what came. Returns NULL, or why it is none of the protocol. */
const char *lxc_message_read(struct lxc_message *message);

#endif
