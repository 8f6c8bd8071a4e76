/* The names of NV_STATUS codes as the programs carry them. Private to nvabi. */
#ifndef NVABI_STATUS_TABLES_H
#define NVABI_STATUS_TABLES_H

#include <stdint.h>

/* At RELEASE, an index of the tree, the status gets this name, or goes (an empty one). Sorted by
 * status. */
struct nvabi_status_change {
	uint32_t status;
	uint32_t release;
	const char *name;
};

/* Compiled from data/. */
extern const struct nvabi_status_change nvabi_status_changes[];
extern const uint32_t nvabi_status_change_count;

#endif
