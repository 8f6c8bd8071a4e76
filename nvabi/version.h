/* Driver versions as NVIDIA writes them: 535.98, 535.104.05, 550.100. */
#ifndef NVABI_VERSION_H
#define NVABI_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A driver version. parts says how many numbers were written (1 for a closed major such as 470,
 * 2 or 3 for a release); those not written are 0. */
struct nvabi_version {
	uint16_t major, minor, patch;
	uint8_t parts;
};

enum { NVABI_VERSION_TEXT = 24 }; /* room for any formatted version and its NUL */

/* Parses the whole of TEXT ("535.104.05"). Returns 0, or -EINVAL when TEXT is anything else than
 * one to three decimal numbers with dots between (no blanks, no sign, each at most 65535). */
int nvabi_version_parse(const char *text, struct nvabi_version *version);

/* Finds the driver's version in TEXT, the content of /proc/driver/nvidia/version (LENGTH bytes,
 * need not end in NUL): the first dotted number of two or three parts on the line that begins with
 * "NVRM version:". Knows the proprietary and the open module's wording. Returns 0 or -EINVAL. */
int nvabi_version_find(const char *text, size_t length, struct nvabi_version *version);

/* Writes VERSION as NVIDIA does (all parts but the first have at least two digits). Returns OUT. */
const char *nvabi_version_format(const struct nvabi_version *version, char out[NVABI_VERSION_TEXT]);

/* Orders by number. Returns below 0, 0 or above 0. */
int nvabi_version_compare(const struct nvabi_version *a, const struct nvabi_version *b);

#endif
