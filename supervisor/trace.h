/* What the engine tells whoever watches its calls; supervisor/trace/ prints them. */
#ifndef SUPERVISOR_TRACE_H
#define SUPERVISOR_TRACE_H

#include "nvabi/rm.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/* All are called on the thread that has the call, the target standing still. received() comes first
 * and returns what the others get as CALL, or NULL where no more need be told of it; then executes()
 * for a control that would be passed on; executed() for each call to the driver in its place;
 * answered() before the answer is given, or vanished() where there is none as the target went away. */
struct trace_hooks {
	void *(*received)(void *context, int listener, const struct seccomp_notif *notification);
	/* Whether CONTROL, which is nothing to the engine, is to be executed in the caller's place
	 * all the same, so that its end is seen. */
	bool (*executes)(void *context, void *call, const struct nvos54_parameters *control);
	void (*executed)(void *context, void *call, uint64_t nanoseconds);
	void (*answered)(void *context, void *call, const struct seccomp_notif_resp *response);
	void (*vanished)(void *context, void *call);
	/* After engine_untrace(), when no thread is in any of these any more; from any thread. NULL:
	 * nobody asks. */
	void (*released)(void *context);
	void *context;
};

#endif
