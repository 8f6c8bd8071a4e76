/* Agents that let every call pass. */
#include "bench.h"

#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* RECV says ENOENT for one target that went away, and of all when the last has. */
static bool all_are_gone(int listener)
{
	struct pollfd ready = {.fd = listener, .events = POLLIN};

	return poll(&ready, 1, 0) > 0 && ready.revents & POLLHUP;
}

static void *floor_loop(void *argument)
{
	int listener = (int)(intptr_t)argument;

	for (;;) {
		struct seccomp_notif notification = {0};
		char params[32];
		int result = notify_receive(listener, &notification);

		if (result == -ENOENT && !all_are_gone(listener))
			continue;
		if (result)
			break;
		memory_read((pid_t)notification.pid, notification.data.args[2], params,
			    sizeof(params));
		notify_continue(listener, notification.id);
	}
	close(listener);
	return NULL;
}

void agent_start_floor(int listener, bool sync)
{
	pthread_t thread;

	if (sync && notify_sync_wake_up(listener))
		fprintf(stderr, "this kernel has no sync wake-up (6.6 has): not the real floor\n");
	if (pthread_create(&thread, NULL, floor_loop, (void *)(intptr_t)listener))
		bench_die("cannot start a thread");
	pthread_detach(thread);
}
