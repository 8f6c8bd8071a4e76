#include "nvabi/tools/extract.h"

#include "base/cleanup.h"
#include "nvabi/lines.h"
#include "nvabi/version.h"

#include <errno.h>
#include <string.h>

static const char *const kind_words[EXTRACT_KINDS] = {"escape", "uvm", "control", "class"};

const char *extract_kind_word(enum extract_kind kind)
{
	return kind_words[kind];
}

struct extract_call *extract_add(struct extract *extract, enum extract_kind kind, const char *name)
{
	struct extract_call *call;

	for (uint32_t i = 0; i < extract->call_count; i++)
		if (extract->call[i].kind == kind && !strcmp(extract->call[i].name, name))
			return &extract->call[i];
	call = table_append(&extract->call, &extract->call_count, sizeof(*call));
	if (!call)
		return NULL;
	call->kind = kind;
	call->name = strdup(name);
	return call->name ? call : NULL;
}

static int read_param(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct extract *extract = context;
	enum extract_kind kind;

	if (line->count < 4)
		return table_refuse(line, error, "wants: kind name structure source");
	for (kind = 0; kind < EXTRACT_KINDS && strcmp(kind_words[kind], line->word[0]); kind++)
		continue;
	if (kind == EXTRACT_KINDS)
		return table_refuse(line, error, "'%s' is no kind of call", line->word[0]);
	for (uint32_t i = 0; i < extract->call_count; i++) {
		struct extract_call *call = &extract->call[i];

		if (call->kind != kind || strcmp(call->name, line->word[1]))
			continue;
		free(call->told);
		call->told = strdup(line->word[2]);
		if (!call->told)
			return mpu_fail(error, ENOMEM, "no memory");
	}
	return 0;
}

int extract_read_params(struct extract *extract, const char *path, struct mpu_error *error)
{
	return table_read(path, read_param, extract, error);
}

int extract_version(const char *tree, char *version, size_t size, struct mpu_error *error)
{
	cleanup_free char *path = NULL, *line = NULL;
	cleanup_file FILE *file = NULL;
	char found[64] = "";
	size_t room = 0;

	if (asprintf(&path, "%s/version.mk", tree) < 0)
		return mpu_fail(error, ENOMEM, "no memory");
	file = fopen(path, "re");
	if (!file)
		return mpu_fail(error, EINVAL, "%s: not the driver's source: version.mk: %s", tree,
				strerror(errno));
	while (!*found && getline(&line, &room, file) >= 0)
		if (sscanf(line, "NVIDIA_VERSION = %63s", found) != 1)
			*found = '\0';
	if (!*found)
		return mpu_fail(error, EINVAL, "%s: names no NVIDIA_VERSION", path);
	snprintf(version, size, "%s", found);
	return 0;
}

static int check_version(const char *tree, const char *expected, struct mpu_error *error)
{
	char found[64];
	int rc = extract_version(tree, found, sizeof(found), error);

	if (!rc && expected && strcmp(found, expected))
		rc = mpu_fail(error, EINVAL, "%s/version.mk: is %s, not %s", tree, found, expected);
	return rc;
}

static int extract_all(struct extract *extract, const char *data, FILE *out,
		       struct mpu_error *error)
{
	cleanup_free char *params = NULL, *unnamed = NULL;
	int rc;

	if (asprintf(&params, "%s/call-params", data) < 0 ||
	    asprintf(&unnamed, "%s/unnamed-controls", data) < 0)
		return mpu_fail(error, ENOMEM, "no memory");
	rc = extract_find_headers(extract, error);
	if (!rc)
		rc = extract_parse(extract, "", error);
	if (!rc)
		rc = extract_macros(extract, error);
	if (!rc)
		rc = extract_classes(extract, error);
	if (!rc)
		rc = extract_unnamed(extract, unnamed, error);
	if (!rc)
		rc = extract_read_params(extract, params, error);
	if (!rc)
		rc = extract_numbers(extract, error);
	if (!rc)
		rc = extract_write(extract, out, error);
	return rc;
}

int extract_tree(const char *tree, const char *version, const char *data, FILE *out,
		 struct mpu_error *error)
{
	struct extract extract = {.tree = strdup(tree)};
	int rc = extract.tree ? 0 : mpu_fail(error, ENOMEM, "no memory");

	if (!rc)
		rc = check_version(tree, version, error);
	if (!rc)
		rc = extract_all(&extract, data, out, error);
	extract_free(&extract);
	return rc;
}

void extract_free(struct extract *extract)
{
	if (extract->unit)
		clang_disposeTranslationUnit(extract->unit);
	if (extract->index)
		clang_disposeIndex(extract->index);
	for (uint32_t i = 0; i < extract->header_count; i++)
		free(extract->header[i]);
	for (uint32_t i = 0; i < extract->call_count; i++) {
		free(extract->call[i].name);
		free(extract->call[i].params);
		free(extract->call[i].told);
	}
	for (uint32_t i = 0; i < extract->message_count; i++)
		free(extract->message[i].params);
	free(extract->message);
	free(extract->header);
	free(extract->call);
	free(extract->tree);
	*extract = (struct extract){0};
}
