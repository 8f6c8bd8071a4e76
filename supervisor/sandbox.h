/* What mpu's own threads may ask of the kernel: a seccomp filter for each kind of process and
 * thread. What is refused fails with ENOSYS, as on a kernel that has not got it, so that a C
 * library does without; what only an intruder would call kills the process. */
#ifndef SUPERVISOR_SANDBOX_H
#define SUPERVISOR_SANDBOX_H

#include "base/error.h"
#include "filter/filter.h"

#include <stdbool.h>

/* A process or thread is under the filters of all that made it. So a role that makes another one is
 * allowed what that one is: KEEPER > WORKER > CONTROL, METRICS, ENGINE > EXECUTOR; NURSERY > PROXY. */
enum sandbox_role {
	SANDBOX_KEEPER,
	SANDBOX_WORKER,	  /* its main thread, and those that have no role of their own */
	SANDBOX_CONTROL,  /* the threads that answer mpuctl */
	SANDBOX_ENGINE,	  /* a thread that waits for calls, and makes executors */
	SANDBOX_EXECUTOR, /* a thread that calls the driver for a target */
	SANDBOX_METRICS,  /* the threads that answer scrapes, and ask the driver for them */
	SANDBOX_NURSERY, /* starts proxies */
	SANDBOX_PROXY,	 /* stands for a target at the driver */
	SANDBOX_ROLES
};

/* Sets of roles, for sandbox_build(). */
enum {
	SANDBOX_OF_MPUD = (1 << SANDBOX_NURSERY) - 1,
	SANDBOX_OF_NURSERY = 1 << SANDBOX_NURSERY | 1 << SANDBOX_PROXY,
};

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_LOG, /* the kernel logs what is refused, too (audit, type=1326) */
	SANDBOX_OFF,
};

/* The filters, built and not yet in force. */
struct sandbox {
	struct filter_program program[SANDBOX_ROLES];
	unsigned int flags; /* of seccomp(2) */
};

/* "on", "log" or "off". Returns false for anything else. */
bool sandbox_mode_parse(const char *word, enum sandbox_mode *mode);

/* Why this build has none in force, or NULL: AddressSanitizer traces its own process at its end. */
const char *sandbox_excuse(void);

/* Builds the filters of ROLES, a bit for each. LOGS: as SANDBOX_LOG. METRICS: with what only
 * SANDBOX_METRICS needs. Returns 0, or -errno with ERROR filled; SANDBOX is then empty. */
int sandbox_build(struct sandbox *sandbox, unsigned int roles, bool logs, bool metrics,
		  struct mpu_error *error);

void sandbox_free(struct sandbox *sandbox);

/* Puts the calling thread, and what it will make, under the filter of ROLE, for good. It has
 * no_new_privs. Nothing happens where SANDBOX is NULL. Returns 0 or -errno with ERROR filled. */
int sandbox_enter(const struct sandbox *sandbox, enum sandbox_role role, struct mpu_error *error);

/* The same at the start of a thread, which goes on where it fails: what made the thread is under a
 * filter already. It is logged, but for an executor that another one made: it is in the narrowest
 * already, and that takes no other. */
void sandbox_enter_thread(const struct sandbox *sandbox, enum sandbox_role role);

#endif
