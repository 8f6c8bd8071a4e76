/* The driver calls that traces and logs tell of. */
#ifndef NVABI_TOOLS_CALLS_H
#define NVABI_TOOLS_CALLS_H

#include "base/error.h"
#include "nvabi/policy.h"

#include <stdio.h>

struct seen_call {
	uint32_t kind, number; /* as nvabi_policy_find() takes them */
	uint32_t times; /* in traces; a log says each call once */
	uint32_t size; /* of the parameters, where it was seen, else 0 */
};

/* In the order of the first time. */
struct seen_calls {
	struct seen_call *call;
	uint32_t count;
	uint32_t modeset;		  /* calls of nvidia-modeset */
	char release[NVABI_VERSION_TEXT]; /* that the trace says; "" where none does */
};

/* Reads FILE, which PATH names in errors: lines of `mpu-run --trace-format=json`, or of a log with
 * refused calls, of these only those of CONTAINER (or NULL). Returns 0 or -errno with ERROR filled.
 */
int seen_calls_read(struct seen_calls *calls, FILE *file, const char *path, const char *container,
		    struct mpu_error *error);
void seen_calls_free(struct seen_calls *calls);

#endif
