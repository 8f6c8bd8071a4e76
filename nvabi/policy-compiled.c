/* The calls that work on the tables in this program. */
#include "nvabi/policy-tables.h"

int nvabi_policy_open(const struct nvabi_version *running, struct nvabi_policy **policy)
{
	return nvabi_policy_open_from(&nvabi_policy_tables, &nvabi_abi_tables, running, policy);
}

bool nvabi_policy_knows_branch(const struct nvabi_version *running)
{
	for (uint32_t i = 0; i < nvabi_abi_tables.release_count; i++) {
		const struct nvabi_version *listed = &nvabi_abi_tables.release[i].version;

		if (listed->parts > 1 && listed->major == running->major)
			return true;
	}
	return false;
}
