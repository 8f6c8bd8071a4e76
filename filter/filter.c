#include "filter/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

void filter_program_free(struct filter_program *program)
{
	free(program->code);
	program->code = NULL;
}

static const char *const kind_names[] = {[FILTER_PIDS] = "pids",
					 [FILTER_CONFINE] = "confine",
					 [FILTER_CONFINE_COMPUTE] = "confine-compute"};

const char *filter_kind_name(enum filter_kind kind)
{
	return kind_names[kind];
}

bool filter_kind_parse(const char *word, enum filter_kind *kind)
{
	for (int i = 0; i <= FILTER_CONFINE_COMPUTE; i++)
		if (strcmp(word, kind_names[i]) == 0) {
			*kind = (enum filter_kind)i;
			return true;
		}
	return false;
}

static long sys_seccomp(unsigned int operation, unsigned int flags, const void *args)
{
	return syscall(SYS_seccomp, operation, flags, args);
}

/* The kernel looks at the flags before the program, so a NULL program tells an unknown flag
 * (EINVAL) from a known one (EFAULT). */
static bool kernel_has_flags(unsigned int flags)
{
	return sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT;
}

unsigned int filter_probe_flags(struct mpu_error *error)
{
	const uint32_t notify = SECCOMP_RET_USER_NOTIF;
	unsigned int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;

	if (sys_seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &notify) || !kernel_has_flags(flags)) {
		mpu_fail(error, ENOSYS,
			 "this kernel has no seccomp user notification: Linux 5.6 or newer with "
			 "CONFIG_SECCOMP_FILTER is needed");
		return 0;
	}
	if (kernel_has_flags(flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV))
		flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	return flags;
}

int filter_install(const struct filter_program *program, unsigned int flags,
		   struct mpu_error *error)
{
	const struct sock_fprog fprog = {.len = program->length, .filter = program->code};
	long listener = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &fprog);

	if (listener >= 0)
		return (int)listener;
	if (errno == EBUSY)
		return mpu_fail(error, EBUSY,
				"cannot install the seccomp filter: this process already has a "
				"listener above it, and a process can have one only (is it run "
				"by another mpu-run, or in a container whose seccomp profile "
				"has a listenerPath?)");
	return mpu_fail(error, errno, "cannot install the seccomp filter: %s", strerror(errno));
}
