#include "nvabi/tools/calls.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "nvabi/lines.h"
#include "nvabi/rm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int add(struct seen_calls *calls, uint32_t kind, uint32_t number, uint32_t size,
	       uint32_t times)
{
	struct seen_call *call;

	for (uint32_t i = 0; i < calls->count; i++) {
		call = &calls->call[i];
		if (call->kind != kind || call->number != number)
			continue;
		call->times += times;
		if (!call->size)
			call->size = size;
		return 0;
	}
	call = table_append(&calls->call, &calls->count, sizeof(*call));
	if (!call)
		return -ENOMEM;
	*call = (struct seen_call){kind, number, times, size};
	return 0;
}

/* ---- Logs ---- */

static int read_log_line(struct seen_calls *calls, const char *text, const char *container)
{
	const char *at = strstr(text, "container=");
	char label[128], word[16];
	uint32_t number;
	int end = 0;

	if (!at ||
	    sscanf(at, "container=%127s %15[a-z]=%" SCNx32 " name=%n", label, word, &number,
		   &end) != 3 ||
	    !end)
		return 0;
	if (container && strcmp(container, label))
		return 0;
	for (uint32_t kind = 0; kind < NVABI_POLICY_KINDS; kind++)
		if (!strcmp(nvabi_policy_kind_name(kind), word))
			return add(calls, kind, number, 0, 0);
	calls->modeset += !strcmp(word, "modeset");
	return 0;
}

/* ---- Traces ---- */

static bool member_number(struct json_object *object, const char *name, uint32_t *number)
{
	struct json_object *member = json_member(object, name, json_type_int);
	const char *text = json_member_string(object, name);

	if (member)
		*number = (uint32_t)json_object_get_int64(member);
	else if (text && *text >= '0' && *text <= '9')
		*number = (uint32_t)strtoul(text, NULL, 0);
	else
		return false;
	return true;
}

/* What the escape's parameters tell apart. */
static int add_inner(struct seen_calls *calls, struct json_object *line, uint32_t escape)
{
	struct json_object *argument = json_member(line, "argument", json_type_object);
	struct json_object *params = json_member(argument, "params", json_type_object);
	uint32_t number, size = 0;

	if (member_number(line, "cmd", &number)) {
		member_number(argument, "paramsSize", &size);
		return add(calls, NVABI_CONTROL, number, size, 1);
	}
	if (member_number(line, "hClass", &number))
		return add(calls, NVABI_CLASS, number, 0, 1);
	if (escape == NV_ESC_RM_VID_HEAP_CONTROL && member_number(argument, "function", &number))
		return add(calls, NVABI_HEAP_FUNCTION, number, 0, 1);
	if (escape == NV_ESC_RM_ALLOC_MEMORY && member_number(params, "hClass", &number))
		return add(calls, NVABI_MEMORY_CLASS, number, 0, 1);
	return 0;
}

static int add_object(struct seen_calls *calls, struct json_object *line)
{
	const char *release = json_member_string(line, "release");
	bool is_uvm = json_object_object_get_ex(line, "uvm", NULL);
	uint32_t number;
	int result;

	if (release)
		snprintf(calls->release, sizeof(calls->release), "%s", release);
	if (!json_object_object_get_ex(line, "argument", NULL) ||
	    !member_number(line, "number", &number))
		return 0;
	result = add(calls, is_uvm ? NVABI_UVM : NVABI_ESCAPE, number, 0, 1);
	return result || is_uvm ? result : add_inner(calls, line, number);
}

static int read_trace_line(struct seen_calls *calls, char *text, size_t length, const char *what,
			   struct mpu_error *error)
{
	const struct json_text json = {text, length};
	cleanup_json struct json_object *line = json_parse_text(&json, what, error);

	return line ? add_object(calls, line) : -error->code;
}

int seen_calls_read(struct seen_calls *calls, FILE *file, const char *path, const char *container,
		    struct mpu_error *error)
{
	cleanup_free char *text = NULL;
	size_t room = 0;
	ssize_t length;
	int result = 0;

	for (unsigned int number = 1; !result && (length = getline(&text, &room, file)) >= 0;
	     number++) {
		cleanup_free char *what = NULL;

		if (asprintf(&what, "%s:%u", path, number) < 0)
			return mpu_fail(error, ENOMEM, "%s: no memory", path);
		result = *text == '{' ? read_trace_line(calls, text, (size_t)length, what, error)
				      : read_log_line(calls, text, container);
	}
	if (!result && ferror(file))
		result = mpu_fail(error, EIO, "%s: cannot be read", path);
	return result ? mpu_fail(error, -result, "%s: %s", path, strerror(-result)) : 0;
}

void seen_calls_free(struct seen_calls *calls)
{
	free(calls->call);
	*calls = (struct seen_calls){0};
}
