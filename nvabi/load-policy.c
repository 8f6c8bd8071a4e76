#include "nvabi/load-policy.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

static int no_memory(const struct table_line *line, struct mpu_error *error)
{
	return mpu_fail(error, ENOMEM, "%s: no memory", line->file);
}

static int parse_kind(const struct table_line *line, struct nvabi_policy_row *row,
		      struct mpu_error *error)
{
	for (uint8_t kind = 0; kind < NVABI_POLICY_KINDS; kind++) {
		if (strcmp(nvabi_policy_kind_name(kind), line->word[0]))
			continue;
		row->kind = kind;
		return 0;
	}
	return table_refuse(line, error, "'%s' is no kind of call", line->word[0]);
}

static int parse_capabilities(const struct table_line *line, struct nvabi_policy_row *row,
			      struct mpu_error *error)
{
	for (const char *word = line->word[2];; word++) {
		size_t length = strcspn(word, ",");

		if (!nvabi_capability_parse(word, length, &row->capabilities))
			return table_refuse(line, error, "'%.*s' is no capability", (int)length,
					    word);
		word += length;
		if (!*word)
			return 0;
	}
}

static int parse_way(const struct table_line *line, struct nvabi_policy_row *row,
		     struct mpu_error *error)
{
	for (uint8_t way = 0; way < NVABI_WAYS; way++) {
		if (strcmp(nvabi_way_name(way), line->word[3]))
			continue;
		row->way = way;
		return 0;
	}
	return table_refuse(line, error, "'%s' is no way: execute, continue or firmware",
			    line->word[3]);
}

static int parse_part(const struct table_line *line, const char *text, uint32_t *part,
		      struct mpu_error *error)
{
	uint64_t number;

	if (table_number(text, UINT32_MAX, &number))
		return table_refuse(line, error, "'%s' is not a number", text);
	*part = (uint32_t)number;
	return 0;
}

/* NAME, NAME[], NAME=NUMBER, NUMBER:SIZE or VALUE/MASK. Cuts the word to what is the rule's name.
 */
static int parse_name(const struct table_line *line, struct nvabi_policy_row *row,
		      struct mpu_error *error)
{
	char *name = line->word[1], *mark = strpbrk(name, "[=:/");
	char which = mark ? *mark : '\0';
	int rc = 0;

	if (which == '[' && strcmp(mark, "[]"))
		return table_refuse(line, error, "'%s' is no name", name);
	if (which)
		*mark++ = '\0';
	if (!*name)
		return table_refuse(line, error, "there is no name");
	if (which == '[')
		row->flags = POLICY_ARRAY;
	else if (which == '=' || which == ':' || which == '/')
		row->flags = which == '/' ? POLICY_NUMBERED | POLICY_PATTERN : POLICY_NUMBERED;
	if (which == '=')
		return parse_part(line, mark, &row->number, error);
	if (which == ':' || which == '/')
		rc = parse_part(line, name, &row->number, error);
	if (!rc && which == ':')
		rc = parse_part(line, mark, &row->size, error);
	if (!rc && which == '/')
		rc = parse_part(line, mark, &row->mask, error);
	if (!rc && !which && *name >= '0' && *name <= '9')
		rc = table_refuse(line, error, "'%s' says no size: NUMBER:SIZE", name);
	if (!rc && which == '/' && (!row->mask || row->number & ~row->mask))
		rc = table_refuse(line, error, "no number is '%s' under its mask", name);
	return rc;
}

/* The rest of the line, with one blank between words. */
static char *join(const struct table_line *line, unsigned int first)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	for (unsigned int i = first; out && i < line->count; i++)
		fprintf(out, "%s%s", i == first ? "" : " ", line->word[i]);
	return out && !fclose(out) ? text : NULL;
}

bool load_policy_same_call(const struct nvabi_policy_row *a, const struct nvabi_policy_row *b)
{
	return a->kind == b->kind &&
	       (!strcmp(a->name, b->name) || (a->flags & b->flags & POLICY_NUMBERED &&
					      a->number == b->number && a->mask == b->mask));
}

static int read_row(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_policy *policy = context;
	struct nvabi_policy_row row = {0};
	struct loaded_row *loaded;
	int rc;

	if (line->count < 5)
		return table_refuse(line, error, "wants: KIND NAME CAPABILITIES WAY REASON");
	rc = parse_kind(line, &row, error);
	if (!rc)
		rc = parse_name(line, &row, error);
	if (!rc)
		rc = parse_capabilities(line, &row, error);
	if (!rc)
		rc = parse_way(line, &row, error);
	if (rc)
		return rc;
	row.name = line->word[1];
	for (uint32_t i = 0; i < policy->row_count; i++)
		if (load_policy_same_call(&policy->row[i].row, &row))
			return table_refuse(line, error, "a second row for %s", row.name);
	loaded = table_append(&policy->row, &policy->row_count, sizeof(*loaded));
	if (!loaded)
		return no_memory(line, error);
	*loaded = (struct loaded_row){row, line->number};
	loaded->row.name = strdup(row.name);
	loaded->row.reason = join(line, 4);
	return loaded->row.name && loaded->row.reason ? 0 : no_memory(line, error);
}

