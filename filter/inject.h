/* The filter put into another process, for hooks that run while a container's init waits. */
#ifndef FILTER_INJECT_H
#define FILTER_INJECT_H

#include "base/error.h"
#include "filter/filter.h"

#include <sys/types.h>

/* Installs PROGRAM with FLAGS (filter_probe_flags()) in all threads of the process PID, by making
 * its first thread call seccomp(2). The thread is held at the entry of whatever system call it
 * makes or waits in, which it then makes as if nothing had happened: signals are delivered as they
 * come, a wait that the hold interrupts is taken up by the kernel's own restart.
 *
 * Needs the right to trace PID, and CAP_SYS_ADMIN in PID's user namespace or no_new_privs for PID;
 * x86_64 or aarch64, PID being of the same architecture.
 *
 * Stores the listener, which the caller owns (close-on-exec). Returns 0, or -errno with ERROR
 * filled: the process is then as it was, or killed where a filter without listener would be left in
 * it. -EBUSY when a filter of PID already has a listener. */
int filter_inject(pid_t pid, const struct filter_program *program, unsigned int flags,
		  int *listener, struct mpu_error *error);

#endif
