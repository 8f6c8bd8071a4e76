#include "nvabi/tools/load.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

struct word_value {
	const char *word;
	uint8_t value;
};

static const struct word_value spaces[] = {{"global", NVABI_GLOBAL},
					   {"caller_ns", NVABI_CALLER_NS},
					   {"caller_ns_partial", NVABI_CALLER_NS_PARTIAL},
					   {"mixed", NVABI_MIXED},
					   {NULL, 0}};
static const struct word_value kinds[] = {{"tgid", NVABI_TGID}, {"tid", NVABI_TID}, {NULL, 0}};
static const struct word_value truths[] = {{"no", false}, {"yes", true}, {NULL, 0}};

static const struct {
	const char *key;
	const struct word_value *values;
} semantics_fields[NVABI_SEMANTICS_FIELDS] = {
    [NVABI_FIELD_GET_PIDS] = {"get_pids", spaces},
    [NVABI_FIELD_GET_PID_INFO] = {"get_pid_info", spaces},
    [NVABI_FIELD_UTIL_SAMPLES] = {"util_samples", spaces},
    [NVABI_FIELD_ACCOUNTING] = {"accounting", spaces},
    [NVABI_FIELD_KIND] = {"kind", kinds},
    [NVABI_FIELD_UTIL_RAW_FOR_INIT_NS] = {"util_raw_for_init_ns", truths},
};

static const struct word_value calls[] = {{"GET_PIDS", NVABI_GET_PIDS},
					  {"GET_PID_INFO", NVABI_GET_PID_INFO},
					  {"UTIL_SAMPLES", NVABI_UTIL_SAMPLES},
					  {"ACCT_STATE", NVABI_ACCT_STATE},
					  {"ACCT_PROC_INFO", NVABI_ACCT_PROC_INFO},
					  {"ACCT_PIDS", NVABI_ACCT_PIDS},
					  {"SESSIONS", NVABI_SESSIONS},
					  {"RCERR_REPORT", NVABI_RCERR_REPORT},
					  {"SHARED_BIND", NVABI_SHARED_BIND},
					  {"SHARED_ADVERTISE", NVABI_SHARED_ADVERTISE},
					  {NULL, 0}};

static const char *const engines[NVABI_ENGINES] = {"fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"};

#define OFFSET_KEY(member)                                                                         \
	{                                                                                          \
#member, offsetof(struct nvabi_pid_control, member)                                \
	}

/* Keys that are the name of a 16-bit member. */
static const struct {
	const char *key;
	size_t at;
} offset_keys[] = {
    OFFSET_KEY(gpu_id),		  OFFSET_KEY(pid),
    OFFSET_KEY(list_pointer),	  OFFSET_KEY(list_count),
    OFFSET_KEY(list_first),	  OFFSET_KEY(list_stride),
    OFFSET_KEY(list_capacity),	  OFFSET_KEY(entry_pid),
    OFFSET_KEY(entry_sub_pid),	  OFFSET_KEY(entry_index),
    OFFSET_KEY(entry_result),	  OFFSET_KEY(entry_data),
    OFFSET_KEY(entry_data_count), OFFSET_KEY(entry_smc),
    OFFSET_KEY(acct_sub_pid),	  OFFSET_KEY(acct_gpu_util),
    OFFSET_KEY(acct_fb_util),	  OFFSET_KEY(acct_max_fb_usage),
    OFFSET_KEY(acct_start_time),  OFFSET_KEY(acct_end_time),
    OFFSET_KEY(shared_mask),	  OFFSET_KEY(shared_width),
    OFFSET_KEY(all_users),	  OFFSET_KEY(sample_timestamp),
    OFFSET_KEY(buffer_size),	  OFFSET_KEY(sample_count),
    OFFSET_KEY(tracker),	  OFFSET_KEY(raw),
};

static uint16_t *offset_member(struct nvabi_pid_control *control, size_t at)
{
	return (uint16_t *)(void *)((char *)control + at);
}

static const struct word_value *find_word(const struct word_value *values, const char *word)
{
	for (; values->word; values++)
		if (!strcmp(values->word, word))
			return values;
	return NULL;
}

const char *load_call_name(enum nvabi_pid_call call)
{
	for (const struct word_value *at = calls; at->word; at++)
		if (at->value == call)
			return at->word;
	return "?";
}

/* Splits KEY=VALUE in place. Returns the value, or NULL. */
static char *split_key(char *word)
{
	char *equals = strchr(word, '=');

	if (!equals || equals == word || !equals[1])
		return NULL;
	*equals = '\0';
	return equals + 1;
}

static int set_semantics(const struct table_line *line, char *word,
			 struct nvabi_semantics_change *change, struct mpu_error *error)
{
	char *text = split_key(word);
	const struct word_value *value;

