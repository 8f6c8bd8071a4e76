/* Putting a process where another one is accounted for. */
#ifndef SUPERVISOR_CONFINE_CGROUP_H
#define SUPERVISOR_CONFINE_CGROUP_H

#include <sys/types.h>

/* The cgroups of a process, as /proc says them. */
struct cgroup_paths {
	char text[8192];
};

/* Reads those of PROCESS. Returns 0 or -errno. */
int cgroup_read(pid_t process, struct cgroup_paths *paths);

/* The directory of PATHS in the unified hierarchy, for clone3(2). Returns a descriptor owned by the
 * caller, or -errno. */
int cgroup_open(const struct cgroup_paths *paths);

/* Moves PROCESS, which is in OLD, to PATHS, in every hierarchy that has another one. Returns 0, or
 * -errno of the first that failed; the others are done. */
int cgroup_move(pid_t process, const struct cgroup_paths *old, const struct cgroup_paths *paths);

#endif
