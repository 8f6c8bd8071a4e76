#include "supervisor/confine/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the driver asks for by capable(): kernel-open of every release. Of these we have SYS_ADMIN. */
#define OF_THE_DRIVER                                                                              \
	(UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_PERFMON | UINT64_C(1) << CAP_SYS_NICE)

static struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

/* Of the permitted ones those of KEPT stay, and are effective. */
static int keep(uint64_t kept)
{
	struct __user_cap_data_struct set[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, set))
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		set[i].permitted &= (uint32_t)(kept >> 32 * i);
		set[i].effective = set[i].permitted;
		set[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, set) ? -errno : 0;
}

static bool is_now(uid_t uid, gid_t gid)
{
	uid_t uids[3];
	gid_t gids[3];

	return !getresuid(&uids[0], &uids[1], &uids[2]) &&
	       !getresgid(&gids[0], &gids[1], &gids[2]) && uids[0] == uid && uids[1] == uid &&
	       uids[2] == uid && gids[0] == gid && gids[1] == gid && gids[2] == gid;
}

static bool has_no_groups(void)
{
	return getgroups(0, NULL) == 0;
}

/* 1. Groups, while we may. 2. The user; the kernel drops all capabilities with uid 0, but for
 * KEEPCAPS. 3. The capabilities. 4. What is asked for must be true, by whatever way. */
int identity_take(uid_t uid, gid_t gid, uint64_t capabilities)
{
	bool may_change_groups = !setgroups(0, NULL);
	bool taken;

	prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	taken = !setresgid(gid, gid, gid) && !setresuid(uid, uid, uid);
	taken &= !keep(capabilities & OF_THE_DRIVER);
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	taken &= is_now(uid, gid) && (!may_change_groups || has_no_groups());
	return taken ? 0 : -EPERM;
}
