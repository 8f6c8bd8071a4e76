/* -e: which calls are shown. */
#ifndef SUPERVISOR_TRACE_SELECT_H
#define SUPERVISOR_TRACE_SELECT_H

#include "base/error.h"
#include "nvabi/abi.h"

/* What may be asked for, beside the kinds of calls. */
enum select_key {
	SELECT_ESCAPE = NVABI_ESCAPE,
	SELECT_UVM = NVABI_UVM,
	SELECT_CONTROL = NVABI_CONTROL,
	SELECT_CLASS = NVABI_CLASS,
	SELECT_STATUS,
	SELECT_KEYS,
};

struct selection;

/* Adds KEY=[!]PATTERN[,PATTERN]... to *SELECTION, which is NULL at first. Returns 0, or -errno with
 * ERROR filled. */
int selection_add(struct selection **selection, const char *expression, struct mpu_error *error);
void selection_free(struct selection *selection);

/* A name by which a call is known, NULL for none, and its number. */
struct select_name {
	enum select_key key;
	const char *name;
	uint32_t number;
};

/* Whether the call with these NAMES is shown, whatever its status will be. */
bool selection_has_call(const struct selection *selection, const struct select_name *names,
			unsigned int count);

/* Whether a call that ended so is shown. STATUS is NULL where it was not seen. */
bool selection_has_status(const struct selection *selection, const struct select_name *status);

#endif
