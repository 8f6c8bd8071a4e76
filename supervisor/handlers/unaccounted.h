/* Processes for which a driver that records thread ids shows only threads that have ended, before
 * anybody remembered whose they were. */
#ifndef SUPERVISOR_HANDLERS_UNACCOUNTED_H
#define SUPERVISOR_HANDLERS_UNACCOUNTED_H

#include "supervisor/handlers/fold.h"

/* Adds to FOUND, by their numbers in the call's view, the processes that the STALE numbers (COUNT of
 * them, from the driver's list) can only stand for. Where that cannot be told for sure, and processes
 * of other containers might be meant, nothing is added and the log says so. */
void unaccounted_add(const struct call *call, const pid_t *stale, size_t count,
		     struct pid_set *found);

#endif
