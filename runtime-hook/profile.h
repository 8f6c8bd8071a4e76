/* The seccomp section of a config.json, or a profile file of Docker, containerd, podman or the
 * kubelet: changed so that the runtime's own filter sends RM control to mpud. */
#ifndef RUNTIME_HOOK_PROFILE_H
#define RUNTIME_HOOK_PROFILE_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct profile_settings {
	const char *socket;   /* becomes listenerPath */
	const char *metadata; /* becomes listenerMetadata, or NULL */
	uint32_t confine;     /* see struct mpu_settings; becomes a part of listenerMetadata */
	/* Filter flags that the runtime says it supports: an array of strings, or NULL where that
	 * is not known. */
	struct json_object *runtime_flags;
};

enum profile_outcome {
	PROFILE_CHANGED,
	PROFILE_ALREADY, /* it sends to the same socket already */
	PROFILE_DENIES,	 /* it lets no RM control through: there is nothing to hear of */
};

/* A profile that allows everything, for a container without one: all architectures whose system
 * calls a process on this machine can make. Returns a reference, or NULL without memory. */
struct json_object *profile_unconfined(void);

/* Reads the profile PATH; "none" and NULL stand for profile_unconfined(). Returns a reference, or
 * NULL with ERROR filled. */
struct json_object *profile_read(const char *path, struct mpu_error *error);

/* Changes PROFILE in place. What it denied stays denied, what it allowed stays allowed; RM control
 * and its envelope, or all that a confined container is watched for, go to the listener where they were
 * allowed. Returns an enum profile_outcome, or -errno with ERROR filled and PROFILE in an undefined
 * state: -EBUSY when it has a listener of somebody else's, or one of ours with another filter than
 * CONFINE needs, -EINVAL when it is malformed, -ENOTSUP when its rules on ioctl contradict one
 * another. */
int profile_watch(struct json_object *profile, const struct profile_settings *settings,
		  struct mpu_error *error);

/* The same for a profile that is of no use unless it is changed. Returns 0 or -errno with ERROR
 * filled. */
int profile_watch_or_fail(struct json_object *profile, const struct profile_settings *settings,
			  struct mpu_error *error);

#endif
