#include "runtime-hook/options.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/settings.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static int bad_value(const char *name, const char *value, const char *words,
		     struct mpu_error *error)
{
	return mpu_fail(error, EINVAL, "%s=%.64s: %s", name, value ? value : "", words);
}

static int set_on_missing(struct options *options, const char *value, struct mpu_error *error)
{
	bool ignore = value && strcmp(value, "ignore") == 0;

	if (!ignore && !(value && strcmp(value, "fail") == 0))
		return bad_value("on-missing", value, "it takes fail or ignore", error);
	options->settings.defaults.ignore_missing = ignore;
	return 0;
}

/* Adds a word to the listener's metadata, which mpud reads as it reads annotations. */
static int add_metadata(struct options *options, const char *name, const char *value)
{
	size_t used = strlen(options->metadata);

	snprintf(options->metadata + used, sizeof(options->metadata) - used, "%smpu.%s=%s",
		 used ? " " : "", name, value);
	options->settings.metadata = options->metadata;
	return 0;
}

static int set_path(const char **path, const char *name, const char *value, struct mpu_error *error)
{
	if (!value || !value[0])
		return bad_value(name, value, "it takes a path", error);
	*path = value;
	return 0;
}

static int set_confine(struct options *options, const char *value, struct mpu_error *error)
{
	struct mpu_error cause = {0};

	if (mpu_confine_parse(value ? value : "", &options->settings.defaults.confine, &cause))
		return bad_value("confine", value, cause.text, error);
	return 0;
}

int options_set(struct options *options, const char *name, const char *value,
		struct mpu_error *error)
{
	enum mpu_policy policy;
	enum mpu_view view;

	if (strcmp(name, "socket") == 0)
		return set_path(&options->settings.socket, name, value, error);
	if (strcmp(name, "runtime") == 0)
		return set_path(&options->settings.runtime, name, value, error);
	if (strcmp(name, "on-missing") == 0)
		return set_on_missing(options, value, error);
	if (strcmp(name, "always") == 0) {
		if (value && strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return bad_value(name, value, "it takes yes or no", error);
		options->settings.defaults.enabled = !value || strcmp(value, "yes") == 0;
		return 0;
	}
	if (strcmp(name, "view") == 0)
		return value && mpu_view_parse(value, &view)
			   ? add_metadata(options, name, value)
			   : bad_value(name, value, "it takes container or host", error);
	if (strcmp(name, "confine") == 0)
		return set_confine(options, value, error);
	if (strcmp(name, "policy") == 0)
		return value && mpu_policy_parse(value, &policy)
			   ? add_metadata(options, name, value)
			   : bad_value(name, value, "it takes auto, always or off", error);
	return -ENOENT;
}

static char *trim(char *text)
{
	size_t length;

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
	return text;
}

static int read_line(struct options *options, char *line, const char *path, struct mpu_error *error)
{
	char *value, *name;
	int result;

	line[strcspn(line, "#")] = '\0';
	value = strchr(line, '=');
	if (value)
		*value++ = '\0';
	name = trim(line);
	if (!name[0] && !value)
		return 0;
	result = options_set(options, name, value ? trim(value) : NULL, error);
	if (result == -ENOENT)
		return mpu_fail(error, EINVAL, "%s: there is no setting %.64s", path, name);
	return result;
}

int options_read_file(struct options *options, const char *path, struct mpu_error *error)
{
	struct mpu_error failure = {0};
	struct json_text text = {0};
	int result = json_read_file(path, &text, &failure);
	char *rest;

	if (result == -ENOENT)
		return 0;
	if (result)
		return mpu_fail(error, failure.code, "%s", failure.text);
	options->file = rest = text.bytes;
	while (!result && rest) {
		char *line = strsep(&rest, "\n");

		result = read_line(options, line, path, error);
	}
	return result;
}

int options_complete(struct options *options, struct mpu_error *error)
{
	if (options->settings.defaults.confine && options->settings.metadata &&
	    strstr(options->settings.metadata, "mpu.policy=off"))
		return mpu_fail(error, EINVAL,
				"confine and policy=off contradict one another: the calls of a "
				"confined container that carry PIDs are always corrected");
	if (options->settings.socket)
		return 0;
	options->settings.socket = options->socket;
	return mpud_default_socket(options->socket, sizeof(options->socket), error);
}
