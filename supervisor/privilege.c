#include "supervisor/privilege.h"

#include "base/cleanup.h"

#include <cap-ng.h>
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define KEEPER	(1u << PRIVILEGE_KEEPER)
#define WORKERS (1u << PRIVILEGE_WORKER | 1u << PRIVILEGE_RUN)
#define RUN	(1u << PRIVILEGE_RUN)
#define NURSERY (1u << PRIVILEGE_NURSERY)

/* Other processes' memory and descriptors, and to be the target's user in the driver. SYS_ADMIN is
 * used for nothing but to lend it, in the driver, to a target that has it. An ordinary user's
 * containers have cgroups that are his: only DAC_OVERRIDE puts a process there. */
static const struct {
	unsigned int capability;
	unsigned int permitted, effective; /* for which roles */
} known[] = {
    {CAP_SYS_PTRACE, KEEPER | WORKERS, WORKERS},
    {CAP_SETUID, KEEPER | WORKERS | NURSERY, WORKERS | NURSERY},
    {CAP_SETGID, KEEPER | WORKERS | NURSERY, WORKERS | NURSERY},
    {CAP_DAC_READ_SEARCH, KEEPER | WORKERS, WORKERS},
    {CAP_SYS_ADMIN, KEEPER | WORKERS | NURSERY, 0},
    {CAP_KILL, RUN, RUN},
    {CAP_DAC_OVERRIDE, NURSERY, NURSERY},
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

/* What ROLE takes of what is there; ALL: all of it effective. */
static void choose(enum privilege_role role, bool all)
{
	bool have[KNOWN];

	for (size_t i = 0; i < KNOWN; i++)
		have[i] = known[i].permitted & 1u << role &&
			  capng_have_capability(CAPNG_PERMITTED, known[i].capability);
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < KNOWN; i++) {
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_PERMITTED, known[i].capability);
		if (have[i] && (all || known[i].effective & 1u << role))
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, known[i].capability);
	}
}

/* A thread that is the target's root in the driver must not lose its rights on its way back to a
 * user who is none; execute.c says for itself which are effective. */
int privilege_drop(enum privilege_role role, struct mpu_error *error)
{
	int result;

	errno = 0;
	if (capng_get_caps_process())
		return mpu_fail(error, errno ? errno : EIO,
				"cannot tell one's own capabilities: %s",
				strerror(errno ? errno : EIO));
	choose(role, false);
	errno = 0;
	result = capng_apply(CAPNG_SELECT_CAPS);
	if (result)
		return mpu_fail(error, errno ? errno : EPERM,
				"cannot give up capabilities (%d): %s", result,
				strerror(errno ? errno : EPERM));
	prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return 0;
}

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

int privilege_become(enum privilege_role role, const struct privilege_user *user,
		     struct mpu_error *error)
{
	int result;

	if (geteuid() == user->uid)
		return 0;
	raise_thread_limit();
	choose(role, true);
	result = capng_change_id((int)user->uid, (int)user->gid, CAPNG_DROP_SUPP_GRP);
	if (result)
		return mpu_fail(error, EPERM,
				"cannot become user %u: mpud --user must be started by root (%d)",
				user->uid, result);
	return 0;
}
