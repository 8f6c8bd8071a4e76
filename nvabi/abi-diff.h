/* How two releases' ABIs differ: calls, structures, fields, and what PIDs mean. */
#ifndef NVABI_ABI_DIFF_H
#define NVABI_ABI_DIFF_H

#include "nvabi/abi.h"
#include "nvabi/pids.h"

#include <stdbool.h>
#include <stdint.h>

enum nvabi_change { NVABI_ADDED, NVABI_REMOVED, NVABI_CHANGED };

/* "added", "removed", "changed". */
const char *nvabi_change_name(enum nvabi_change change);

/* One difference. Strings are valid during the call that gets it. */
struct nvabi_difference {
	enum nvabi_change change;
	const char *kind;	    /* a call's kind, "struct", "field" or "pids" */
	const char *name;	    /* "STRUCTURE.FIELD" for fields */
	const char *before, *after; /* in words; NULL where there is none */
	bool touches[NVABI_ROLES];  /* roles of the fields it has to do with */
};

/* Called for each difference; a value other than 0 ends the comparison and is returned. */
typedef int nvabi_difference_fn(const struct nvabi_difference *difference, void *context);

/* Compares the calls, then the structures field by field, in the order of their names. Returns 0,
 * what FN returned, or -ENOMEM. */
int nvabi_abi_diff(struct nvabi_abi *base, struct nvabi_abi *next, nvabi_difference_fn *fn,
		   void *context);

/* Compares what PIDs mean in two releases (kind "pids"). */
int nvabi_semantics_diff(const struct nvabi_version *base, const struct nvabi_version *next,
			 nvabi_difference_fn *fn, void *context);

#endif
