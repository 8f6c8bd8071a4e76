#include "supervisor/confine/bell.h"

#include "filter/filter.h"
#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A call that a proxy has no use for; its other filter allows it. */
#define BELL SYS_getpgid

/* Of another architecture there are no calls: the proxy's other filter ends who makes them. */
int bell_hang(int number)
{
	static struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BELL, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct filter_program program = {code, sizeof(code) / sizeof(code[0])};
	int result, listener = filter_install(&program,
					      SECCOMP_FILTER_FLAG_NEW_LISTENER |
						  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
					      NULL);

	if (listener < 0)
		return listener;
	result = dup3(listener, number, O_CLOEXEC) < 0 ? -errno : 0;
	close(listener);
	return result;
}

void bell_wait(void)
{
	syscall(BELL, 0);
}

bool bell_take(int listener)
{
	if (!notify_is_listener(listener))
		return false;
	notify_sync_wake_up(listener);
	return true;
}

/* The peer's own words do not end the wait: a socket would wake us elsewhere. */
int bell_await(int listener, int peer, struct seccomp_notif *visit)
{
	struct pollfd polls[] = {{.fd = listener, .events = POLLIN}, {.fd = peer}};

	if (poll(polls, 2, -1) < 0)
		return -EAGAIN;
	if (polls[1].revents)
		return -EPIPE;
	if (!(polls[0].revents & POLLIN))
		return polls[0].revents ? -EPIPE : -EAGAIN;
	memset(visit, 0, sizeof(*visit));
	return notify_receive(listener, visit) ? -EAGAIN : 0;
}

void bell_ring(int listener, struct seccomp_notif *visit)
{
	uint64_t id = visit->id;

	visit->id = 0;
	if (id)
		notify_answer(listener, id, 0, 0);
}
