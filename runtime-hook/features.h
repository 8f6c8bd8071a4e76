/* What an OCI runtime says of itself. */
#ifndef RUNTIME_HOOK_FEATURES_H
#define RUNTIME_HOOK_FEATURES_H

#include <json-c/json.h>

/* The seccomp filter flags that RUNTIME, a program, supports, as `RUNTIME features` tells (OCI
 * features.md: linux.seccomp.supportedFlags), or as is known of its version. Returns a new
 * reference to an array of strings; NULL where RUNTIME is NULL, does not know the command or does
 * not tell: then no flag may be set. */
struct json_object *runtime_seccomp_flags(const char *runtime);

#endif
