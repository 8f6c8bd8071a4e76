/* The hook for containers whose config.json could not be changed. */
#ifndef RUNTIME_HOOK_PRESTART_H
#define RUNTIME_HOOK_PRESTART_H

#include "base/error.h"
#include "runtime-hook/config.h"

#include <json-c/json.h>

/* Puts the filter into the init process of the container that STATE (OCI runtime state) tells of,
 * and hands its listener to mpud. A container that does not opt in, and one whose config has a
 * listener already, is left alone. Returns 0, or -errno with ERROR filled when the container must
 * not start. */
int prestart_watch(struct json_object *state, const struct hook_settings *settings,
		   struct mpu_error *error);

/* The same for LXC's hook "start-host", whose environment names the container and its process. LXC
 * has no annotations: the hook in a container's config is the opt-in. */
int prestart_watch_lxc(const struct hook_settings *settings, struct mpu_error *error);

#endif