	if (!text)
		return table_refuse(line, error, "'%s' is not KEY=VALUE", word);
	for (uint32_t field = 0; field < NVABI_SEMANTICS_FIELDS; field++) {
		if (strcmp(semantics_fields[field].key, word))
			continue;
		if (change->set & 1U << field)
			return table_refuse(line, error, "'%s' is given twice", word);
		value = find_word(semantics_fields[field].values, text);
		if (!value)
			return table_refuse(line, error, "'%s' is no value of '%s'", text, word);
		change->set |= (uint8_t)(1U << field);
		change->value[field] = value->value;
		return 0;
	}
	return table_refuse(line, error, "'%s' is no field of the PID semantics", word);
}

static int read_semantics(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_pids *pids = context;
	struct nvabi_semantics_change *change;
	uint32_t release;
	int rc = load_release_of(&pids->tree, line, line->word[0], &release, error);

	if (rc)
		return rc;
	if (line->count < 2)
		return table_refuse(line, error, "wants: release key=value...");
	for (uint32_t i = 0; i < pids->semantics_count; i++)
		if (pids->semantics[i].release == release)
			return table_refuse(line, error, "a second row for %s", line->word[0]);
	change = table_append(&pids->semantics, &pids->semantics_count, sizeof(*change));
	if (!change)
		return mpu_fail(error, ENOMEM, "%s: no memory", line->file);
	change->release = (uint16_t)release;
	for (unsigned int i = 1; !rc && i < line->count; i++)
		rc = set_semantics(line, line->word[i], change, error);
	return rc;
}

static void empty_control(struct nvabi_pid_control *control)
{
	for (size_t i = 0; i < sizeof(offset_keys) / sizeof(*offset_keys); i++)
		*offset_member(control, offset_keys[i].at) = NVABI_NONE;
	control->list_stride = control->list_capacity = control->entry_data_count = 0;
	control->shared_width = control->raw = 0;
	for (uint32_t i = 0; i < NVABI_ENGINES; i++)
		control->engine[i] =
		    (struct nvabi_engine_layout){NVABI_NONE, NVABI_NONE, NVABI_NONE, NVABI_NONE};
}

static int parse_engine(char *text, struct nvabi_engine_layout *engine)
{
	uint16_t *member[] = {&engine->util, &engine->proc_id, &engine->sub_process_id,
			      &engine->os_pid_info};
	char *rest = text;

	for (size_t i = 0; i < sizeof(member) / sizeof(*member); i++) {
		const char *word = strtok_r(rest, ",", &rest);
		uint64_t number = NVABI_NONE;

		if (!word || (strcmp(word, "-") && table_number(word, NVABI_NONE - 1, &number)))
			return -EINVAL;
		*member[i] = (uint16_t)number;
	}
	return *rest ? -EINVAL : 0;
}

/* Engines come in their order, so the count is that of the last one given. */
static int set_engine(const struct table_line *line, const char *key, char *text,
		      struct nvabi_pid_control *control, struct mpu_error *error)
{
	for (uint32_t i = 0; i < NVABI_ENGINES; i++) {
		if (strcmp(engines[i], key))
			continue;
		if (i > control->engine_count)
			return table_refuse(line, error, "'%s' without '%s'", key, engines[i - 1]);
		if (parse_engine(text, &control->engine[i]))
			return table_refuse(line, error, "'%s' wants four offsets, '-' for none",
					    key);
		if (i == control->engine_count)
			control->engine_count++;
		return 0;
	}
	return table_refuse(line, error, "'%s' is no key of a PID control", key);
}

static int set_call(const struct table_line *line, const char *text,
		    struct nvabi_pid_control *control, struct mpu_error *error)
{
	const struct word_value *call = find_word(calls, text);

	if (!call)
		return table_refuse(line, error, "'%s' is no call", text);
	control->call = call->value;
	return 0;
}

static int set_control(const struct table_line *line, char *word, struct nvabi_pid_control *control,
		       struct mpu_error *error)
{
	char *text = split_key(word);
	uint64_t number = 0;
	bool bad = !text || table_number(text, UINT32_MAX, &number);

	if (!text)
		return table_refuse(line, error, "'%s' is not KEY=VALUE", word);
	if (!strcmp(word, "call"))
		return set_call(line, text, control, error);
	if (!strcmp(word, "size") || !strcmp(word, "assumed") || !strcmp(word, "shared_bits")) {
		uint32_t *member = word[1] == 'i'   ? &control->size
				   : word[0] == 'a' ? &control->assumed_size
						    : &control->shared_bits;

		if (bad)
			return table_refuse(line, error, "'%s' is not a number", text);
		*member = (uint32_t)number;
		if (member == &control->size && number)
			control->assumed_size = 0;
		return 0;
	}
	for (size_t i = 0; i < sizeof(offset_keys) / sizeof(*offset_keys); i++) {
		if (strcmp(offset_keys[i].key, word))
			continue;
		if (bad || number >= NVABI_NONE)
			return table_refuse(line, error, "'%s' is not an offset", text);
		*offset_member(control, offset_keys[i].at) = (uint16_t)number;
		return 0;
	}
	return set_engine(line, word, text, control, error);
}

