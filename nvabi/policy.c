/* Composes a release's rules: rows by name, numbers, sizes and offsets from the release's ABI. */
#include "nvabi/policy-tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct nvabi_policy {
	struct nvabi_version release;
	struct nvabi_rule *rule; /* by kind and number, patterns behind them */
	uint32_t rule_count, pattern_count;
	struct nvabi_pointer *pointer;
	uint32_t pointer_count;
	struct nvabi_descriptor *descriptor;
	uint32_t descriptor_count;
	uint32_t *mask; /* of the patterns */
	struct nvabi_answer unknown[NVABI_UNKNOWN_KINDS];
};

const char *nvabi_policy_kind_name(uint32_t kind)
{
	if (kind < NVABI_KINDS)
		return nvabi_kind_name((enum nvabi_kind)kind);
	if (kind == NVABI_MODESET)
		return "modeset";
	return kind == NVABI_HEAP_FUNCTION ? "heap" : "memory";
}

const char *nvabi_way_name(uint32_t way)
{
	static const char *const names[NVABI_WAYS] = {[NVABI_WAY_EXECUTE] = "execute",
						      [NVABI_WAY_CONTINUE] = "continue",
						      [NVABI_WAY_FIRMWARE] = "firmware"};

	return names[way];
}

enum nvabi_kind nvabi_policy_asked_kind(const struct nvabi_policy_row *row)
{
	return row->kind == NVABI_MEMORY_CLASS ? NVABI_CLASS : (enum nvabi_kind)row->kind;
}

int nvabi_policy_row_order(const struct nvabi_policy_row *a, const struct nvabi_policy_row *b)
{
	int numbered = (a->flags & POLICY_NUMBERED) - (b->flags & POLICY_NUMBERED);
	int kind = (int)nvabi_policy_asked_kind(a) - (int)nvabi_policy_asked_kind(b);
	int name = strcmp(a->name, b->name);

	return numbered ? numbered : kind ? kind : name ? name : a->kind - b->kind;
}

static int find_field(const struct nvabi_field *field, void *context)
{
	struct nvabi_field *found = context;

	if (strcmp(field->name, found->name))
		return 0;
	*found = *field;
	return 1;
}

/* Fills FIELD, whose name is set. Returns false where the release's structure has no such field. */
static bool look_up(struct nvabi_abi *abi, const char *structure, struct nvabi_field *field)
{
	return nvabi_abi_fields(abi, structure, true, find_field, field) == 1;
}

/* Returns false where the release's structure has no field to count by. */
static bool add_length(struct nvabi_abi *abi, const struct nvabi_policy_param *param,
		       struct nvabi_length *length)
{
	struct nvabi_field count = {.name = param->count};

	*length = param->length;
	if (!param->count)
		return true;
	if (!look_up(abi, param->structure, &count))
		return false;
	length->offset = count.offset;
	length->width = (uint8_t)count.size;
	if (!length->limit)
		length->limit = POLICY_MOST_BYTES / length->scale;
	return true;
}

static void add_param(struct nvabi_policy *policy, struct nvabi_abi *abi,
		      const struct nvabi_policy_param *param, struct nvabi_rule *rule)
{
	struct nvabi_field field = {.name = param->field};
	struct nvabi_pointer *pointer = &policy->pointer[policy->pointer_count];

	if (param->use == POLICY_NESTED || param->use == POLICY_VALUE)
		return;
	if (!look_up(abi, param->structure, &field))
		return; /* of another release */
	if (param->use == POLICY_DESCRIPTOR) {
		policy->descriptor[policy->descriptor_count++] =
		    (struct nvabi_descriptor){field.offset, (uint8_t)field.size, param->directions};
		rule->descriptor_count++;
		return;
	}
	*pointer = (struct nvabi_pointer){field.offset, param->directions, param->whole, {0}};
	if (!add_length(abi, param, &pointer->length))
		pointer->directions = 0;
	policy->pointer_count++;
	rule->pointer_count++;
}

