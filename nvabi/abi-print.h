/* Calls and differences in text and JSON, as `mpuctl abi` and nvabi-diff print them. */
#ifndef NVABI_ABI_PRINT_H
#define NVABI_ABI_PRINT_H

#include "nvabi/abi-diff.h"

#include <stdio.h>

/* One call: in text with one line a field, in JSON one object on one line. */
void nvabi_print_call(struct nvabi_abi *abi, const struct nvabi_call *call, bool json, FILE *out);

/* One difference, one line: `+`, `-` or `~` in text, an object in JSON. */
void nvabi_print_difference(const struct nvabi_difference *difference, bool json, FILE *out);

#endif
