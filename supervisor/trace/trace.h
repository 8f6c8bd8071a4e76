/* A trace of NVIDIA calls: one line a call, a table at the end, or both. */
#ifndef SUPERVISOR_TRACE_TRACE_H
#define SUPERVISOR_TRACE_TRACE_H

#include "base/error.h"
#include "supervisor/driver.h"
#include "supervisor/pidmap.h"
#include "supervisor/trace.h"
#include "supervisor/trace/select.h"

#include <stdbool.h>

struct trace;

/* Who takes the lines, where they go into no file. All but the last are called with a lock held, or
 * on the way of a call: they do not wait for anything. */
struct trace_sink {
	bool colour;
	/* Whether a line would be taken. Where not, a call is not even put into words. */
	bool (*has_room)(void *context);
	/* Whole lines. KEEPS: the table, which comes once and at the end. */
	void (*write)(void *context, const char *bytes, size_t length, bool keeps);
	void (*drop)(void *context);		    /* a line that there was no room for */
	void (*released)(void *context);	    /* as of struct trace_hooks */
	void *context;
};

struct trace_options {
	bool lines;   /* one a call */
	bool summary; /* a table at the end */
	bool json;
	bool execute; /* controls whose parameters are plain data are run in the caller's place */
	const char *path;		   /* NULL: standard error */
	const struct trace_sink *sink;	   /* borrowed, in place of the path; or NULL */
	const struct selection *selection; /* borrowed; NULL: everything */
	struct driver driver;
	const char *dev_root; /* or NULL */
	enum pidmap_method pid_lookup;
};

/* Returns the trace, owned by the caller, or NULL with ERROR filled. A driver of which nvabi knows
 * nothing is traced by numbers, and the log says so. */
struct trace *trace_open(const struct trace_options *options, struct mpu_error *error);
void trace_close(struct trace *trace);

/* For the engine; as long as the trace is open. */
const struct trace_hooks *trace_hooks(struct trace *trace);

/* Prints what is still held back, and the table. No thread of the trace runs after that, so that
 * the process may fork; it may go on. */
void trace_finish(struct trace *trace);

#endif
