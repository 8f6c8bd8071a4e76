#include "supervisor/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEEPER	(1u << PRIVILEGE_KEEPER)
#define WORKERS (1u << PRIVILEGE_WORKER | 1u << PRIVILEGE_RUN)
#define RUN	(1u << PRIVILEGE_RUN)
#define NURSERY (1u << PRIVILEGE_NURSERY)

/* Other processes' memory and descriptors, and to be the target's user in the driver. SYS_ADMIN is
 * used for nothing but to lend it, in the driver, to a target that has it. An ordinary user's
 * containers have cgroups that are his: only DAC_OVERRIDE puts a process there. */
static const struct {
	unsigned int capability;
	unsigned int permitted, effective; /* for which roles */
} known[] = {
    {CAP_SYS_PTRACE, KEEPER | WORKERS, WORKERS},
    {CAP_SETUID, KEEPER | WORKERS | NURSERY, WORKERS | NURSERY},
    {CAP_SETGID, KEEPER | WORKERS | NURSERY, WORKERS | NURSERY},
    {CAP_DAC_READ_SEARCH, KEEPER | WORKERS, WORKERS},
    {CAP_SYS_ADMIN, KEEPER | WORKERS | NURSERY, 0},
    {CAP_KILL, RUN, RUN},
    {CAP_DAC_OVERRIDE, NURSERY, NURSERY},
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static uint64_t bit(unsigned int capability)
{
	return UINT64_C(1) << capability;
}

static int get(struct capability_sets *sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	*sets = (struct capability_sets){0};
	if (syscall(SYS_capget, &header, data))
		return -errno;
	*sets = (struct capability_sets){
		.permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
		.effective = data[0].effective | (uint64_t)data[1].effective << 32};
	return 0;
}

int privilege_set(struct capability_sets sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{.permitted = (uint32_t)sets.permitted, .effective = (uint32_t)sets.effective},
		{.permitted = (uint32_t)(sets.permitted >> 32),
		 .effective = (uint32_t)(sets.effective >> 32)}};

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

bool privilege_has(unsigned int capability)
{
	struct capability_sets sets;

	return !get(&sets) && sets.effective & bit(capability);
}

bool privilege_may(unsigned int capability)
{
	struct capability_sets sets;

	return !get(&sets) && sets.permitted & bit(capability);
}

/* What ROLE takes of what is there. */
static struct capability_sets choose(enum privilege_role role, uint64_t permitted)
{
	struct capability_sets sets = {0};

	for (size_t i = 0; i < KNOWN; i++) {
		uint64_t one = permitted & bit(known[i].capability);

		sets.permitted |= known[i].permitted & 1u << role ? one : 0;
		sets.effective |= known[i].effective & 1u << role ? one : 0;
	}
	return sets;
}

int privilege_find(enum privilege_role role, struct capability_sets *sets)
{
	int result = get(sets);

	if (!result)
		*sets = choose(role, sets->permitted);
	return result;
}

/* A thread that is the target's root in the driver must not lose its rights on its way back to a
 * user who is none; execute.c says for itself which are effective. */
int privilege_drop(enum privilege_role role, struct mpu_error *error)
{
	struct capability_sets sets;
	int result = privilege_find(role, &sets);

	if (result)
		return mpu_fail(error, -result, "cannot tell one's own capabilities: %s",
				strerror(-result));
	result = privilege_set(sets);
	if (result)
		return mpu_fail(error, -result, "cannot give up capabilities: %s",
				strerror(-result));
	prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return 0;
}
