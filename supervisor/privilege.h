/* What a supervisor needs of root's privilege. */
#ifndef SUPERVISOR_PRIVILEGE_H
#define SUPERVISOR_PRIVILEGE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum privilege_role {
	PRIVILEGE_KEEPER, /* passes on to its workers what these need, and uses none of it */
	PRIVILEGE_WORKER,
	PRIVILEGE_RUN, /* mpu-run's: a worker that ends its command's processes too */
	PRIVILEGE_NURSERY, /* starts proxies: becomes their users, and puts them into their cgroups */
};

/* Capabilities, a bit each. */
struct capability_sets {
	uint64_t permitted, effective;
};

/* Whether CAPABILITY is effective, or permitted at least. */
bool privilege_has(unsigned int capability);
bool privilege_may(unsigned int capability);

/* Makes SETS this process's own; none is inheritable. Returns 0 or -errno. */
int privilege_set(struct capability_sets sets);

/* What ROLE takes of this process's capabilities. Returns 0 or -errno. */
int privilege_find(enum privilege_role role, struct capability_sets *sets);

/* Gives up every capability of this process but those that ROLE takes, and the gain of new ones by
 * execve(2). To be called before threads are started. Returns 0, or -errno with ERROR filled when the
 * process is left with more, or with less. */
int privilege_drop(enum privilege_role role, struct mpu_error *error);

struct privilege_user {
	uid_t uid;
	gid_t gid;
};

/* Looks the user NAME up. Returns 0, or -errno with ERROR filled. */
int privilege_find_user(const char *name, struct privilege_user *user, struct mpu_error *error);

/* Becomes USER, of its own group alone, and keeps the capabilities that privilege_drop() knows for
 * ROLE. To be called before it, as root. Returns 0, also for who is USER already, or -errno with
 * ERROR filled. */
int privilege_become(enum privilege_role role, const struct privilege_user *user,
		     struct mpu_error *error);

#endif
