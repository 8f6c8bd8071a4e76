/* The calls that work on the tables in this program. */
#include "nvabi/abi-tables.h"

#include <string.h>

int nvabi_abi_open(const struct nvabi_version *running, struct nvabi_abi **abi)
{
	return nvabi_abi_open_from(&nvabi_abi_tables, running, abi);
}

const struct nvabi_version *nvabi_partial_release(uint32_t index)
{
	for (uint32_t i = 0; i < nvabi_abi_tables.release_count; i++)
		if (nvabi_abi_tables.release[i].partial && !index--)
			return &nvabi_abi_tables.release[i].version;
	return NULL;
}

const struct nvabi_installer *nvabi_installer_find(const char *sha256)
{
	for (uint32_t i = 0; i < nvabi_abi_tables.installer_count; i++)
		if (!strcmp(nvabi_abi_tables.installer[i].sha256, sha256))
			return &nvabi_abi_tables.installer[i];
	return NULL;
}

bool nvabi_release_qualified(const struct nvabi_version *version)
{
	for (uint32_t i = 0; i < nvabi_abi_tables.installer_count; i++)
		if (!nvabi_version_compare(&nvabi_abi_tables.installer[i].version, version))
			return true;
	return false;
}
