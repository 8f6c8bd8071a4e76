/* What a container asks for by its annotations. */
#ifndef RUNTIME_HOOK_OPTIN_H
#define RUNTIME_HOOK_OPTIN_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * annotation      values                          default
 * mpu.enable      1, true, yes, 0, false, no      no; yes where the administrator set --always
 * mpu.view        container, host                 mpud's
 * mpu.policy      auto, always, off               mpud's
 * mpu.shared-pids allow, deny                     mpud's
 * mpu.on-missing  fail, ignore                    fail, or what the administrator set
 * mpu.confine     see mpu_confine_parse()         what the administrator set, or not confined
 */
struct optin {
	bool enabled;
	bool ignore_missing; /* start without mpud when that does not run */
	uint32_t confine;    /* see struct mpu_settings */
};

/* Reads ANNOTATIONS (an object, or NULL for none) over the administrator's defaults in OPTIN.
 * mpu.confine opts in by itself, and narrows what the administrator set. Returns 0, or -EINVAL with
 * ERROR filled when one of them has a value that it does not take: also for mpu.view, mpu.policy and
 * mpu.shared-pids, which mpud reads; or when they contradict a confinement: nothing may take that
 * away without a word. */
int optin_read(struct json_object *annotations, struct optin *optin, struct mpu_error *error);

#endif
