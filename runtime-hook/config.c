#include "runtime-hook/config.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime-hook/confine.h"
#include "runtime-hook/features.h"
#include "runtime-hook/profile.h"
#include "supervisor/mpud-protocol.h"

#include <errno.h>
#include <stdio.h>

/* crun takes these in place of the seccomp section, or beside it. */
static const char *const crun_annotations[] = {"run.oci.seccomp_bpf_data",
					       "run.oci.seccomp.receiver"};

static int refuse_crun_annotations(struct json_object *annotations, struct mpu_error *error)
{
	for (size_t i = 0; annotations && i < sizeof(crun_annotations) / sizeof(char *); i++)
		if (json_object_object_get_ex(annotations, crun_annotations[i], NULL))
			return mpu_fail(error, EBUSY,
					"the annotation %s sets the container's seccomp filter or "
					"listener by itself, so mpu cannot add to it",
					crun_annotations[i]);
	return 0;
}

/* Whether mpud can be reached. Returns 1, 0 where the container is to start without, or -errno with
 * ERROR filled. */
static int check_mpud(const struct hook_settings *settings, const struct optin *optin,
		      struct mpu_error *error)
{
	struct mpu_error cause = {0};
	cleanup_close int connection = mpud_connect(settings->socket, &cause);

	if (connection >= 0)
		return 1;
	if (!optin->ignore_missing)
		return mpu_fail(error, cause.code, "%s", cause.text);
	if (optin->confine)
		return mpu_fail(
		    error, cause.code,
		    "%s; mpu.on-missing=ignore is not for this container, which is to be "
		    "confined",
		    cause.text);
	log_warning("the container starts without mpu, as mpu.on-missing=ignore says",
		    "reason=\"%s\"", cause.text);
	return 0;
}

/* The member NAME of PARENT, an object, made by MAKE when it is not there or null. NULL when it is
 * something else. Borrowed. */
static struct json_object *member_or_new(struct json_object *parent, const char *name,
					 struct json_object *(*make)(void))
{
	struct json_object *member;

	if (!json_object_object_get_ex(parent, name, &member) || !member) {
		member = make();
		json_object_object_add(parent, name, member);
	}
	return json_object_is_type(member, json_type_object) ? member : NULL;
}

static int watch_section(struct json_object *config, const struct hook_settings *settings,
			 const struct optin *optin, struct mpu_error *error)
{
	cleanup_json struct json_object *flags = runtime_seccomp_flags(settings->runtime);
	const struct profile_settings profile_settings = {.socket = settings->socket,
							  .metadata = settings->metadata,
							  .confine = optin->confine,
							  .runtime_flags = flags};
	struct json_object *section = member_or_new(config, "linux", json_object_new_object);

	if (section)
		section = member_or_new(section, "seccomp", profile_unconfined);
	if (!section)
		return mpu_fail(error, EINVAL,
				"the container's config has a linux or seccomp section that is no "
				"object");
	return profile_watch(section, &profile_settings, error);
}

int config_watch(struct json_object *config, const struct hook_settings *settings,
		 struct mpu_error *error)
{
	struct json_object *annotations = json_member(config, "annotations", json_type_object);
	struct optin optin = settings->defaults;
	int result = optin_read(annotations, &optin, error);

	if (result || !optin.enabled)
		return result ? result : CONFIG_UNCHANGED;
	result = refuse_crun_annotations(annotations, error);
	if (result)
		return result;
	result = check_mpud(settings, &optin, error);
	if (result <= 0)
		return result ? result : CONFIG_UNCHANGED;
	result = watch_section(config, settings, &optin, error);
	if (result == PROFILE_ALREADY)
		log_info("the container's seccomp profile sends to mpud already", "socket=%s",
			 settings->socket);
	if (result == PROFILE_DENIES)
		log_warning("the container's seccomp profile denies the NVIDIA driver's RM "
			    "control: mpu has nothing to do",
			    "socket=%s", settings->socket);
	if (result < 0)
		return result;
	return result == PROFILE_CHANGED ? CONFIG_CHANGED : CONFIG_UNCHANGED;
}

int config_refuse(struct json_object *config, const char *reason)
{
	cleanup_free char *path = NULL;
	struct json_object *hooks = member_or_new(config, "hooks", json_object_new_object);
	struct json_object *others = json_member(hooks, "prestart", json_type_array);
	struct json_object *stage = json_object_new_array(), *hook = json_object_new_object();

	if (!hooks || !stage || !hook || asprintf(&path, "/mpu-hook: %s", reason) < 0)
		return -ENOMEM;
	json_object_object_add(hook, "path", json_object_new_string(path));
	json_object_array_add(stage, hook);
	for (size_t i = 0; others && i < json_object_array_length(others); i++)
		json_object_array_add(stage, json_object_get(json_object_array_get_idx(others, i)));
	json_object_object_add(hooks, "prestart", stage);
	return 0;
}

static struct json_object *seccomp_of(struct json_object *config)
{
	return json_member(json_member(config, "linux", json_type_object), "seccomp",
			   json_type_object);
}

int config_check_filter(struct json_object *config, uint32_t confine, struct mpu_error *error)
{
	return confine_check_filter(json_member_string(seccomp_of(config), "listenerMetadata"),
				    confine, error);
}

int config_has_listener(struct json_object *config)
{
	const char *path = json_member_string(seccomp_of(config), "listenerPath");

	return path && path[0];
}
