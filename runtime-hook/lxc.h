/* LXC's own way to mpud: a seccomp profile whose notifications LXC forwards. */
#ifndef RUNTIME_HOOK_LXC_H
#define RUNTIME_HOOK_LXC_H

#include "base/error.h"

/* The profile that Debian's and other packages of LXC give containers. */
#define LXC_COMMON_PROFILE "/usr/share/lxc/config/common.seccomp"

/* Reads the profile PATH, in LXC's version 2, and changes it: what it denied stays denied, RM
 * control and its envelope are forwarded where they were allowed. "none" stands for a profile that
 * denies nothing; NULL for LXC_COMMON_PROFILE, or "none" where that is not there. Returns the text,
 * owned by the caller, or NULL with ERROR filled: EBUSY when it has notifications of somebody
 * else's, ENOTSUP when its rules on ioctl are more than one that allows them all. */
char *lxc_profile(const char *path, struct mpu_error *error);

/* The same, of TEXT, which NAME names in errors. */
char *lxc_profile_watch(const char *text, const char *name, struct mpu_error *error);

#endif
