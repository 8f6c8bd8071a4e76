/* Holds the policy's rows against the ABI of all releases. */
#include "nvabi/load-policy.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

/* Where a field that is a pointer, a descriptor or a length lies. */
struct place {
	uint32_t begin, end;
	bool is_length;
};

struct check {
	const struct loaded_policy *policy;
	const struct nvabi_policy_tables *base;
	policy_translates *translates;
	const char *rows, *params;
	bool *row_found, *param_found, *count_found;
	struct mpu_error *error;
	/* The call whose fields are walked: */
	struct nvabi_abi *abi;
	const struct loaded_row *row;
	const struct nvabi_call *call;
	struct place place[NVABI_POINTERS * 2 + NVABI_DESCRIPTORS];
	uint32_t pointers, descriptors, returned, places;
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

static int refuse_row(const struct check *check, const char *what, const char *name)
{
	return refuse(check, check->rows, check->row->line, what, name);
}

static bool asks_for_rule(const struct nvabi_field *field)
{
	return field->role == NVABI_ROLE_POINTER || field->role == NVABI_ROLE_FD ||
	       !strcmp(field->type, "pointer") || !strcmp(field->type, "address");
}

static bool is_one_number(const struct nvabi_field *field)
{
	return field->count == 1 && !strchr(field->name, '[') && field->size <= 8 &&
	       !(field->size & (field->size - 1));
}

/* A field that is two things could be read as the one after it was written as the other. */
static int claim(struct check *check, const struct nvabi_field *field, bool is_length,
		 unsigned int line)
{
	const struct place place = {field->offset, field->offset + field->size, is_length};

	for (uint32_t i = 0; i < check->places; i++) {
		const struct place *other = &check->place[i];

		if (place.begin < other->end && other->begin < place.end &&
		    !(place.is_length && other->is_length))
			return refuse(check, check->params, line,
				      "lies where another field is that is followed", field->name);
	}
	if (check->pointers > NVABI_POINTERS || check->descriptors > NVABI_DESCRIPTORS ||
	    check->returned > 1)
		return refuse(check, check->params, line,
			      "is one more than a call can have (12 pointers, 6 descriptors, 1 "
			      "that is returned)",
			      field->name);
	if (check->places < sizeof(check->place) / sizeof(check->place[0]))
		check->place[check->places++] = place;
	return 0;
}

/* FIELD is what PARAM speaks of. One element only: a pointer in an array would have to be listed by
 * each element, which no params can say. */
static int check_param(struct check *check, const struct nvabi_field *field,
		       const struct nvabi_policy_param *param, unsigned int line)
{
	if (param->use == POLICY_VALUE || param->use == POLICY_NESTED)
		return 0;
	if (check->row->row.flags & POLICY_NUMBERED && !(check->row->row.flags & POLICY_PATTERN))
		return refuse_row(check,
				  "is a pointer or descriptor, which no row with a number can "
				  "follow: write the call's name",
				  field->name);
	if (field->count != 1 || strchr(field->name, '['))
		return refuse(check, check->params, line, "is one of several", field->name);
	if (param->use == POLICY_MEMORY && field->size != 8)
		return refuse(check, check->params, line, "is no pointer", field->name);
	if (param->use == POLICY_DESCRIPTOR && field->size != 4 && field->size != 8)
		return refuse(check, check->params, line, "is no descriptor", field->name);
	check->pointers += param->use == POLICY_MEMORY;
	check->descriptors += param->use == POLICY_DESCRIPTOR;
	check->returned += param->use == POLICY_DESCRIPTOR && param->directions & NVABI_OUT;
	return claim(check, field, false, line);
}

static int check_count(struct check *check, const struct nvabi_field *field, unsigned int line)
{
	if (!is_one_number(field))
		return refuse(check, check->params, line, "is no number to count by", field->name);
	return claim(check, field, true, line);
}

/* What is not compiled speaks of FIELD. LISTED: whether it says what the field is. */
static int check_own_params(struct check *check, const struct nvabi_field *field, bool *listed)
{
	const struct loaded_policy *policy = check->policy;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < policy->param_count; i++) {
		const struct nvabi_policy_param *param = &policy->param[i].param;

		if (strcmp(param->structure, check->call->structure))
			continue;
		if (param->count && !strcmp(param->count, field->name)) {
			check->count_found[i] = true;
			rc = check_count(check, field, policy->param[i].line);
		}
		if (rc || strcmp(param->field, field->name))
			continue;
		check->param_found[i] = *listed = true;
		rc = check_param(check, field, param, policy->param[i].line);
	}
	return rc;
}

static int check_base_params(struct check *check, const struct nvabi_field *field, bool *listed)
{
	const struct nvabi_policy_tables *base = check->base;
	const char *structure = check->call->structure;

	for (uint32_t i = nvabi_policy_first_param(base, structure);
	     i < base->param_count && !strcmp(base->param[i].structure, structure); i++) {
		if (strcmp(base->param[i].field, field->name))
			continue;
		*listed = true;
		return check_param(check, field, &base->param[i], check->row->line);
	}
	return 0;
}

