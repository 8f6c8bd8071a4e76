#include "supervisor/mpud-protocol.h"

#include "base/cleanup.h"
#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static void add_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value ? value : ""));
}

static struct json_object *state_json(const struct mpud_container *container)
{
	struct json_object *message = json_object_new_object();
	struct json_object *state = json_object_new_object();
	struct json_object *fds = json_object_new_array();

	json_object_array_add(fds, json_object_new_string(MPUD_LISTENER_NAME));
	add_string(message, "ociVersion", "1.0.2");
	json_object_object_add(message, "fds", fds);
	json_object_object_add(message, "pid", json_object_new_int(container->process));
	add_string(message, "metadata", container->metadata);
	add_string(state, "ociVersion", "1.0.2");
	add_string(state, "id", container->id);
	add_string(state, "status", "creating");
	json_object_object_add(state, "pid", json_object_new_int(container->pid));
	add_string(state, "bundle", container->bundle);
	if (container->annotations)
		json_object_object_add(state, "annotations",
				       json_object_get(container->annotations));
	json_object_object_add(message, "state", state);
	return message;
}

int mpud_send_listener(int connection, int listener, const struct mpud_container *container,
		       struct mpu_error *error)
{
	cleanup_json struct json_object *message = state_json(container);
	size_t length;
	const char *text =
	    json_object_to_json_string_length(message, JSON_C_TO_STRING_PLAIN, &length);

	if (!text)
		return mpu_fail(error, ENOMEM, "cannot send the listener to mpud: %s",
				strerror(ENOMEM));
	return mpud_send_state(connection, listener, text, length, container->confine != 0, error);
}

static int read_pid(struct json_object *object, const char *what, pid_t *pid,
		    struct mpu_error *error)
{
	struct json_object *member = json_member(object, "pid", json_type_int);
	int64_t value = member ? json_object_get_int64(member) : 0;

	if (!member)
		return mpu_fail(error, EINVAL, "the %s has no pid", what);
	if (value < 0 || value > INT_MAX)
		return mpu_fail(error, EINVAL, "the %s has the pid %lld, which no process has",
				what, (long long)value);
	*pid = (pid_t)value;
	return 0;
}

int mpud_read_state(struct json_object *state, struct mpud_container *container, size_t *index,
		    struct mpu_error *error)
{
	struct json_object *inner = json_member(state, "state", json_type_object);
	struct json_object *fds = json_member(state, "fds", json_type_array);
	size_t count = fds ? json_object_array_length(fds) : 0;
	int result = read_pid(state, "message", &container->process, error);

	if (result)
		return result;
	if (!inner)
		return mpu_fail(error, EINVAL, "the message has no state of a container");
	/* The specification wants it from the status "created" on only. */
	container->pid = container->process;
	if (json_object_object_get_ex(inner, "pid", NULL))
		result = read_pid(inner, "container's state", &container->pid, error);
	if (result)
		return result;
	container->id = json_member_string(inner, "id");
	container->bundle = json_member_string(inner, "bundle");
	container->metadata = json_member_string(state, "metadata");
	container->annotations = json_member(inner, "annotations", json_type_object);
	if (!container->id || !container->id[0])
		return mpu_fail(error, EINVAL, "the container's state has no id");
	for (*index = 0; *index < count; ++*index) {
		const char *name = json_object_get_string(json_object_array_get_idx(fds, *index));

		if (name && strcmp(name, MPUD_LISTENER_NAME) == 0)
			return 0;
	}
	return mpu_fail(error, EINVAL, "the message names no %s among its fds", MPUD_LISTENER_NAME);
}
