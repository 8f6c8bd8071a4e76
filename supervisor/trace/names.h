/* The calls of a release by their numbers. */
#ifndef SUPERVISOR_TRACE_NAMES_H
#define SUPERVISOR_TRACE_NAMES_H

#include "nvabi/abi.h"

struct names;

/* Returns them, owned by the caller, or NULL without memory. ABI is not needed any longer. */
struct names *names_new(struct nvabi_abi *abi);
void names_free(struct names *names);

/* The call of KIND with NUMBER; of several the first whose parameters are known. Returns NULL where
 * the release has none, and where NAMES is NULL. */
const struct nvabi_call *names_find(const struct names *names, enum nvabi_kind kind,
				    uint32_t number);

/* Whether STRUCTURE, all of it, is plain data: numbers, texts and handles, which mean the same
 * whoever gives them to the driver. No pointers, descriptors, PIDs or kernel addresses. */
bool names_is_plain(struct nvabi_abi *abi, const char *structure);

#endif
