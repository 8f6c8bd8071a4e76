/* Options that mpu-hook and mpu-runtime share, and the administrator's file of them. */
#ifndef RUNTIME_HOOK_OPTIONS_H
#define RUNTIME_HOOK_OPTIONS_H

#include "base/error.h"
#include "runtime-hook/config.h"

#include <stdbool.h>

struct options {
	struct hook_settings settings; /* strings borrowed from argv or owned below */
	char socket[512];
	char metadata[128];
	char *file; /* the content of the file, which settings may point into */
};

/* Sets one option by its name without dashes: socket, runtime, always, on-missing, view, policy,
 * confine. VALUE is borrowed, NULL where none was given. Returns 0; -ENOENT for another name; -EINVAL with
 * ERROR filled for a bad value. */
int options_set(struct options *options, const char *name, const char *value,
		struct mpu_error *error);

/* Reads lines of "name" or "name = value" from PATH, # starting a comment. A file that is not
 * there is none. Returns 0 or -errno with ERROR filled. */
int options_read_file(struct options *options, const char *path, struct mpu_error *error);

/* Fills in what was not set. Returns 0 or -errno with ERROR filled. */
int options_complete(struct options *options, struct mpu_error *error);

#endif
