#include "supervisor/privilege.h"

#include "base/cleanup.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Of the machine's own users: others would take the name service's libraries, which a static
 * program cannot load and one with privilege should not. */
int privilege_find_user(const char *name, struct privilege_user *user, struct mpu_error *error)
{
	cleanup_file FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry = NULL;

	while (file && (entry = fgetpwent(file)) && strcmp(entry->pw_name, name) != 0)
		;
	if (!entry)
		return mpu_fail(error, ENOENT,
				"--user=%s: /etc/passwd has no such user (useradd --system %s)",
				name, name);
	*user = (struct privilege_user){.uid = entry->pw_uid, .gid = entry->pw_gid};
	return 0;
}

/* Threads count for the user that they belong to, and root's limit is not meant for it. */
static void raise_thread_limit(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	if (!setrlimit(RLIMIT_NPROC, &limit) || getrlimit(RLIMIT_NPROC, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NPROC, &limit);
}

/* The kernel drops the effective capabilities with uid 0, and keeps the permitted ones. */
static int change_ids(const struct privilege_user *user, struct capability_sets all)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || privilege_set(all) || setgroups(0, NULL) ||
	    setresgid(user->gid, user->gid, user->gid) ||
	    setresuid(user->uid, user->uid, user->uid))
		return -EPERM;
	return privilege_set(all);
}

int privilege_become(enum privilege_role role, const struct privilege_user *user,
		     struct mpu_error *error)
{
	struct capability_sets sets;
	int result;

	if (geteuid() == user->uid)
		return 0;
	raise_thread_limit();
	result = privilege_find(role, &sets);
	sets.effective = sets.permitted;
	if (!result)
		result = change_ids(user, sets);
	if (result)
		return mpu_fail(error, EPERM,
				"cannot become user %u: mpud --user must be started by root (%d)",
				user->uid, result);
	return 0;
}