uint32_t nvabi_policy_first_param(const struct nvabi_policy_tables *tables, const char *structure)
{
	uint32_t low = 0, high = tables->param_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (strcmp(tables->param[middle].structure, structure) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The widest structure says how much room each rule can need. */
static uint32_t most_params(const struct nvabi_policy_tables *tables)
{
	uint32_t most = 1, run = 1;

	for (uint32_t i = 1; i < tables->param_count; i++) {
		bool same = !strcmp(tables->param[i].structure, tables->param[i - 1].structure);

		run = same ? run + 1 : 1;
		most = run > most ? run : most;
	}
	return most;
}

static void add_params(struct nvabi_policy *policy, struct nvabi_abi *abi,
		       const struct nvabi_policy_tables *tables, const char *structure,
		       struct nvabi_rule *rule)
{
	rule->pointers = policy->pointer + policy->pointer_count;
	rule->descriptors = policy->descriptor + policy->descriptor_count;
	for (uint32_t i = nvabi_policy_first_param(tables, structure);
	     i < tables->param_count && !strcmp(tables->param[i].structure, structure); i++)
		add_param(policy, abi, &tables->param[i], rule);
}

/* Where the driver puts an escape's status, and how long the other form of NV_ESC_RM_ALLOC's
 * parameters is: NVOS21_PARAMETERS are NVOS64_PARAMETERS without second pointer and flags. */
static void add_status(struct nvabi_abi *abi, const struct nvabi_call *call,
		       struct nvabi_rule *rule)
{
	static const char *const names[] = {"status", "params.status", "Status"};
	struct nvabi_field params_size = {.name = "paramsSize"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !rule->status; i++) {
		struct nvabi_field field = {.name = names[i]};

		if (look_up(abi, call->structure, &field) && !strcmp(field.type, "u32"))
			rule->status = field.offset;
	}
	if (strcmp(call->structure, "NVOS64_PARAMETERS"))
		return;
	rule->short_size = 32;
	rule->short_status = look_up(abi, call->structure, &params_size) ? 28 : 24;
}

static void add_rule(struct nvabi_policy *policy, struct nvabi_abi *abi,
		     const struct nvabi_policy_tables *tables, const struct nvabi_policy_row *row,
		     const struct nvabi_call *call)
{
	struct nvabi_rule *rule = &policy->rule[policy->rule_count++];

	*rule = (struct nvabi_rule){
	    .kind = row->kind,
	    .number = call->number,
	    .name = row->name,
	    .capabilities = row->capabilities,
	    .way = (enum nvabi_way)row->way,
	    .pattern = row->flags & POLICY_PATTERN,
	    .reason = row->reason,
	    .added = row->flags & POLICY_ADDED,
	};
	/* The parameters of the older calls are their escape's. */
	if (row->kind == NVABI_MEMORY_CLASS || row->kind == NVABI_HEAP_FUNCTION)
		return;
	rule->size = row->flags & POLICY_ARRAY ? 0 : call->size;
	if (!call->structure)
		return;
	if (row->way != NVABI_WAY_CONTINUE)
		add_params(policy, abi, tables, call->structure, rule);
	if (row->kind == NVABI_ESCAPE)
		add_status(abi, call, rule);
}

static bool names_call(const struct nvabi_policy_row *row, const struct nvabi_call *call)
{
	return !(row->flags & POLICY_NUMBERED) && nvabi_policy_asked_kind(row) == call->kind &&
	       !strcmp(row->name, call->name);
}

/* Rows and calls stand in the same order. */
static void add_named(struct nvabi_policy *policy, struct nvabi_abi *abi,
		      const struct nvabi_policy_tables *tables)
{
	struct nvabi_call call;
	uint32_t cursor = 0, row = 0;

	while (row < tables->row_count && nvabi_abi_next(abi, &cursor, &call)) {
		const struct nvabi_policy_row asked = {.name = call.name,
						       .kind = (uint8_t)call.kind};

		while (row < tables->row_count &&
		       nvabi_policy_row_order(&tables->row[row], &asked) < 0)
			row++;
		for (; row < tables->row_count && names_call(&tables->row[row], &call); row++)
			add_rule(policy, abi, tables, &tables->row[row], &call);
	}
}

static void add_numbered(struct nvabi_policy *policy, struct nvabi_abi *abi,
			 const struct nvabi_policy_tables *tables, bool patterns)
{
	for (uint32_t i = 0; i < tables->row_count; i++) {
		const struct nvabi_policy_row *row = &tables->row[i];
		const struct nvabi_call call = {.number = row->number, .size = row->size};

		if (!(row->flags & POLICY_NUMBERED) || !(row->flags & POLICY_PATTERN) == patterns)
			continue;
		if (patterns)
			policy->mask[policy->pattern_count++] = row->mask;
		add_rule(policy, abi, tables, row, &call);
	}
}

static int by_number(const void *a, const void *b)
{
	const struct nvabi_rule *left = a, *right = b;

	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	return left->number < right->number ? -1 : left->number > right->number;
}

/* What is mpu's own first: it says how the call is made. */
static int by_number_and_origin(const void *a, const void *b)
{
	const struct nvabi_rule *left = a, *right = b;
	int order = by_number(a, b);

	return order ? order : left->added - right->added;
}

/* A number that has two names, or another row in a file, is allowed to whom either of them is. */
static void merge_names(struct nvabi_policy *policy)
{
	uint32_t kept = 0;

	qsort(policy->rule, policy->rule_count, sizeof(*policy->rule), by_number_and_origin);
	for (uint32_t i = 0; i < policy->rule_count; i++) {
		const struct nvabi_rule *rule = &policy->rule[i];
		struct nvabi_rule *same = kept ? &policy->rule[kept - 1] : NULL;

		if (!same || by_number(same, rule)) {
			policy->rule[kept++] = *rule;
			continue;
		}
		same->added |= rule->added && rule->capabilities & ~same->capabilities;
		same->capabilities |= rule->capabilities;
	}
	policy->rule_count = kept;
}

/* What the nearest release says on the way to the root. */
static struct nvabi_answer find_unknown(const struct nvabi_abi *abi,
					const struct nvabi_policy_tables *tables, uint32_t kind)
{
	for (int at = abi->release; at >= 0; at = abi->tables->release[at].parent)
		for (uint32_t i = 0; i < tables->unknown_count; i++)
			if (tables->unknown[i].release == at && tables->unknown[i].kind == kind)
				return tables->unknown[i].answer;
	return (struct nvabi_answer){.errnum = -EINVAL};
}

static int make_room(struct nvabi_policy *policy, const struct nvabi_policy_tables *tables)
{
	const size_t params = (size_t)tables->row_count * most_params(tables);

	policy->rule = calloc(tables->row_count + 1, sizeof(*policy->rule));
	policy->mask = calloc(tables->row_count + 1, sizeof(*policy->mask));
	policy->pointer = calloc(params + 1, sizeof(*policy->pointer));
	policy->descriptor = calloc(params + 1, sizeof(*policy->descriptor));
	return policy->rule && policy->mask && policy->pointer && policy->descriptor ? 0 : -ENOMEM;
}

int nvabi_policy_open_from(const struct nvabi_policy_tables *tables,
			   const struct nvabi_abi_tables *abi_tables,
			   const struct nvabi_version *running, struct nvabi_policy **opened)
{
	struct nvabi_policy *policy;
	struct nvabi_abi *abi;
	int rc = nvabi_abi_open_from(abi_tables, running, &abi);

	if (rc)
		return rc;
	policy = calloc(1, sizeof(*policy));
	if (!policy || make_room(policy, tables)) {
		nvabi_policy_close(policy);
		nvabi_abi_close(abi);
		return -ENOMEM;
	}
	policy->release = *nvabi_abi_release(abi, NULL);
	add_named(policy, abi, tables);
	add_numbered(policy, abi, tables, false);
	merge_names(policy);
	add_numbered(policy, abi, tables, true);
	policy->rule_count -= policy->pattern_count;
	for (uint32_t kind = 0; kind < NVABI_UNKNOWN_KINDS; kind++)
		policy->unknown[kind] = find_unknown(abi, tables, kind);
	nvabi_abi_close(abi);
	*opened = policy;
	return 0;
}

void nvabi_policy_close(struct nvabi_policy *policy)
{
	if (!policy)
		return;
	free(policy->rule);
	free(policy->mask);
	free(policy->pointer);
	free(policy->descriptor);
	free(policy);
}

const struct nvabi_version *nvabi_policy_release(const struct nvabi_policy *policy)
{
	return &policy->release;
}

const struct nvabi_rule *nvabi_policy_find(const struct nvabi_policy *policy, uint32_t kind,
					   uint32_t number)
{
	const struct nvabi_rule asked = {.kind = kind, .number = number};
	const struct nvabi_rule *rule =
	    bsearch(&asked, policy->rule, policy->rule_count, sizeof(*rule), by_number);

	for (uint32_t i = 0; !rule && i < policy->pattern_count; i++) {
		const struct nvabi_rule *pattern = &policy->rule[policy->rule_count + i];

		if (pattern->kind == kind && (number & policy->mask[i]) == pattern->number)
			rule = pattern;
	}
	return rule;
}

struct nvabi_answer nvabi_policy_unknown(const struct nvabi_policy *policy, uint32_t kind)
{
	return policy->unknown[kind];
}

const struct nvabi_rule *nvabi_policy_rule(const struct nvabi_policy *policy, uint32_t index)
{
	return index < policy->rule_count + policy->pattern_count ? &policy->rule[index] : NULL;
}
