#include "bench.h"

#include "supervisor/engine.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *floor_loop(void *argument)
{
	int listener = (int)(intptr_t)argument;

	for (;;) {
		struct seccomp_notif notification = {0};
		char params[32];
		int result = notify_receive(listener, &notification);

		if (result == -ENOENT)
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
		abort();
	pthread_detach(thread);
}

static struct engine *engine_with(bool with_uring)
{
	static struct engine *engines[2];
	struct engine_options options = {.pid_lookup = engine_best_pid_lookup(),
					 .with_uring = with_uring,
					 .use_pidfd_thread = true};
	struct mpu_error error = {0};

	if (engines[with_uring])
		return engines[with_uring];
	nvabi_version_parse("580.142", &options.driver.version);
	nvabi_pids_compose(&options.driver.version, &options.pids);
	if (engine_start(&engines[with_uring], &options, &error)) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	return engines[with_uring];
}

void agent_start_mpu(int listener, bool with_uring)
{
	const struct mpu_settings settings = {0};

	if (engine_add_listener(engine_with(with_uring), listener, &settings, "bench", 0))
		abort();
}
