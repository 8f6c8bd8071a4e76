/* Utilisation samples: a ring of samples, a process for each engine in each. */
#include "supervisor/handlers/fold.h"

#include <errno.h>
#include <string.h>

enum { UTIL_BUFFER_MAX = 1 << 20 };

static const uint32_t NO_PROCESS = 0xffffffff;

/* Few processes stand in many samples. */
struct seen_pid {
	uint32_t number, shown;
};

struct cache {
	struct seen_pid pid[64];
	size_t count;
};

/* The number in the view; NO_PROCESS for what it does not show. The host sees also who has just
 * ended. */
static uint32_t translate(const struct call *call, struct cache *cache, uint32_t number)
{
	uint32_t shown;

	for (size_t i = 0; i < cache->count; i++)
		if (cache->pid[i].number == number)
			return cache->pid[i].shown;
	shown = (uint32_t)fold_to_view(call, (pid_t)number);
	if (!shown)
		shown = call->view.host ? number : NO_PROCESS;
	if (cache->count < sizeof(cache->pid) / sizeof(cache->pid[0]))
		cache->pid[cache->count++] = (struct seen_pid){number, shown};
	return shown;
}

/* Kernel addresses are nobody's business. An engine that another container's process used reads as
 * idle. */
static void clean_engine(const struct call *call, struct cache *cache, uint8_t *sample,
			 const struct nvabi_engine_layout *engine)
{
	uint32_t number = get_u32(sample, engine->proc_id);
	uint32_t shown;

	if (engine->os_pid_info != NVABI_NONE)
		put_u64(sample, engine->os_pid_info, 0);
	if (number == 0 || number == NO_PROCESS)
		return;
	shown = translate(call, cache, number);
	put_u32(sample, engine->proc_id, shown);
	if (shown == NO_PROCESS) {
		put_u32(sample, engine->util, 0);
		put_u32(sample, engine->sub_process_id, NO_PROCESS);
	}
}

/* Every sample: count stays 0 on some releases and tracker is only a position. */
static void clean_samples(const struct call *call, uint8_t *samples, size_t count)
{
	const struct nvabi_pid_control *layout = call->layout;
	struct cache cache = {.count = 0};

	for (size_t i = 0; i < count; i++)
		for (uint8_t engine = 0; engine < layout->engine_count; engine++)
			clean_engine(call, &cache, samples + i * layout->list_stride,
				     &layout->engine[engine]);
}

/* V1 has the samples behind a pointer. */
static int handle_behind_pointer(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	uint64_t address = get_u64(call->params, layout->list_pointer);
	size_t size = get_u32(call->params, layout->buffer_size);
	size_t rest = size % layout->list_stride;
	int result = 0;

	if (address)
		result = call_take_buffer(call, layout->list_pointer, size, UTIL_BUFFER_MAX);
	if (!result)
		result = call_execute_own(call);
	put_u64(call->params, layout->list_pointer, address);
	if (result || call->control.status != NV_OK || !call->buffer.bytes)
		return result;
	clean_samples(call, call->buffer.bytes, size / layout->list_stride);
	/* A part of a sample cannot be cleaned: the target keeps its own bytes there. */
	memcpy(call->buffer.bytes + size - rest, call->buffer.before + size - rest, rest);
	return 0;
}

int handle_util_samples(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	int result;

	/* Firmware would take the pointer for an address of its own. */
	if (layout->raw)
		return call_execute_unknown(call);
	if (layout->list_pointer != NVABI_NONE)
		return handle_behind_pointer(call);
	result = call_execute_own(call);
	if (!result && call->control.status == NV_OK)
		clean_samples(call, call->params + layout->list_first, layout->list_capacity);
	return result;
}
