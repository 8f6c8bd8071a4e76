/* What a container asks for by its annotations. */
#ifndef RUNTIME_HOOK_OPTIN_H
#define RUNTIME_HOOK_OPTIN_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>

/*
 * annotation      values                          default
 * mpu.enable      1, true, yes, 0, false, no      no; yes where the administrator set --always
 * mpu.view        container, host                 mpud's
 * mpu.policy      auto, always, off               mpud's
 * mpu.shared-pids allow, deny                     mpud's
 * mpu.on-missing  fail, ignore                    fail, or what the administrator set
 */
struct optin {
	bool enabled;
	bool ignore_missing; /* start without mpud when that does not run */
};

/* Reads ANNOTATIONS (an object, or NULL for none) over the administrator's defaults in OPTIN.
 * Returns 0, or -EINVAL with ERROR filled when one of them has a value that it does not take: also
 * for mpu.view, mpu.policy and mpu.shared-pids, which mpud reads. */
int optin_read(struct json_object *annotations, struct optin *optin, struct mpu_error *error);

#endif
