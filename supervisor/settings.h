/* What a container asked for. */
#ifndef SUPERVISOR_SETTINGS_H
#define SUPERVISOR_SETTINGS_H

#include <stdbool.h>

/* Whose PIDs its processes see: those of their own PID namespace, or the host's. */
enum mpu_view { MPU_VIEW_CONTAINER, MPU_VIEW_HOST };

/* Which calls are handled: those that this driver gets wrong, every one that carries PIDs, none. */
enum mpu_policy { MPU_POLICY_AUTO, MPU_POLICY_ALWAYS, MPU_POLICY_OFF };

struct mpu_settings {
	enum mpu_view view;
	enum mpu_policy policy;
	/* Refuse the controls that bind or advertise memory in which the driver writes PIDs. */
	bool deny_shared_pids;
};

/* Parse an option's or annotation's value; false when it is none of the words. */
bool mpu_view_parse(const char *word, enum mpu_view *view);
bool mpu_policy_parse(const char *word, enum mpu_policy *policy);
/* "allow" or "deny" */
bool mpu_shared_pids_parse(const char *word, bool *deny);

#endif
