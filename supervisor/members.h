/* The processes that a view shows. To look through all of /proc takes milliseconds, so what was found
 * is remembered for a moment, and only process ids that the kernel has given out since are looked at.
 * All functions may be called from any thread. */
#ifndef SUPERVISOR_MEMBERS_H
#define SUPERVISOR_MEMBERS_H

#include "supervisor/pidmap.h"

/* Calls VISIT for each process of the initial namespace that VIEW shows, and for some that have ended
 * since, with the number that each had there. Who goes by it asks pidmap_to_view() whether it holds. */
void members_each(const struct pid_view *view,
		  void (*visit)(void *context, pid_t host, pid_t number), void *context);

/* The same for those that are remembered, of however long ago: some may have come since. */
void members_each_remembered(const struct pid_view *view,
			     void (*visit)(void *context, pid_t host, pid_t number), void *context);

#endif
