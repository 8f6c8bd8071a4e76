/* A container's config.json, changed so that its runtime sends a seccomp listener to mpud. */
#ifndef RUNTIME_HOOK_CONFIG_H
#define RUNTIME_HOOK_CONFIG_H

#include "base/error.h"
#include "runtime-hook/optin.h"

#include <json-c/json.h>

/* What the administrator set for all containers: options of mpu-hook and mpu-runtime. */
struct hook_settings {
	const char *socket;   /* mpud's */
	const char *runtime;  /* the OCI runtime, or NULL where it is not known */
	const char *metadata; /* for listenerMetadata, or NULL */
	struct optin defaults;
};

enum config_outcome {
	CONFIG_UNCHANGED, /* not opted in, or nothing to do: the log says which */
	CONFIG_CHANGED,
};

/* Changes CONFIG in place where its annotations, or the administrator, opt in. Says on the log why
 * an opted-in container is left alone. Returns an enum config_outcome, or -errno with ERROR filled
 * when the container must not start. */
int config_watch(struct json_object *config, const struct hook_settings *settings,
		 struct mpu_error *error);

/* Makes CONFIG one that no runtime starts, for engines that drop what a precreate hook says: its
 * first hook is a program that cannot be there, whose name is REASON, which runtimes quote. Returns
 * 0 or -ENOMEM. */
int config_refuse(struct json_object *config, const char *reason);

/* Whether the filter of CONFIG's listener does for a container with CONFINE. Returns 0, or -EBUSY with
 * ERROR filled. */
int config_check_filter(struct json_object *config, uint32_t confine, struct mpu_error *error);

/* 1 when CONFIG has a seccomp listener, 0 when it has none. */
int config_has_listener(struct json_object *config);

#endif
