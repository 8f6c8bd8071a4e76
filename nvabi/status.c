#include "nvabi/abi-tables.h"
#include "nvabi/status-tables.h"

/* Where the changes of STATUS begin. */
static uint32_t find_first(uint32_t status)
{
	uint32_t low = 0, high = nvabi_status_change_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (nvabi_status_changes[middle].status < status)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const char *nvabi_abi_status(const struct nvabi_abi *abi, uint32_t status)
{
	const uint32_t first = find_first(status);

	for (int at = abi->release; at >= 0; at = abi->tables->release[at].parent)
		for (uint32_t i = first;
		     i < nvabi_status_change_count && nvabi_status_changes[i].status == status; i++)
			if (nvabi_status_changes[i].release == (uint32_t)at)
				return *nvabi_status_changes[i].name ? nvabi_status_changes[i].name
								     : NULL;
	return NULL;
}
