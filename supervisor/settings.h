/* What a container asked for. */
#ifndef SUPERVISOR_SETTINGS_H
#define SUPERVISOR_SETTINGS_H

#include "base/error.h"
#include "filter/filter.h"
#include "nvabi/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose PIDs its processes see: those of their own PID namespace, or the host's. */
enum mpu_view { MPU_VIEW_CONTAINER, MPU_VIEW_HOST };

/* Which calls are handled: those that this driver gets wrong, every one that carries PIDs, none. */
enum mpu_policy { MPU_POLICY_AUTO, MPU_POLICY_ALWAYS, MPU_POLICY_OFF };

/* The driver calls that a container may make: NVABI_CAP_* and these. MPU_CONFINE_ON is always among
 * them, so that 0 means a container that is not confined, and MPU_CONFINE_ON alone one that may
 * make none. */
enum { MPU_CONFINE_ON = 1 << 28, MPU_CONFINE_LOG = 1 << 29, MPU_CONFINE_STRICT = 1 << 30 };

struct mpu_settings {
	enum mpu_view view;
	enum mpu_policy policy;
	/* Refuse the controls that bind or advertise memory in which the driver writes PIDs. */
	bool deny_shared_pids;
	uint32_t confine;
};

/* Parse an option's or annotation's value; false when it is none of the words. */
bool mpu_view_parse(const char *word, enum mpu_view *view);
bool mpu_policy_parse(const char *word, enum mpu_policy *policy);
/* "allow" or "deny" */
bool mpu_shared_pids_parse(const char *word, bool *deny);

/* Words of NVIDIA_DRIVER_CAPABILITIES (at least one), "log" and "strict", with commas between, in
 * any order. Returns 0, or -EINVAL with ERROR filled by what is wrong with them and CONFINE
 * untouched. */
int mpu_confine_parse(const char *words, uint32_t *confine, struct mpu_error *error);

/* The words of CONFINE, as mpu_confine_parse() takes them; "none" where it has no capability, ""
 * where it is 0. Returns WORDS. */
enum { MPU_CONFINE_TEXT = 128 };
const char *mpu_confine_words(uint32_t confine, char words[MPU_CONFINE_TEXT]);

/* The filter that a container with CONFINE needs. */
enum filter_kind mpu_confine_filter(uint32_t confine);

/* Whether a filter of KIND shows all that a container with CONFINE must be watched for, and is for
 * such a container. Returns 0, or -EINVAL with ERROR filled. */
int mpu_confine_check_filter(uint32_t confine, enum filter_kind kind, struct mpu_error *error);

/* The word of a listener's metadata that says which filter the listener is of (filter_kind_name()).
 */
#define MPU_FILTER_WORD "mpu.filter"

/* Reads it from METADATA (or NULL). Without the word it is FILTER_PIDS. Returns 0, or -EINVAL where
 * its value is none, or it stands there twice. */
int mpu_filter_of(const char *metadata, enum filter_kind *kind);

/* What is left of WISH below MOST, where both may be 0: capabilities that both have, strict where
 * either says so, log where neither refuses. */
uint32_t mpu_confine_narrow(uint32_t most, uint32_t wish);

/* A confined container's calls that carry PIDs are all handled: sets the policy of confined
 * SETTINGS. Returns 0, or -EINVAL with ERROR filled where they say that none shall be. */
int mpu_settings_complete(struct mpu_settings *settings, struct mpu_error *error);

#endif
