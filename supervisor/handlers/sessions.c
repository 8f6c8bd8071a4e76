/* NVENC and NVFBC sessions: every release names the processes by global ids, to everybody. */
#include "supervisor/handlers/fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Leaves in ENTRIES those of the first COUNT that the view shows, under its numbers. Returns how
 * many; the rest of SIZE entries is cleared, as the driver clears what it does not use. */
static uint32_t keep_shown(const struct call *call, uint8_t *entries, uint32_t count, uint32_t size)
{
	const struct nvabi_pid_control *layout = call->layout;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint8_t *entry = entries + i * layout->list_stride;
		pid_t shown = fold_to_view(call, (pid_t)get_u32(entry, layout->entry_pid));

		if (!shown)
			continue;
		put_u32(entry, layout->entry_pid, (uint32_t)shown);
		memmove(entries + kept * layout->list_stride, entry, layout->list_stride);
		kept++;
	}
	memset(entries + kept * layout->list_stride, 0, (size - kept) * layout->list_stride);
	return kept;
}

static uint32_t bounded(const struct nvabi_pid_control *layout, uint32_t count)
{
	return count < layout->list_capacity ? count : layout->list_capacity;
}

/* How many sessions the view shows, where only their number was asked for. Asks for all of them. */
static int count_shown(struct call *call, uint32_t *shown)
{
	const struct nvabi_pid_control *layout = call->layout;
	size_t size = (size_t)layout->list_capacity * layout->list_stride;
	bool behind = layout->list_pointer != NVABI_NONE;
	uint8_t *params = calloc(1, call->control.paramsSize);
	uint8_t *entries = behind ? calloc(1, size) : params ? params + layout->list_first : NULL;
	uint32_t status = NV_OK;
	int result = -ENOMEM;

	*shown = 0;
	if (params && entries) {
		put_u32(params, layout->list_count, layout->list_capacity);
		if (behind)
			put_u64(params, layout->list_pointer, (uint64_t)(uintptr_t)entries);
		result = call_execute(call, layout->cmd, params, call->control.paramsSize, &status);
		if (!result && status == NV_OK)
			*shown = keep_shown(call, entries,
					    bounded(layout, get_u32(params, layout->list_count)),
					    layout->list_capacity);
	}
	if (behind)
		free(entries);
	free(params);
	return result;
}

static int correct_count(struct call *call)
{
	uint32_t shown = 0;
	int result = 0;

	if (get_u32(call->params, call->layout->list_count))
		result = count_shown(call, &shown);
	put_u32(call->params, call->layout->list_count, shown);
	return result;
}

/* Where the driver lists none it leaves the table as the target gave it (NVENC), or clears it
 * (NVFBC). Anything else in it would be nobody's. */
static void clear_unlisted(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	size_t size = (size_t)layout->list_capacity * layout->list_stride;

	if (memcmp(call->params + layout->list_first, call->before + layout->list_first, size))
		memset(call->params + layout->list_first, 0, size);
}

static int handle_inline(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	/* The second NVENC call takes a count of 0 for a question after the number. */
	bool only_count =
	    layout->list_pointer == NVABI_NONE && layout->list_count != NVABI_NONE &&
	    !get_u32(call->before, layout->list_count) &&
	    layout->list_capacity == NV2080_CTRL_GPU_NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES;
	int result = call_execute_own(call);
	uint32_t count;

	if (result || call->control.status != NV_OK)
		return result;
	count = bounded(layout, get_u32(call->params, layout->list_count));
	if (only_count || !count)
		clear_unlisted(call);
	if (only_count)
		return correct_count(call);
	if (!count)
		return 0;
	put_u32(call->params, layout->list_count,
		keep_shown(call, call->params + layout->list_first, count, layout->list_capacity));
	return 0;
}

static int handle_behind_pointer(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	uint64_t address = get_u64(call->params, layout->list_pointer);
	uint32_t asked = get_u32(call->params, layout->list_count);
	uint32_t count;
	int result = 0;

	/* Another number of entries than its own the driver never reads. */
	if (address)
		result = call_take_buffer(call, layout->list_pointer,
					  (size_t)asked * layout->list_stride,
					  (size_t)layout->list_capacity * layout->list_stride);
	if (!result)
		result = call_execute_own(call);
	put_u64(call->params, layout->list_pointer, address);
	if (result || call->control.status != NV_OK)
		return result;
	if (!address || !call->buffer.bytes)
		return correct_count(call);
	count = get_u32(call->params, layout->list_count);
	if (!count) {
		memcpy(call->buffer.bytes, call->buffer.before, call->buffer.size);
		return 0;
	}
	put_u32(call->params, layout->list_count,
		keep_shown(call, call->buffer.bytes, count < asked ? count : asked, asked));
	return 0;
}

int handle_sessions(struct call *call)
{
	return call->layout->list_pointer == NVABI_NONE ? handle_inline(call)
							: handle_behind_pointer(call);
}