/* What a row of a file cannot let through: nobody would translate it, or it is the proxy's. */
static const char *what_holds_it_back(const struct check *check, const struct nvabi_field *field)
{
	if (check->row->row.kind == NVABI_CONTROL && field->role == NVABI_ROLE_PID &&
	    !check->translates(nvabi_abi_release(check->abi, NULL), check->call->number))
		return "is a process id, which mpu would not translate there";
	if (check->row->row.kind == NVABI_UVM &&
	    (field->role == NVABI_ROLE_CLIENT || field->role == NVABI_ROLE_OBJECT))
		return "names an object of RM, and those are the proxy's: it needs code of mpu's";
	return NULL;
}

/* A field of the parameters: marks the params that speak of it. */
static int check_field(const struct nvabi_field *field, void *context)
{
	struct check *check = context;
	const char *held =
	    check->row->row.flags & POLICY_ADDED ? what_holds_it_back(check, field) : NULL;
	bool listed = false;
	int rc;

	if (held)
		return refuse_row(check, held, field->name);
	if (check->row->row.way == NVABI_WAY_CONTINUE)
		return 0;
	rc = check_own_params(check, field, &listed);
	if (!rc && !listed)
		rc = check_base_params(check, field, &listed);
	if (!rc && !listed && asks_for_rule(field))
		rc =
		    refuse_row(check,
			       check->base->row_count
				   ? "is a pointer or descriptor of which nothing is said: give "
				     "a line STRUCTURE FIELD USE LENGTH SOURCE for it"
				   : "has a pointer or descriptor that policy-params does not know",
			       field->name);
	return rc;
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

/* Of parameters of which no release says anything, a line "NAME - value - SOURCE" says that there
 * is nothing to follow in them. */
static bool is_vouched_for(struct check *check)
{
	const struct loaded_policy *policy = check->policy;

	for (uint32_t i = 0; i < policy->param_count; i++) {
		const struct nvabi_policy_param *param = &policy->param[i].param;

		if (strcmp(param->structure, check->row->row.name) || strcmp(param->field, "-") ||
		    param->use != POLICY_VALUE)
			continue;
		check->param_found[i] = true;
		return true;
	}
	return false;
}

/* The build trusts its own rows. A class without parameters gets none. */
static int check_unknown(struct check *check)
{
	const struct nvabi_policy_row *row = &check->row->row;

	if (!(row->flags & POLICY_ADDED) || row->kind != NVABI_CONTROL ||
	    row->way != NVABI_WAY_EXECUTE || is_vouched_for(check))
		return 0;
	return refuse_row(check,
			  "has parameters of which nothing is known: where you know that none of "
			  "them is a pointer or descriptor, give a line NAME - value - SOURCE",
			  row->name);
}

/* A row of its own takes NUMBER out of mpu's patterns, and must take nothing away by that. */
static int check_patterns(struct check *check, uint32_t number)
{
	const struct nvabi_policy_row *row = &check->row->row;
	bool is_for_firmware = false;

	for (uint32_t i = 0; i < check->base->row_count; i++) {
		const struct nvabi_policy_row *own = &check->base->row[i];

		if (own->kind != row->kind || !(own->flags & POLICY_PATTERN) ||
		    (number & own->mask) != own->number)
			continue;
		if (own->capabilities & ~row->capabilities)
			return refuse_row(
			    check,
			    "is allowed by mpu already, to more capabilities (mpuctl abi "
			    "policy VERSION): name these too",
			    row->name);
		is_for_firmware |= own->way == NVABI_WAY_FIRMWARE;
	}
	if (row->way != NVABI_WAY_FIRMWARE || is_for_firmware)
		return 0;
	return refuse_row(
	    check,
	    "is no control that the kernel module hands unread to the GPU's firmware: "
	    "its way is execute",
	    row->name);
}

/* Another row of the file is for the call of this one, by its name or its number. */
static int check_alone(struct check *check, uint32_t at, const struct nvabi_call *call)
{
	for (uint32_t i = 0; i < at; i++)
		if (allows(&check->policy->row[i].row, call))
			return refuse_row(check, "has a row already", call->name);
	return 0;
}

static int check_added(struct check *check, uint32_t at, const struct nvabi_call *call)
{
	int rc = check_patterns(check, call->number);

	return rc ? rc : check_alone(check, at, call);
}

static int check_fields(struct check *check, const struct nvabi_call *call)
{
	int rc = call->structure
		     ? nvabi_abi_fields(check->abi, call->structure, true, check_field, check)
		     : -ENOENT;

	if (rc == -ENOENT)
		return check_unknown(check);
	if (rc && !check->error->text[0])
		return refuse_row(check, "cannot be looked through", call->structure);
	return rc;
}

static int check_call(struct check *check, uint32_t at, const struct nvabi_call *call)
{
	const struct nvabi_policy_row *row = &check->policy->row[at].row;
	bool numbered = (row->flags & (POLICY_NUMBERED | POLICY_PATTERN)) == POLICY_NUMBERED;
	int rc;

	check->row = &check->policy->row[at];
	check->call = call;
	check->row_found[at] = true;
	check->pointers = check->descriptors = check->returned = check->places = 0;
	if (numbered && row->size && row->size != call->size)
		return refuse_row(check, "has parameters of another size", call->name);
	if (row->kind == NVABI_MEMORY_CLASS || row->flags & POLICY_WIDENS ||
	    (row->way == NVABI_WAY_CONTINUE && !(row->flags & POLICY_ADDED)))
		return 0;
	rc = row->flags & POLICY_ADDED ? check_added(check, at, call) : 0;
	return rc ? rc : check_fields(check, call);
}

static int by_order(const void *a, const void *b)
{
	return nvabi_policy_row_order(a, b);
}

/* What is said of a structure holds for all calls that have it: those of BASE have theirs. */
static int check_foreign(struct check *check, const struct nvabi_call *call)
{
	const struct loaded_policy *policy = check->policy;
	const struct nvabi_policy_tables *base = check->base;
	const struct nvabi_policy_row asked = {.name = call->name, .kind = (uint8_t)call->kind};

	for (uint32_t i = 0; call->structure && i < policy->param_count; i++)
		if (!strcmp(policy->param[i].param.structure, call->structure) && base->row_count &&
		    bsearch(&asked, base->row, base->row_count, sizeof(*base->row), by_order))
			return refuse(check, check->params, policy->param[i].line,
				      "has these parameters and is allowed by mpu, which knows "
				      "them: leave the line out",
				      call->name);
	return 0;
}

static int check_release(struct check *check, const struct nvabi_abi_tables *abi,
			 const struct nvabi_version *version)
{
	struct nvabi_call call;
	uint32_t cursor = 0;
	int rc;

	rc = nvabi_abi_open_from(abi, version, &check->abi);
	if (rc == -ENOENT)
		return 0; /* closed majors have none */
	if (rc)
		return mpu_fail(check->error, -rc, "%s: no memory", check->rows);
	while (!rc && nvabi_abi_next(check->abi, &cursor, &call)) {
		for (uint32_t i = 0; !rc && i < check->policy->row_count; i++)
			if (allows(&check->policy->row[i].row, &call))
				rc = check_call(check, i, &call);
		if (!rc)
			rc = check_foreign(check, &call);
	}
	nvabi_abi_close(check->abi);
	check->abi = NULL;
	return rc;
}

static int check_absent(struct check *check, uint32_t at)
{
	check->row = &check->policy->row[at];
	if (check->row->row.flags & POLICY_WIDENS)
		return 0;
	if (!(check->row->row.flags & POLICY_NUMBERED))
		return refuse_row(check, "is a call of no release", check->row->row.name);
	if (check->row->row.flags & POLICY_ADDED && check_patterns(check, check->row->row.number))
		return -EINVAL;
	return check_unknown(check);
}

static int check_all_found(struct check *check)
{
	const struct loaded_policy *policy = check->policy;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < policy->row_count; i++)
		if (!check->row_found[i])
			rc = check_absent(check, i);
	for (uint32_t i = 0; !rc && i < policy->param_count; i++) {
		const struct nvabi_policy_param *param = &policy->param[i].param;

		if (!check->param_found[i])
			rc = refuse(check, check->params, policy->param[i].line,
				    "is in the parameters of no rule", param->field);
		else if (param->count && !check->count_found[i])
			rc = refuse(check, check->params, policy->param[i].line,
				    "is a field of no release", param->count);
	}
	return rc;
}

static int check_releases(const struct loaded_policy *policy,
			  const struct nvabi_policy_tables *base,
			  const struct nvabi_abi_tables *abi, policy_translates *translates,
			  const struct nvabi_version *only, const char *rows, const char *params,
			  struct mpu_error *error)
{
	const uint32_t count = policy->row_count + policy->param_count + 1;
	cleanup_free bool *row_found = calloc(count, sizeof(bool));
	cleanup_free bool *param_found = calloc(count, sizeof(bool));
	cleanup_free bool *count_found = calloc(count, sizeof(bool));
	struct check check = {.policy = policy,
			      .base = base,
			      .translates = translates,
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

int check_policy(const struct loaded_policy *policy, const struct nvabi_policy_tables *base,
		 const struct nvabi_abi_tables *abi, policy_translates *translates,
		 const char *rows, const char *params, struct mpu_error *error)
{
	return check_releases(policy, base, abi, translates, NULL, rows, params, error);
}

int check_policy_at(const struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
		    const struct nvabi_version *version, struct mpu_error *error)
{
	static const struct nvabi_policy_tables none = {0};

	return check_releases(policy, &none, abi, NULL, version, "policy", "policy-params", error);
}
