/* Calls whose answer lies elsewhere: in memory that the driver shares, or with the caller itself.
 */
#include "supervisor/call.h"

/* The driver's report is about the process that asks, and names it by its host PID. Asked from here
 * it is about us, who never have an error of our own: the target is told, in the driver's own
 * words, that there is no report of it. docs/pid-fields.md says what that costs. A report that
 * there is all the same is of a process that had our number before us. */
int handle_rcerr_report(struct call *call)
{
	int result = call_execute_own(call);

	if (!result && call->control.status == NV_OK)
		call->control.status = NV_ERR_MISSING_TABLE_ENTRY;
	return result;
}

static uint64_t get_mask(const struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;

	return layout->shared_width == 8 ? get_u64(call->params, layout->shared_mask)
					 : get_u32(call->params, layout->shared_mask);
}

/* --shared-pids=deny: memory in which the driver writes host PIDs is not bound. A request that
 * names features is refused only where one of them brings process ids. */
int handle_shared_bind(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;

	if (layout->shared_mask != NVABI_NONE && !(get_mask(call) & layout->shared_bits))
		return call_execute_own(call);
	return call_execute_unknown(call);
}

/* The features that bring process ids are not advertised. */
int handle_shared_advertise(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	int result = call_execute_own(call);
	uint64_t mask;

	if (result || call->control.status != NV_OK || layout->shared_mask == NVABI_NONE)
		return result;
	mask = get_mask(call) & ~(uint64_t)layout->shared_bits;
	if (layout->shared_width == 8)
		put_u64(call->params, layout->shared_mask, mask);
	else
		put_u32(call->params, layout->shared_mask, (uint32_t)mask);
	return 0;
}
