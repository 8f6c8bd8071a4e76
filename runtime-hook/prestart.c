#include "runtime-hook/prestart.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "filter/filter.h"
#include "filter/inject.h"
#include "runtime-hook/confine.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* The parent of PID, 0 where that lies outside of this PID namespace, -1 when PID is gone. */
static pid_t parent_of(pid_t pid)
{
	cleanup_free char *path = NULL;
	cleanup_file FILE *status = NULL;
	char line[256];
	int parent;

	if (asprintf(&path, "/proc/%d/status", pid) < 0)
		return -1;
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			return parent;
	return -1;
}

/* The runtime that called this hook, or a program between, is the parent of the container's init.
 * Any other process with that number is not the container's: the number was used anew. */
static int check_kinship(pid_t pid, struct mpu_error *error)
{
	pid_t parent = parent_of(pid);

	if (parent < 0)
		return mpu_fail(error, ESRCH, "the container's process %d is gone", pid);
	for (pid_t elder = getppid(); elder > 1; elder = parent_of(elder))
		if (elder == parent)
			return 0;
	return mpu_fail(error, EINVAL,
			"process %d is no child of the runtime that called this hook, so it is not "
			"the container's",
			pid);
}

static int read_pid(struct json_object *state, pid_t *pid, struct mpu_error *error)
{
	struct json_object *member = json_member(state, "pid", json_type_int);
	int64_t value = member ? json_object_get_int64(member) : 0;

	if (value <= 0 || value > INT_MAX)
		return mpu_fail(error, EINVAL,
				"the container's state has no pid: this hook is for the stages "
				"prestart and createRuntime, when its process is there");
	*pid = (pid_t)value;
	return 0;
}

/* The config of the container's bundle, or NULL with ERROR filled. */
static struct json_object *read_config(struct json_object *state, struct mpu_error *error)
{
	const char *bundle = json_member_string(state, "bundle");
	cleanup_free char *path = NULL;
	struct json_text text = {0};
	struct json_object *config = NULL;

	if (!bundle) {
		mpu_fail(error, EINVAL, "the container's state has no bundle");
		return NULL;
	}
	if (asprintf(&path, "%s/config.json", bundle) < 0)
		return NULL;
	if (json_read_file(path, &text, error) == 0)
		config = json_parse_text(&text, path, error);
	free(text.bytes);
	return config;
}

static int watch_process(struct mpud_container *container, const struct hook_settings *settings,
			 const struct optin *optin, struct mpu_error *error)
{
	cleanup_free char *metadata = confine_metadata(settings->metadata, optin->confine);
	cleanup_filter struct filter_program program = {0};
	cleanup_close int connection = -1, listener = -1;
	struct mpu_error missing = {0};
	unsigned int flags;

	/* 1. Whose process is it? */
	int result = check_kinship(container->pid, error);

	if (result)
		return result;
	if (!metadata && (settings->metadata || optin->confine))
		return mpu_fail(error, ENOMEM, "out of memory");
	if (optin->confine)
		log_warning(
		    "only what the container itself starts is confined: not what is started "
		    "in it from outside, by exec or attach",
		    "container=%s", container->id);

	/* 2. Is mpud there? From step 4 on the container cannot do without. */
	connection = mpud_connect(settings->socket, &missing);
	if (connection < 0 && optin->ignore_missing && !optin->confine) {
		log_warning("the container starts without mpu, as mpu.on-missing=ignore says",
			    "container=%s reason=\"%s\"", container->id, missing.text);
		return 0;
	}
	if (connection < 0)
		return mpu_fail(error, missing.code, "%s", missing.text);

	/* 3. The program. */
	flags = filter_probe_flags(error);
	if (!flags)
		return -error->code;
	result = filter_build_kind(filter_native_architectures(),
				   mpu_confine_filter(optin->confine), &program, error);
	if (result)
		return result;

	/* 4. Into the waiting process, and 5. its listener to mpud. A runtime kills the container
	 * when this fails. */
	container->metadata = metadata;
	container->confine = optin->confine;
	result = filter_inject(container->pid, &program, flags, &listener, error);
	return result ? result : mpud_send_listener(connection, listener, container, error);
}

int prestart_watch(struct json_object *state, const struct hook_settings *settings,
		   struct mpu_error *error)
{
	struct json_object *annotations = json_member(state, "annotations", json_type_object);
	const char *id = json_member_string(state, "id");
	cleanup_json struct json_object *config = NULL;
	struct mpud_container container = {.id = id ? id : "",
					   .bundle = json_member_string(state, "bundle"),
					   .metadata = settings->metadata};
	struct optin optin = settings->defaults;
	int result;

	/* 1. Does the container opt in? Some runtimes tell the annotations in the config only. */
	if (!annotations) {
		config = read_config(state, error);
		if (!config)
			return -error->code;
		annotations = json_member(config, "annotations", json_type_object);
	}
	container.annotations = annotations;
	result = optin_read(annotations, &optin, error);
	if (result || !optin.enabled)
		return result;

	/* 2. A config with a listener sends it by itself, and there can be no second one. */
	if (!config)
		config = read_config(state, error);
	if (!config)
		return -error->code;
	if (config_has_listener(config)) {
		result = config_check_filter(config, optin.confine, error);
		if (result)
			return result;
		log_info("the container's config has a seccomp listener: left alone",
			 "container=%s", container.id);
		return 0;
	}

	/* 3. Its process. */
	result = read_pid(state, &container.pid, error);
	container.process = container.pid;
	return result ? result : watch_process(&container, settings, &optin, error);
}

int prestart_watch_lxc(const struct hook_settings *settings, struct mpu_error *error)
{
	const char *name = getenv("LXC_NAME"), *pid = getenv("LXC_PID");
	struct mpud_container container = {.id = name, .metadata = settings->metadata};

	if (!name || !name[0] || !pid || atoi(pid) <= 0)
		return mpu_fail(error, EINVAL,
				"LXC_NAME and LXC_PID are not set: this is for "
				"lxc.hook.start-host");
	container.pid = container.process = atoi(pid);
	return watch_process(&container, settings, &settings->defaults, error);
}
