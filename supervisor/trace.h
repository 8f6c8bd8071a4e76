/* What the engine tells whoever watches its calls; supervisor/trace/ prints them. */
#ifndef SUPERVISOR_TRACE_H
#define SUPERVISOR_TRACE_H

#include "nvabi/rm.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/* All are called on the thread that has the call, the target standing still: first received(), and
 * executes() for a control that would be passed on; executed() for each call to the driver in its
 * place; answered() before the answer is given. A call whose target went away has no answer. */
struct trace_hooks {
	void (*received)(void *context, int listener, const struct seccomp_notif *notification);
	/* Whether CONTROL, which is nothing to the engine, is to be executed in the caller's place
	 * all the same, so that its end is seen. */
	bool (*executes)(void *context, const struct nvos54_parameters *control);
	void (*executed)(void *context, uint64_t nanoseconds);
	void (*answered)(void *context, uint64_t id, const struct seccomp_notif_resp *response);
	void *context;
};

#endif
