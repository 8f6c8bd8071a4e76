/* GET_PIDS and GET_PID_INFO: who uses the GPU, and how much memory. */
#include "supervisor/handlers/fold.h"
#include "supervisor/handlers/memory_query.h"
#include "supervisor/handlers/unaccounted.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/members.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* A list that ends at the driver's limit may have lost processes of this container where it came full of
 * others'. Whoever has memory on this GPU belongs to it. */
struct missing {
	const struct call *call;
	struct pid_set *found;
	bool are_many; /* more than are asked about at once: only who has a device open is */
	size_t count;
	pid_t host[MEMORY_USERS_MAX], number[MEMORY_USERS_MAX];
};

static void add_who_uses_memory(struct missing *missing)
{
	bool uses[MEMORY_USERS_MAX];

	memory_find_users(missing->call, missing->host, missing->count, uses);
	for (size_t i = 0; i < missing->count; i++)
		if (uses[i])
			pid_set_add(missing->found, missing->number[i]);
	missing->count = 0;
}

static void make_room(struct missing *missing)
{
	size_t count = 0;

	for (size_t i = 0; i < missing->count && !missing->are_many; i++)
		if (driver_is_open_in(missing->call->driver, missing->host[i])) {
			missing->host[count] = missing->host[i];
			missing->number[count++] = missing->number[i];
		}
	if (!missing->are_many)
		missing->count = count;
	missing->are_many = true;
	if (missing->count == MEMORY_USERS_MAX)
		add_who_uses_memory(missing);
}

static void consider(void *context, pid_t host, pid_t number)
{
	struct missing *missing = context;
	const struct call *call = missing->call;

	if (pid_set_has(missing->found, number) || fold_is_proxy(call, host) ||
	    pidmap_to_view(&call->view, host) != number)
		return;
	if (missing->are_many && !driver_is_open_in(call->driver, host))
		return;
	if (missing->count == MEMORY_USERS_MAX)
		make_room(missing);
	missing->host[missing->count] = host;
	missing->number[missing->count++] = number;
}

/* True once in a while. */
static bool is_worth_a_line(void)
{
	enum { PAUSE_MS = 60000 };
	static _Atomic uint64_t last_ms;
	struct timespec now;
	uint64_t before = atomic_load(&last_ms), now_ms;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return (!before || now_ms - before >= PAUSE_MS) &&
	       atomic_compare_exchange_strong(&last_ms, &before, now_ms);
}

static void add_beyond_limit(const struct call *call, struct pid_set *found)
{
	/* Where threads are asked about, each process is many questions. */
	struct missing missing = {.call = call,
				  .found = found,
				  .are_many = call->pids->semantics.kind == NVABI_TID};

	if (is_worth_a_line())
		log_warning("more processes use the GPU than the driver lists: the container's own "
			    "are looked up",
			    "container=%s limit=%u", call->label, call->layout->list_capacity);
	members_each(&call->view, consider, &missing);
	if (missing.count)
		add_who_uses_memory(&missing);
}

static void add_shown(const struct call *call, pid_t process, struct pid_set *found)
{
	pid_t seen = pidmap_to_view(&call->view, fold_proxy(call, process));

	if (seen)
		pid_set_add(found, seen);
}

/* What the driver listed, as the view shows it: threads folded, each process once. */
static void translate_list(const struct call *call, uint32_t count, struct pid_set *found)
{
	const struct nvabi_pid_control *layout = call->layout;
	pid_t stale[NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT];
	size_t stale_count = 0;

	for (uint32_t i = 0; i < count; i++) {
		pid_t number = (pid_t)get_u32(call->params,
					      layout->list_first + i * layout->list_stride);
		pid_t processes[FOLD_MAX];
		size_t folded;

		if (call->pids->semantics.kind != NVABI_TID) {
			add_shown(call, number, found);
			continue;
		}
		folded = fold_number(call, number, processes);

		if (!folded && stale_count < NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT)
			stale[stale_count++] = number;
		for (size_t j = 0; j < folded; j++)
			add_shown(call, processes[j], found);
	}
	if (stale_count)
		unaccounted_add(call, stale, stale_count, found);
}

int handle_get_pids(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	cleanup_free struct pid_set *found = calloc(1, sizeof(*found));
	uint32_t count;
	int result;

	if (!found)
		return -ENOMEM;
	result = call_execute_own(call);
	if (result || call->control.status != NV_OK)
		return result;
	count = get_u32(call->params, layout->list_count);
	if (count > layout->list_capacity)
		count = layout->list_capacity;
	translate_list(call, count, found);
	if (count == layout->list_capacity && found->count < count && !call->view.host)
		add_beyond_limit(call, found);
	if (found->count > layout->list_capacity)
		found->count = layout->list_capacity;
	/* What lies behind the list is the caller's own, as the driver leaves it. */
	memcpy(call->params, call->before, call->control.paramsSize);
	put_u32(call->params, layout->list_count, found->count);
	for (uint32_t i = 0; i < found->count; i++)
		put_u32(call->params, layout->list_first + i * layout->list_stride,
			(uint32_t)found->pid[i]);
	return 0;
}

/* The processes that the entries name. 0 stays 0: the driver has an answer of its own for that.
 * What names nobody in the view must name nobody for the driver either. */
static void translate_entries(const struct call *call, uint32_t stride,
			      struct memory_query *queries, uint32_t count)
{
	const struct nvabi_pid_control *layout = call->layout;
	pid_t numbers[NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT];
	pid_t hosts[NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT];

	for (uint32_t i = 0; i < count; i++)
		numbers[i] = (pid_t)get_u32(call->params,
					    layout->list_first + i * stride + layout->entry_pid);
	pidmap_from_view(&call->view, numbers, hosts, count);
	for (uint32_t i = 0; i < count; i++) {
		queries[i].entry = call->params + layout->list_first + i * stride;
		queries[i].host = hosts[i] || !numbers[i] ? hosts[i] : NOBODY;
	}
}

int handle_get_pid_info(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	uint32_t stride = nvabi_pid_info_stride(call->control.paramsSize);
	uint32_t count = get_u32(call->params, layout->list_count);
	struct memory_query queries[NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT];

	if (!count || count > NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT)
		return call_execute_own(call);
	translate_entries(call, stride, queries, count);
	return memory_query(call, layout, call->control.paramsSize, stride, queries, count,
			    &call->control.status);
}
