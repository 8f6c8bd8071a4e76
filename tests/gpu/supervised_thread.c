/* A thread under mpu within a process that is not: what both do alike differs by nothing but the
 * supervision. bench_torch.py loads this as a library. */
#include "supervised_thread.h"

#include "base/cleanup.h"
#include "filter/filter.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/mpud-protocol.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int hand_over(int listener, const char *socket, enum filter_kind kind,
		     struct mpu_error *error)
{
	const bool confine = kind != FILTER_PIDS;
	cleanup_close int connection = mpud_connect(socket, error);
	char state[512];
	int length;

	if (connection < 0)
		return -1;
	length = snprintf(state, sizeof(state),
			  "{\"ociVersion\":\"1.0.2\",\"fds\":[\"" MPUD_LISTENER_NAME "\"],"
			  "\"pid\":%d,\"metadata\":\"mpu.filter=%s%s\",\"state\":{\"ociVersion\":"
			  "\"1.0.2\",\"id\":\"%s-%d\",\"status\":\"creating\",\"pid\":%d,"
			  "\"bundle\":\"/\"}}",
			  getpid(), filter_kind_name(kind),
			  confine ? " mpu.confine=compute,utility" : "", filter_kind_name(kind),
			  getpid(), getpid());
	return mpud_send_state(connection, listener, state, (size_t)length, confine, error);
}

/* The ordinary agent: no sync wake-up, all calls pass. */
static void *let_pass(void *argument)
{
	const int listener = (int)(intptr_t)argument;
	struct seccomp_notif notification;

	do {
		memset(&notification, 0, sizeof(notification));
	} while (!notify_receive(listener, &notification) &&
		 (notify_continue(listener, notification.id), true));
	return NULL;
}

static int start_agent(int listener)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, let_pass, (void *)(intptr_t)listener) ||
	       pthread_detach(thread);
}

int supervise_this_thread(const char *name, const char *socket)
{
	const bool agent = strcmp(name, "agent") == 0;
	struct mpu_error error = {0};
	unsigned int flags = filter_probe_flags(&error);
	enum filter_kind kind = FILTER_PIDS;
	cleanup_close int listener = -1;

	if (flags && (agent || filter_kind_parse(name, &kind)))
		listener = filter_install(&filter_native[kind], flags, &error);
	if (listener >= 0 && agent && !start_agent(listener)) {
		listener = -1;
		return 0;
	}
	if (listener >= 0 && !agent && !hand_over(listener, socket, kind, &error))
		return 0;
	fprintf(stderr, "cannot supervise a thread (%s): %s\n", name, error.text);
	return -1;
}
