#include "supervisor/execute.h"

#include "base/log.h"
#include "supervisor/kernel/kick.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The raw system calls change this thread alone; the C library's would change every thread. */
static int set_euid(uid_t euid)
{
	return (int)syscall(SYS_setresuid, -1, euid, -1);
}

static int set_egid(gid_t egid)
{
	return (int)syscall(SYS_setresgid, -1, egid, -1);
}

enum { RESTORE_TRIES = 100 };

struct capabilities {
	struct __user_cap_data_struct set[_LINUX_CAPABILITY_U32S_3];
};

static int get_capabilities(struct capabilities *capabilities)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return (int)syscall(SYS_capget, &header, capabilities->set);
}

static int set_capabilities(const struct capabilities *capabilities)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return (int)syscall(SYS_capset, &header, capabilities->set);
}

static bool has_capabilities(const struct capabilities *capabilities)
{
	return capabilities->set[0].permitted || capabilities->set[1].permitted;
}

static void set_effective(struct capabilities *capabilities, uint64_t effective)
{
	capabilities->set[0].effective = capabilities->set[0].permitted & (uint32_t)effective;
	capabilities->set[1].effective =
		capabilities->set[1].permitted & (uint32_t)(effective >> 32);
}

/* The real ids stay ours, which keeps the way back and keeps the target's user from signalling us.
 * 1. The group, while we may still change it.
 * 2. The user; the kernel drops the effective capabilities with uid 0.
 * 3. The capabilities: what the target has and we have, nothing else. */
static int take_identity(const struct target *target, struct capabilities own)
{
	if (target->egid != getegid() && set_egid(target->egid))
		return -errno;
	if (target->euid != geteuid() && set_euid(target->euid))
		return -errno;
	if (!has_capabilities(&own))
		return 0;
	set_effective(&own, target->capabilities);
	return set_capabilities(&own) ? -errno : 0;
}

static bool is_restored(uid_t euid, gid_t egid, const struct capabilities *own)
{
	return (geteuid() == euid || !set_euid(euid)) &&
	       (!has_capabilities(own) || !set_capabilities(own)) &&
	       (getegid() == egid || !set_egid(egid));
}

/* The same in reverse. The permitted set was never touched, so this cannot be refused; memory for it
 * may be short for a moment. Were it refused, the thread must not go on as somebody else. */
static void restore_identity(uid_t euid, gid_t egid, const struct capabilities *own)
{
	for (int i = 0; i < RESTORE_TRIES; i++) {
		if (is_restored(euid, egid, own))
			return;
		usleep(1000);
	}
	log_error("a thread cannot become again who it was: its process ends", "error=\"%s\"",
		  strerror(errno));
	_exit(125);
}

/* Without privilege of our own there is none to lose: an ordinary user's supervisor cannot become
 * another user, and the driver then sees ours. */
static bool may_stay(const struct capabilities *own)
{
	return !has_capabilities(own);
}

/* What a kick of our own interrupted is called again: no target is to see it. */
static int call_driver(int fd, struct nvos54_parameters *control)
{
	const struct nvos54_parameters before = *control;
	unsigned int kicks;
	int result;

	do {
		*control = before;
		kicks = kick_count();
		result = ioctl(fd, NVABI_RM_CONTROL_REQUEST, control) < 0 ? -errno : 0;
	} while (result == -EINTR && kicks != kick_count());
	return result;
}

int execute_control(int fd, const struct target *target, struct nvos54_parameters *control)
{
	struct capabilities own;
	uid_t euid = geteuid();
	gid_t egid = getegid();
	int result;

	if (get_capabilities(&own))
		return EXECUTE_NO_IDENTITY;
	result = take_identity(target, own);
	if (result && !may_stay(&own)) {
		restore_identity(euid, egid, &own);
		return EXECUTE_NO_IDENTITY;
	}
	result = call_driver(fd, control);
	restore_identity(euid, egid, &own);
	return result;
}

uint64_t execute_bad_address(void)
{
	static void *page;

	if (!page) {
		page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED)
			page = NULL;
	}
	return page ? (uint64_t)(uintptr_t)page : 16;
}