int load_policy_rows(struct loaded_policy *policy, const char *path, struct mpu_error *error)
{
	return table_read(path, read_row, policy, error);
}

struct use {
	const char *word;
	uint8_t use, directions;
};

static const struct use *find_use(const char *word)
{
	static const struct use uses[] = {
	    {"in", POLICY_MEMORY, NVABI_IN},
	    {"out", POLICY_MEMORY, NVABI_OUT},
	    {"inout", POLICY_MEMORY, NVABI_IN | NVABI_OUT},
	    {"null", POLICY_MEMORY, 0},
	    {"value", POLICY_VALUE, 0},
	    {"nested", POLICY_NESTED, 0},
	    {"fd-in", POLICY_DESCRIPTOR, NVABI_IN},
	    {"fd-out", POLICY_DESCRIPTOR, NVABI_OUT},
	    {"fd-inout", POLICY_DESCRIPTOR, NVABI_IN | NVABI_OUT},
	};

	for (size_t i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (!strcmp(uses[i].word, word))
			return &uses[i];
	return NULL;
}

static int parse_use(const struct table_line *line, struct nvabi_policy_param *param,
		     struct mpu_error *error)
{
	const struct use *use = find_use(line->word[2]);

	if (!use)
		return table_refuse(line, error, "'%s' is no use", line->word[2]);
	param->use = use->use;
	param->directions = use->directions;
	return 0;
}

/* What a factor of a length is: a number, or the counting field. */
static int parse_factor(const struct table_line *line, const char *factor,
			struct nvabi_policy_param *param, struct mpu_error *error)
{
	uint64_t number;

	if (!table_number(factor, POLICY_MOST_BYTES, &number) && number && !param->length.scale) {
		param->length.scale = (uint32_t)number;
		return 0;
	}
	if (param->count && !strcmp(param->count, factor) && !param->length.square) {
		param->length.square = true;
		return 0;
	}
	if (param->count || !*factor || *factor == '-')
		return table_refuse(line, error, "'%s' is no length", line->word[3]);
	param->count = strdup(factor);
	return param->count ? 0 : no_memory(line, error);
}

static int parse_length(const struct table_line *line, struct nvabi_policy_param *param,
			struct mpu_error *error)
{
	cleanup_free char *text = strdup(line->word[3]);
	bool wanted = param->use == POLICY_MEMORY && param->directions;
	int rc = 0;

	if (!text)
		return no_memory(line, error);
	if (!strcmp(text, "-") == wanted)
		return table_refuse(line, error, "%s length",
				    wanted ? "memory has a" : "only memory has a");
	if (!wanted)
		return 0;
	for (char *rest = text, *factor; !rc && (factor = strsep(&rest, "*"));)
		rc = parse_factor(line, factor, param, error);
	if (!rc && !param->count) {
		param->length.constant = param->length.scale;
		param->length.scale = 0;
	} else if (!param->length.scale) {
		param->length.scale = 1;
	}
	return rc;
}

/* The most bytes that there can be behind the pointer. */
static uint64_t most_bytes(const struct nvabi_length *length)
{
	uint64_t count = length->square ? (uint64_t)length->limit * length->limit : length->limit;

	return count > POLICY_MOST_BYTES ? count : count * length->scale;
}

static int parse_extras(const struct table_line *line, struct nvabi_policy_param *param,
			struct mpu_error *error)
{
	for (unsigned int i = 5; i < line->count; i++) {
		if (!strcmp(line->word[i], "whole"))
			param->whole = true;
		else if (strncmp(line->word[i], "limit=", 6) ||
			 parse_part(line, line->word[i] + 6, &param->length.limit, error) ||
			 !param->count || !param->length.limit)
			return table_refuse(line, error, "'%s' says nothing here", line->word[i]);
	}
	if (param->length.square && !param->length.limit)
		return table_refuse(line, error, "a square has a limit: limit=N");
	if (most_bytes(&param->length) > POLICY_MOST_BYTES)
		return table_refuse(line, error, "more than 1 MiB under its limit");
	return 0;
}

static int read_param(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_policy *policy = context;
	struct loaded_param *loaded;
	int rc;

	if (line->count < 5 || !strncmp(line->word[4], "limit=", 6))
		return table_refuse(line, error, "wants: STRUCTURE FIELD USE LENGTH SOURCE");
	for (uint32_t i = 0; i < policy->param_count; i++)
		if (!strcmp(policy->param[i].param.structure, line->word[0]) &&
		    !strcmp(policy->param[i].param.field, line->word[1]))
			return table_refuse(line, error, "a second row for %s", line->word[1]);
	loaded = table_append(&policy->param, &policy->param_count, sizeof(*loaded));
	if (!loaded)
		return no_memory(line, error);
	loaded->line = line->number;
	loaded->param.structure = strdup(line->word[0]);
	loaded->param.field = strdup(line->word[1]);
	if (!loaded->param.structure || !loaded->param.field)
		return no_memory(line, error);
	rc = parse_use(line, &loaded->param, error);
	if (!rc)
		rc = parse_length(line, &loaded->param, error);
	return rc ? rc : parse_extras(line, &loaded->param, error);
}

static int read_any(const struct table_line *line, void *context, struct mpu_error *error)
{
	for (uint32_t kind = 0; kind < NVABI_POLICY_KINDS; kind++)
		if (!strcmp(nvabi_policy_kind_name(kind), line->word[0]))
			return read_row(line, context, error);
	if (line->count < 3 || !find_use(line->word[2]))
		return table_refuse(line, error,
				    "'%s' is no kind of call (escape, uvm, control, class, heap, "
				    "memory), nor does the line say STRUCTURE FIELD USE LENGTH "
				    "SOURCE",
				    line->word[0]);
	return read_param(line, context, error);
}

int load_policy_lines(struct loaded_policy *policy, FILE *file, const char *path,
		      struct mpu_error *error)
{
	return table_read_from(file, path, read_any, policy, error);
}

int load_policy_params(struct loaded_policy *policy, const char *path, struct mpu_error *error)
{
	return table_read(path, read_param, policy, error);
}

static int by_row(const void *a, const void *b)
{
	return nvabi_policy_row_order(a, b);
}

static int by_structure(const void *a, const void *b)
{
	const struct nvabi_policy_param *left = a, *right = b;
	int order = strcmp(left->structure, right->structure);

	return order ? order : strcmp(left->field, right->field);
}

int load_policy_finish(struct loaded_policy *policy, const struct nvabi_policy_tables *base,
		       struct nvabi_policy_tables *tables, struct mpu_error *error)
{
	*tables = (struct nvabi_policy_tables){.row_count = base->row_count,
					       .param_count = base->param_count};
	policy->out_row = calloc(base->row_count + policy->row_count + 1, sizeof(*policy->out_row));
	policy->out_param =
	    calloc(base->param_count + policy->param_count + 1, sizeof(*policy->out_param));
	if (!policy->out_row || !policy->out_param)
		return mpu_fail(error, ENOMEM, "no memory");
	if (base->row_count)
		memcpy(policy->out_row, base->row, base->row_count * sizeof(*base->row));
	if (base->param_count)
		memcpy(policy->out_param, base->param, base->param_count * sizeof(*base->param));
	for (uint32_t i = 0; i < policy->row_count; i++)
		policy->out_row[tables->row_count++] = policy->row[i].row;
	for (uint32_t i = 0; i < policy->param_count; i++)
		policy->out_param[tables->param_count++] = policy->param[i].param;
	qsort(policy->out_row, tables->row_count, sizeof(*policy->out_row), by_row);
	qsort(policy->out_param, tables->param_count, sizeof(*policy->out_param), by_structure);
	tables->row = policy->out_row;
	tables->param = policy->out_param;
	tables->unknown = policy->unknown ? policy->unknown : base->unknown;
	tables->unknown_count = policy->unknown ? policy->unknown_count : base->unknown_count;
	return 0;
}

void unload_policy(struct loaded_policy *policy)
{
	for (uint32_t i = 0; i < policy->row_count; i++) {
		free((void *)(uintptr_t)policy->row[i].row.name);
		free((void *)(uintptr_t)policy->row[i].row.reason);
	}
	for (uint32_t i = 0; i < policy->param_count; i++) {
		const struct nvabi_policy_param *param = &policy->param[i].param;

		free((void *)(uintptr_t)param->structure);
		free((void *)(uintptr_t)param->field);
		free((void *)(uintptr_t)param->count);
	}
	free(policy->row);
	free(policy->param);
	free(policy->unknown);
	free(policy->out_row);
	free(policy->out_param);
	*policy = (struct loaded_policy){0};
}
