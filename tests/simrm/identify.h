/* Which open file of simrm stands behind a number in a caller's table of files? Only an ioctl on a
 * copy of it tells. A process of its own makes that call: a thread of simrm that waits for simrm
 * could never be ended. */
#ifndef SIMRM_IDENTIFY_H
#define SIMRM_IDENTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* The escape by which the helper asks. */
enum { SIMRM_ESC_IDENTIFY = 241 };

struct identifier {
	pthread_mutex_t lock; /* one question at a time */
	pid_t helper;
	int socket;
	uint64_t cookie;    /* of the question that is asked */
	const void *answer; /* set by identifier_answer() */
};

/* Forks the helper: before any thread, and before /dev/fuse is open. */
int identifier_start(struct identifier *identifier, struct mpu_error *error);
void identifier_stop(struct identifier *identifier);

/* Asks for FD of thread TID of process TGID. Returns what identifier_answer() was given, or NULL.
 * Waits at most until *STOPPING is set or a second has passed. */
const void *identifier_ask(struct identifier *identifier, pid_t tid, pid_t tgid, int fd,
			   const bool *stopping);

/* The helper's ioctl has arrived on FILE with COOKIE. Returns whether it is the question. */
bool identifier_answer(struct identifier *identifier, pid_t tid, uint64_t cookie, const void *file);

#endif
