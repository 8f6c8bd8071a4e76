#include "supervisor/policy.h"

#include <string.h>

_Static_assert((int)NVABI_PID_CONTROLS < (int)WATCH_SLOTS, "a free slot ends every search");

/* Whose numbers a call speaks in this release. Sessions are global in every one. */
static enum nvabi_pid_space space_of(const struct nvabi_pids *pids,
				     const struct nvabi_pid_control *control)
{
	switch (control->call) {
	case NVABI_GET_PIDS:
		return pids->semantics.get_pids;
	case NVABI_GET_PID_INFO:
		return pids->semantics.get_pid_info;
	case NVABI_UTIL_SAMPLES:
		return pids->semantics.util_samples;
	case NVABI_ACCT_PROC_INFO:
	case NVABI_ACCT_PIDS:
		return pids->semantics.accounting;
	default:
		return NVABI_GLOBAL;
	}
}

static bool has_kernel_pointers(const struct nvabi_pid_control *control)
{
	return control->call == NVABI_UTIL_SAMPLES && control->engine_count &&
	       control->engine[0].os_pid_info != NVABI_NONE;
}

/* Some releases name the thread that made the RM client, to callers of the initial namespace too. */
static bool names_threads(const struct nvabi_pids *pids, const struct nvabi_pid_control *control)
{
	return pids->semantics.kind == NVABI_TID && space_of(pids, control) != NVABI_GLOBAL;
}

/* Seen from its own PID namespace: GET_PIDS is never right (every release that translates lists
 * duplicates and may drop a process); GET_PID_INFO is right where it takes the namespace's process
 * ids; all else speaks global numbers somewhere. */
static bool wrong_in_container(const struct nvabi_pids *pids,
			       const struct nvabi_pid_control *control)
{
	if (control->call != NVABI_GET_PID_INFO)
		return true;
	return space_of(pids, control) != NVABI_CALLER_NS || pids->semantics.kind == NVABI_TID;
}

bool policy_handles(const struct nvabi_pids *pids, const struct mpu_settings *settings,
		    const struct nvabi_pid_control *control, bool in_init_ns)
{
	switch (control->call) {
	case NVABI_SHARED_BIND:
	case NVABI_SHARED_ADVERTISE:
		return settings->deny_shared_pids;
	case NVABI_ACCT_STATE:
		return false; /* the PID names a virtual machine: nothing to translate */
	case NVABI_RCERR_REPORT:
		/* Run here it would report on us, and the host's view is what the driver gives. */
		return settings->policy != MPU_POLICY_OFF &&
		       settings->view == MPU_VIEW_CONTAINER && !in_init_ns;
	default:
		break;
	}
	if (settings->policy == MPU_POLICY_OFF)
		return false;
	if (settings->policy == MPU_POLICY_ALWAYS || has_kernel_pointers(control))
		return true;
	if (in_init_ns)
		return names_threads(pids, control);
	if (settings->view == MPU_VIEW_HOST)
		return space_of(pids, control) != NVABI_GLOBAL;
	return wrong_in_container(pids, control);
}

void watch_table_build(struct watch_table *table, const struct nvabi_pids *pids,
		       const struct mpu_settings *settings)
{
	memset(table, 0, sizeof(*table));
	for (uint32_t i = 0; i < pids->control_count; i++) {
		const struct nvabi_pid_control *control = &pids->control[i];
		uint32_t at = watch_hash(control->cmd);

		if (!policy_handles(pids, settings, control, false) &&
		    !policy_handles(pids, settings, control, true))
			continue;
		while (table->slot[at])
			at = (at + 1) % WATCH_SLOTS;
		table->slot[at] = control->cmd;
	}
}
