#include "supervisor/privilege.h"

#include <cap-ng.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>

/* Other processes' memory and descriptors, and to be the target's user in the driver. SYS_ADMIN is
 * used for nothing but to lend it, in the driver, to a target that has it. */
void privilege_drop(enum privilege_role role)
{
	const struct {
		unsigned int capability;
		bool taken, effective;
	} known[] = {{CAP_SYS_PTRACE, true, true},
		     {CAP_SETUID, true, true},
		     {CAP_SETGID, true, true},
		     {CAP_DAC_READ_SEARCH, true, true},
		     {CAP_SYS_ADMIN, true, false},
		     {CAP_KILL, role == PRIVILEGE_RUN, true}};
	enum { COUNT = sizeof(known) / sizeof(known[0]) };
	bool have[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		have[i] = known[i].taken &&
			  capng_have_capability(CAPNG_PERMITTED, known[i].capability);
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < COUNT; i++) {
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_PERMITTED, known[i].capability);
		if (have[i] && known[i].effective && role != PRIVILEGE_KEEPER)
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, known[i].capability);
	}
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
