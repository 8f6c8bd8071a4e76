/* Counts and times of the calls that were traced. */
#ifndef SUPERVISOR_TRACE_SUMMARY_H
#define SUPERVISOR_TRACE_SUMMARY_H

#include "supervisor/trace/call.h"

struct summary_row {
	struct text name;
	bool unknown, legacy;
	uint64_t calls, failed, unseen, executed, nanoseconds;
};

struct summary {
	struct summary_row *row;
	uint32_t count, room;
};

void summary_add(struct summary *summary, const struct trace_call *call);
/* Most calls first; what nvabi does not know again at the end. RELEASE: whose names they are. */
void summary_print(struct summary *summary, const char *release, bool json, struct text *out);
void summary_free(struct summary *summary);

#endif
