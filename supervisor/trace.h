/* One line for each RM control: time, thread, command, decision, answer. */
#ifndef SUPERVISOR_TRACE_H
#define SUPERVISOR_TRACE_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct trace;

/* Opens PATH for writing, or takes standard error when PATH is NULL. Returns the trace, owned by the
 * caller, or NULL with ERROR filled. */
struct trace *trace_open(const char *path, struct mpu_error *error);
void trace_close(struct trace *trace);

/* Writes one line at once. DECISION says what was done ("pass", "handle", ...); NAME may be NULL.
 * STATUS and ERRNUM are the answer of a handled call; NANOSECONDS its duration, 0 if unknown. May be
 * called from any thread. */
void trace_control(struct trace *trace, pid_t tid, uint32_t cmd, const char *name,
		   const char *decision, uint32_t status, int errnum, uint64_t nanoseconds);

#endif
