#include "supervisor/privilege.h"

#include <cap-ng.h>
#include <stddef.h>
#include <sys/prctl.h>

/* Other processes' memory and descriptors, and to be the target's user in the driver. SYS_ADMIN is
 * used for nothing but to lend it, in the driver, to a target that has it. */
void privilege_drop(bool kills)
{
	const struct {
		unsigned int capability;
		capng_type_t sets;
	} kept[] = {{CAP_SYS_PTRACE, CAPNG_EFFECTIVE | CAPNG_PERMITTED},
		    {CAP_SETUID, CAPNG_EFFECTIVE | CAPNG_PERMITTED},
		    {CAP_SETGID, CAPNG_EFFECTIVE | CAPNG_PERMITTED},
		    {CAP_DAC_READ_SEARCH, CAPNG_EFFECTIVE | CAPNG_PERMITTED},
		    {CAP_SYS_ADMIN, CAPNG_PERMITTED},
		    {CAP_KILL, kills ? CAPNG_EFFECTIVE | CAPNG_PERMITTED : 0}};
	bool have[sizeof(kept) / sizeof(kept[0])];

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i].capability);
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (have[i] && kept[i].sets)
			capng_update(CAPNG_ADD, kept[i].sets, kept[i].capability);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
