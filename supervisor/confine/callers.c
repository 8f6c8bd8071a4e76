#include "supervisor/confine/callers.h"

#include "base/cleanup.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/kernel/shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static void release(struct caller *caller)
{
	if (!caller->tid)
		return;
	close(caller->status);
	cleanup_close_fd(&caller->pidfd);
	caller->tid = 0;
}

void callers_release(struct callers *callers)
{
	for (unsigned int i = 0; i < CALLERS; i++)
		release(&callers->known[i]);
}

static struct caller *find(struct callers *callers, pid_t tid)
{
	for (unsigned int i = 0; i < CALLERS; i++)
		if (callers->known[i].tid == tid)
			return &callers->known[i];
	return NULL;
}

/* Two threads may call in turn. */
static int meet(struct callers *callers, pid_t tid, struct caller **caller)
{
	char path[48];
	int status;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	status = open(path, O_RDONLY | O_CLOEXEC);
	if (status < 0) {
		shortage_note(errno);
		return errno == ENOENT ? -ESRCH : -errno;
	}
	*caller = &callers->known[callers->next++ % CALLERS];
	release(*caller);
	**caller = (struct caller){
	    .tid = tid, .status = status, .pidfd = pidfd_has_thread() ? pidfd_of_thread(tid) : -1};
	return 0;
}

/* A number may have become another thread's: what is known of it has ended then. */
int callers_identify(struct callers *callers, pid_t tid, struct target *target,
		     const struct caller **out)
{
	struct caller *caller = find(callers, tid);
	int result = caller ? target_identify_caller(tid, caller->status, target) : -ESRCH;

	if (result == -ESRCH) {
		if (caller)
			release(caller);
		result = meet(callers, tid, &caller);
		if (!result)
			result = target_identify_caller(tid, caller->status, target);
	}
	*out = caller;
	return result;
}

int caller_duplicate(const struct caller *caller, const struct target *target, int fd,
		     bool use_thread)
{
	if (use_thread && caller->pidfd >= 0)
		return pidfd_take(caller->pidfd, fd);
	return pidfd_duplicate(target->tid, target->tgid, fd, use_thread);
}
