/* The call that works on the tables in this program. */
#include "nvabi/policy-tables.h"

int nvabi_policy_open(const struct nvabi_version *running, struct nvabi_policy **policy)
{
	return nvabi_policy_open_from(&nvabi_policy_tables, &nvabi_abi_tables, running, policy);
}
