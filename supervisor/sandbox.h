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

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_LOG, /* the kernel logs what is refused, too (audit, type=1326) */
	SANDBOX_OFF,
};

/* The filters of all roles, made when mpu was built: [1] with what only SANDBOX_METRICS needs. */
extern const struct filter_program sandbox_programs[2][SANDBOX_ROLES];

/* Those to be put in force. */
struct sandbox {
	const struct filter_program *program; /* by role */
	unsigned int flags; /* of seccomp(2) */
};

/* "on", "log" or "off". Returns false for anything else. */
bool sandbox_mode_parse(const char *word, enum sandbox_mode *mode);

/* Why this build has none in force, or NULL: AddressSanitizer traces its own process at its end. */
const char *sandbox_excuse(void);

/* LOGS: as SANDBOX_LOG. METRICS: with what only SANDBOX_METRICS needs. */
void sandbox_prepare(struct sandbox *sandbox, bool logs, bool metrics);

/* Puts the calling thread, and what it will make, under the filter of ROLE, for good. It has
 * no_new_privs. Nothing happens where SANDBOX is NULL. Returns 0 or -errno with ERROR filled. */
int sandbox_enter(const struct sandbox *sandbox, enum sandbox_role role, struct mpu_error *error);

/* The same at the start of a thread, which goes on where it fails: what made the thread is under a
 * filter already. It is logged, but for an executor that another one made: it is in the narrowest
 * already, and that takes no other. */
void sandbox_enter_thread(const struct sandbox *sandbox, enum sandbox_role role);

#endif
