#include "nvabi/load-policy.h"

#include "nvabi/rm.h"

#include <errno.h>
#include <string.h>

/* A driver that answers by another word gets a row here. */
static const struct {
	const char *word;
	struct nvabi_answer answer;
} answers[] = {
    {"EINVAL", {.errnum = -EINVAL}},
    {"ENOSYS", {.errnum = -ENOSYS}},
    {"ENOTTY", {.errnum = -ENOTTY}},
    {"EPERM", {.errnum = -EPERM}},
    {"NV_ERR_INVALID_ARGUMENT", {.status = NV_ERR_INVALID_ARGUMENT}},
    {"NV_ERR_INVALID_CLASS", {.status = NV_ERR_INVALID_CLASS}},
    {"NV_ERR_NOT_SUPPORTED", {.status = NV_ERR_NOT_SUPPORTED}},
};

struct reader {
	struct loaded_policy *policy;
	const struct nvabi_abi_tables *abi;
};

static int parse_release(const struct table_line *line, const struct nvabi_abi_tables *abi,
			 struct nvabi_unknown_change *row, struct mpu_error *error)
{
	struct nvabi_version version;

	if (nvabi_version_parse(line->word[0], &version))
		return table_refuse(line, error, "'%s' is no release", line->word[0]);
	for (uint32_t i = 0; i < abi->release_count; i++)
		if (nvabi_version_compare(&abi->release[i].version, &version) == 0) {
			row->release = (uint16_t)i;
			return 0;
		}
	return table_refuse(line, error, "%s is not in the tree of releases", line->word[0]);
}

static int parse_kind(const struct table_line *line, struct nvabi_unknown_change *row,
		      struct mpu_error *error)
{
	for (uint8_t kind = 0; kind < NVABI_UNKNOWN_KINDS; kind++)
		if (!strcmp(nvabi_policy_kind_name(kind), line->word[1])) {
			row->kind = kind;
			return 0;
		}
	return table_refuse(line, error, "'%s' is no kind of call", line->word[1]);
}

static int parse_answer(const struct table_line *line, struct nvabi_unknown_change *row,
			struct mpu_error *error)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
		if (!strcmp(answers[i].word, line->word[2])) {
			row->answer = answers[i].answer;
			return 0;
		}
	return table_refuse(line, error, "'%s' is no answer", line->word[2]);
}

static int read_row(const struct table_line *line, void *context, struct mpu_error *error)
{
	const struct reader *reader = context;
	struct loaded_policy *policy = reader->policy;
	struct nvabi_unknown_change *added, row = {0};
	int rc;

	if (line->count != 3)
		return table_refuse(line, error, "wants: RELEASE KIND ANSWER");
	rc = parse_release(line, reader->abi, &row, error);
	if (!rc)
		rc = parse_kind(line, &row, error);
	if (!rc)
		rc = parse_answer(line, &row, error);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < policy->unknown_count; i++)
		if (policy->unknown[i].release == row.release &&
		    policy->unknown[i].kind == row.kind)
			return table_refuse(line, error, "a second row for %s", line->word[1]);
	added = table_append(&policy->unknown, &policy->unknown_count, sizeof(*added));
	if (!added)
		return mpu_fail(error, ENOMEM, "%s: no memory", line->file);
	*added = row;
	return 0;
}

int load_unknown_calls(struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
		       const char *path, struct mpu_error *error)
{
	struct reader reader = {policy, abi};

	return table_read(path, read_row, &reader, error);
}
