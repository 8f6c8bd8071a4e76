/* The threads of confined processes that an executor has served lately: descriptors by which each
 * is looked at again. What is read is read anew for every call, since a thread may change who it
 * is; but both descriptors stand for the very task, not for its number, and fail when that has
 * ended. */
#ifndef SUPERVISOR_CONFINE_CALLERS_H
#define SUPERVISOR_CONFINE_CALLERS_H

#include "supervisor/target.h"

#include <stdbool.h>

enum { CALLERS = 4 };

struct caller {
	pid_t tid;  /* 0: free */
	int status; /* /proc/TID/status */
	int pidfd;  /* of the thread; -1 where the kernel has none */
};

/* An executor's own; zero to begin with. */
struct callers {
	struct caller known[CALLERS];
	unsigned int next;
};

/* Identifies thread TID into TARGET as target_identify_caller() does. Returns 0 with CALLER, which
 * is good until the next call, or -errno. */
int callers_identify(struct callers *callers, pid_t tid, struct target *target,
		     const struct caller **caller);

/* Duplicates descriptor FD of the caller, who is TARGET, as pidfd_duplicate() does. */
int caller_duplicate(const struct caller *caller, const struct target *target, int fd,
		     bool use_thread);

void callers_release(struct callers *callers);

#endif
