/* What mpu finds of this kernel's facilities, by its own probes: NAME yes|no, one a line. */
#include <stdio.h>

#include "filter/filter.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/pidfd.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static void tell(const char *name, bool found)
{
	printf("%s %s\n", name, found ? "yes" : "no");
}

/* A listener tells whether it has the mode; this process makes no call that would reach it. */
static int own_listener(unsigned int flags, struct mpu_error *error)
{
	cleanup_filter struct filter_program program = {0};
	int result = filter_build(filter_native_architectures(), &program, error);

	return result ? result : filter_install(&program, flags, error);
}

int main(void)
{
	struct mpu_error error = {0};
	unsigned int flags = filter_probe_flags(&error);
	int listener = flags ? own_listener(flags, &error) : -1;

	if (listener < 0) {
		fprintf(stderr, "facilities: %s\n", error.text);
		return 1;
	}
	tell("wait-killable", flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	tell("sync-wake-up", !notify_sync_wake_up(listener));
	tell("pidfd-thread", pidfd_has_thread());
	tell("nsfs-pids", nsfs_translates());
	return 0;
}
