#include "nvabi/load-policy.h"

#include "base/cleanup.h"

#include <errno.h>

int load_policy(const char *data, const struct nvabi_abi_tables *abi, struct loaded_policy *policy,
		struct nvabi_policy_tables *tables, struct mpu_error *error)
{
	static const struct nvabi_policy_tables none = {0};
	cleanup_free char *rows = NULL;
	cleanup_free char *params = NULL;
	cleanup_free char *unknown = NULL;
	int rc;

	if (asprintf(&rows, "%s/policy", data) < 0 ||
	    asprintf(&params, "%s/policy-params", data) < 0 ||
	    asprintf(&unknown, "%s/unknown-calls", data) < 0)
		return mpu_fail(error, ENOMEM, "no memory");
	rc = load_policy_rows(policy, rows, error);
	if (!rc)
		rc = load_policy_params(policy, params, error);
	if (!rc)
		rc = load_unknown_calls(policy, abi, unknown, error);
	if (!rc)
		rc = check_policy(policy, &none, abi, NULL, rows, params, error);
	return rc ? rc : load_policy_finish(policy, &none, tables, error);
}
