/* Holds the policy's rows against the ABI of all releases. */
#include "nvabi/tools/load-policy.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

struct check {
	const struct loaded_policy *policy;
	const char *rows, *params;
	bool *row_found, *param_found, *count_found;
	struct mpu_error *error;
	/* The call whose fields are walked: */
	struct nvabi_abi *abi;
	const struct loaded_row *row;
	const struct nvabi_call *call;
};

static int refuse(const struct check *check, const char *file, unsigned int line, const char *what,
		  const char *name)
{
	char release[NVABI_VERSION_TEXT];

	if (check->abi)
		return mpu_fail(check->error, EINVAL, "%s:%u: in %s, %s %s", file, line,
				nvabi_version_format(nvabi_abi_release(check->abi, NULL), release),
				name, what);
	return mpu_fail(check->error, EINVAL, "%s:%u: %s %s", file, line, name, what);
}

static bool asks_for_rule(const struct nvabi_field *field)
{
	return field->role == NVABI_ROLE_POINTER || field->role == NVABI_ROLE_FD ||
	       !strcmp(field->type, "pointer") || !strcmp(field->type, "address");
}

/* A field of the parameters: marks the params that speak of it. One element only: a pointer in an
 * array would have to be listed by each element, which no params can say. */
static int check_field(const struct nvabi_field *field, void *context)
{
	struct check *check = context;
	const struct loaded_policy *policy = check->policy;
	bool listed = false;

	for (uint32_t i = 0; i < policy->param_count; i++) {
		const struct nvabi_policy_param *param = &policy->param[i].param;

		if (strcmp(param->structure, check->call->structure))
			continue;
		if (param->count && !strcmp(param->count, field->name))
			check->count_found[i] = true;
		if (strcmp(param->field, field->name))
			continue;
		check->param_found[i] = listed = true;
		if ((field->count != 1 || strchr(field->name, '[')) && param->use != POLICY_VALUE)
			return refuse(check, check->params, policy->param[i].line,
				      "is one of several", field->name);
		if (param->use == POLICY_MEMORY && field->size != 8)
			return refuse(check, check->params, policy->param[i].line, "is no pointer",
				      field->name);
		if (param->use == POLICY_DESCRIPTOR && field->size != 4 && field->size != 8)
			return refuse(check, check->params, policy->param[i].line,
				      "is no descriptor", field->name);
	}
	if (!listed && asks_for_rule(field))
		return refuse(check, check->rows, check->row->line,
			      "has a pointer or descriptor that policy-params does not know",
			      field->name);
	return 0;
}

/* Whether the row allows the call: by its name, its number, or a pattern. */
static bool allows(const struct nvabi_policy_row *row, const struct nvabi_call *call)
{
	if (nvabi_policy_asked_kind(row) != call->kind || row->kind == NVABI_HEAP_FUNCTION)
		return false;
	if (row->flags & POLICY_PATTERN)
		return (call->number & row->mask) == row->number;
	return row->flags & POLICY_NUMBERED ? call->number == row->number
					    : !strcmp(row->name, call->name);
}

static int check_call(struct check *check, uint32_t at, const struct nvabi_call *call)
{
	const struct nvabi_policy_row *row = &check->policy->row[at].row;
	bool numbered = (row->flags & (POLICY_NUMBERED | POLICY_PATTERN)) == POLICY_NUMBERED;

	check->row = &check->policy->row[at];
	check->call = call;
	check->row_found[at] = true;
	if (numbered && row->size && row->size != call->size)
		return refuse(check, check->rows, check->row->line,
			      "has parameters of another size", call->name);
	if (!call->structure || row->way == NVABI_WAY_CONTINUE || row->kind == NVABI_MEMORY_CLASS)
		return 0;
	return nvabi_abi_fields(check->abi, call->structure, true, check_field, check);
}

static int check_release(struct check *check, const struct nvabi_abi_tables *abi,
			 const struct nvabi_version *version)
{
	struct nvabi_call call;
	uint32_t cursor = 0;
	int rc = 0;

	if (nvabi_abi_open_from(abi, version, &check->abi))
		return 0; /* closed majors have none */
	while (!rc && nvabi_abi_next(check->abi, &cursor, &call)) {
		for (uint32_t i = 0; !rc && i < check->policy->row_count; i++)
			if (allows(&check->policy->row[i].row, &call))
				rc = check_call(check, i, &call);
	}
	nvabi_abi_close(check->abi);
	check->abi = NULL;
	return rc > 0 || rc == -ENOENT ? 0 : rc;
}

static int check_all_found(const struct check *check)
{
	const struct loaded_policy *policy = check->policy;

	for (uint32_t i = 0; i < policy->row_count; i++)
		if (!check->row_found[i] && !(policy->row[i].row.flags & POLICY_NUMBERED))
			return refuse(check, check->rows, policy->row[i].line,
				      "is a call of no release", policy->row[i].row.name);
	for (uint32_t i = 0; i < policy->param_count; i++) {
		const struct nvabi_policy_param *param = &policy->param[i].param;

		if (!check->param_found[i])
			return refuse(check, check->params, policy->param[i].line,
				      "is in the parameters of no rule", param->field);
		if (param->count && !check->count_found[i])
			return refuse(check, check->params, policy->param[i].line,
				      "is a field of no release", param->count);
	}
	return 0;
}

static int check_releases(const struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
			  const struct nvabi_version *only, const char *rows, const char *params,
			  struct mpu_error *error)
{
	const uint32_t count = policy->row_count + policy->param_count + 1;
	cleanup_free bool *row_found = calloc(count, sizeof(bool));
	cleanup_free bool *param_found = calloc(count, sizeof(bool));
	cleanup_free bool *count_found = calloc(count, sizeof(bool));
	struct check check = {.policy = policy,
			      .rows = rows,
			      .params = params,
			      .row_found = row_found,
			      .param_found = param_found,
			      .count_found = count_found,
			      .error = error};
	int rc = 0;

	if (!row_found || !param_found || !count_found)
		return mpu_fail(error, ENOMEM, "no memory");
	if (only)
		return check_release(&check, abi, only);
	for (uint32_t i = 0; !rc && i < abi->release_count; i++)
		rc = check_release(&check, abi, &abi->release[i].version);
	return rc ? rc : check_all_found(&check);
}

int check_policy(const struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
		 const char *rows, const char *params, struct mpu_error *error)
{
	return check_releases(policy, abi, NULL, rows, params, error);
}

int check_policy_at(const struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
		    const struct nvabi_version *version, struct mpu_error *error)
{
	return check_releases(policy, abi, version, "policy", "policy-params", error);
}
