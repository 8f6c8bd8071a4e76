/* The life of a proxy. It performs calls on memory that the worker has prepared, and knows neither
 * policy nor layouts. */
#ifndef SUPERVISOR_CONFINE_PROXY_H
#define SUPERVISOR_CONFINE_PROXY_H

#include "supervisor/confine/memory.h"
#include "supervisor/confine/post.h"
#include "supervisor/sandbox.h"

struct proxy_start {
	const struct nursery_request *request;
	const struct sandbox *sandbox; /* or NULL */
	int target;		       /* pidfd */
	int memory;
	int own_end[PROXY_LANES], workers_end[PROXY_LANES];
	bool privileged;   /* workers may take descriptors of any process */
	char *title;	   /* where /proc/self/cmdline begins, */
	size_t title_size; /* and its size */
};

/* In a process of its own, of one thread: becomes the target and works for it until it ends. */
_Noreturn void proxy_run(const struct proxy_start *start);

#endif
