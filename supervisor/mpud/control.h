/* What mpuctl asks of a worker, over a connection for each question: a JSON object, as {"request":
 * "status"}, and then its end or a newline; a JSON object comes back, {"error": TEXT} where it is
 * no question.
 *
 * {"request": "trace", "container": WORD, "lines": true, "summary": false, "json": false, "colour":
 * false, "only": [EXPRESSION]} is answered by lines for as long as mpuctl leaves its half of the
 * connection open: those that begin with '=' are the trace, behind '!' stand JSON objects about it,
 * first {"trace": ..}, last {"end": "asked"} or {"end": "container"}, {"dropped": N} between. */
#ifndef SUPERVISOR_MPUD_CONTROL_H
#define SUPERVISOR_MPUD_CONTROL_H

#include "supervisor/engine.h"
#include "supervisor/mpud/mpud.h"

#include <json-c/json.h>

/* What is there to tell of; all borrowed. */
struct control {
	const struct worker_start *start;
	struct engine *engine;
	const struct engine_options *options;
};

/* Answers at START's socket on a thread of its own, for as long as this process lives; so do the
 * arguments. Where that cannot be, it is logged. */
void control_start(const struct worker_start *start, struct engine *engine,
		   const struct engine_options *options);

/* status.c: the answers, each a reference that is the caller's. */
struct json_object *control_status(const struct control *control);
struct json_object *control_stats(const struct control *control);

/* Lines of "name=value", as describe() of container.c has written them, as members of OBJECT. */
void control_add_about(struct json_object *object, const char *about);

/* tracing.c: answers REQUEST on a thread of its own, which owns *CONNECTION then; that becomes -1.
 * Returns 0, or -errno with ERROR filled. */
int control_trace(const struct control *control, struct json_object *request, int *connection,
		  struct mpu_error *error);

/* process.c: what process PID holds; LISTENERS of them among the rest. The caller's reference. */
struct json_object *control_process(const char *role, pid_t pid, uint32_t listeners);

#endif