/* The row for CMD at RELEASE's nearest ancestor (itself included), or NULL. */
static const struct nvabi_control_change *nearest_control(const struct loaded_pids *pids,
							  uint32_t cmd, uint32_t release)
{
	for (int at = (int)release; at >= 0; at = pids->tree.release[at].parent)
		for (uint32_t i = 0; i < pids->control_count; i++)
			if (pids->control[i].control.cmd == cmd && pids->control[i].release == at)
				return &pids->control[i];
	return NULL;
}

static int start_control(const struct table_line *line, const struct loaded_pids *pids,
			 struct nvabi_control_change *change, struct mpu_error *error)
{
	const struct nvabi_control_change *base;
	uint32_t release;
	uint64_t cmd;
	int rc = load_release_of(&pids->tree, line, line->word[0], &release, error);

	if (rc)
		return rc;
	if (line->count < 4)
		return table_refuse(line, error, "wants: release cmd name key=value...");
	if (table_number(line->word[1], UINT32_MAX, &cmd))
		return table_refuse(line, error, "'%s' is not a number", line->word[1]);
	base = nearest_control(pids, (uint32_t)cmd, release);
	if (base && base->release == release)
		return table_refuse(line, error, "a second row for %s at %s", line->word[1],
				    line->word[0]);
	if (base && strcmp(base->control.name, line->word[2]))
		return table_refuse(line, error, "%s is %s, not %s", line->word[1],
				    base->control.name, line->word[2]);
	if (!base && strncmp(line->word[3], "call=", 5))
		return table_refuse(line, error, "the first row of a control begins with call=");
	if (base)
		change->control = base->control;
	else
		empty_control(&change->control);
	change->release = (uint16_t)release;
	change->control.cmd = (uint32_t)cmd;
	return 0;
}

static int read_control(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_pids *pids = context;
	struct nvabi_control_change change = {0}, *row;
	bool gone = line->count == 4 && !strcmp(line->word[3], "gone");
	int rc = start_control(line, pids, &change, error);
	struct nvabi_pid_control before = change.control;

	for (unsigned int i = 3; !rc && !gone && i < line->count; i++)
		rc = set_control(line, line->word[i], &change.control, error);
	if (rc)
		return rc;
	if (gone)
		change.control.size = change.control.assumed_size = 0;
	else if (!change.control.size && !change.control.assumed_size)
		return table_refuse(line, error, "size=0 wants assumed=");
	if (!memcmp(&before, &change.control, sizeof(before)))
		return table_refuse(line, error, "the row changes nothing");
	row = table_append(&pids->control, &pids->control_count, sizeof(*row));
	if (!row)
		return mpu_fail(error, ENOMEM, "%s: no memory", line->file);
	*row = change;
	row->control.name = strdup(line->word[2]);
	return row->control.name ? 0 : mpu_fail(error, ENOMEM, "%s: no memory", line->file);
}

static int by_cmd(const void *a, const void *b)
{
	const struct nvabi_control_change *left = a, *right = b;

	if (left->control.cmd != right->control.cmd)
		return left->control.cmd < right->control.cmd ? -1 : 1;
	return (left->release > right->release) - (left->release < right->release);
}

int load_pids(const char *releases, const char *semantics, const char *controls,
	      struct loaded_pids *pids, struct mpu_error *error)
{
	int rc;

	*pids = (struct loaded_pids){0};
	rc = load_tree(releases, &pids->tree, error);
	drop_partial(&pids->tree);
	if (!rc)
		rc = table_read(semantics, read_semantics, pids, error);
	if (!rc)
		rc = table_read(controls, read_control, pids, error);
	if (rc) {
		unload_pids(pids);
		return rc;
	}
	if (pids->control_count)
		qsort(pids->control, pids->control_count, sizeof(*pids->control), by_cmd);
	return 0;
}

void unload_pids(struct loaded_pids *pids)
{
	for (uint32_t i = 0; i < pids->control_count; i++)
		free((char *)(uintptr_t)pids->control[i].control.name);
	free(pids->control);
	free(pids->semantics);
	unload_tree(&pids->tree);
	*pids = (struct loaded_pids){0};
}

struct nvabi_pid_tables loaded_pid_tables(const struct loaded_pids *loaded)
{
	return (struct nvabi_pid_tables){
	    .release = loaded->tree.release,
	    .release_count = loaded->tree.count,
	    .semantics = loaded->semantics,
	    .semantics_count = loaded->semantics_count,
	    .control = loaded->control,
	    .control_count = loaded->control_count,
	};
}
