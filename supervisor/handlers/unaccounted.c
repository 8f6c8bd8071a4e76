#include "supervisor/handlers/unaccounted.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/kernel/shortage.h"
#include "supervisor/handlers/memory_query.h"
#include "supervisor/members.h"

#include <errno.h>
#include <string.h>

enum { CANDIDATES_MAX = 64, CMD_GET_PIDS = 0x2080018d };

/* A process that has the device open and for which no live number stands. */
struct candidates {
	const struct call *call;
	const struct pid_view *view;
	const struct pid_set *accounted; /* processes of the initial namespace */
	size_t count;
	pid_t host[CANDIDATES_MAX];
	bool too_many;
};

/* All live processes for which the driver lists a number on this GPU, of whatever class. */
static bool list_accounted(const struct call *call, struct pid_set *accounted)
{
	const struct nvabi_pid_control *layout = nvabi_pids_find(call->pids, CMD_GET_PIDS);
	cleanup_free uint8_t *params = layout && layout->size ? calloc(1, layout->size) : NULL;
	uint32_t status, count;
	int result;

	if (!params)
		return false;
	put_u32(params, 0, NV2080_CTRL_GPU_GET_PIDS_ID_TYPE_CLASS);
	put_u32(params, 4, NV20_SUBDEVICE_0);
	result = call_execute(call, CMD_GET_PIDS, params, layout->size, &status);
	shortage_note(-result);
	if (result || status != NV_OK)
		return false;
	count = get_u32(params, layout->list_count);
	for (uint32_t i = 0; i < count && i < layout->list_capacity; i++) {
		pid_t processes[FOLD_MAX];
		size_t folded = fold_number(
			call, (pid_t)get_u32(params, layout->list_first + i * layout->list_stride),
			processes);

		for (size_t j = 0; j < folded; j++)
			pid_set_add(accounted, processes[j]);
	}
	return true;
}

static bool asks_by_process(const struct call *call)
{
	return call->pids->semantics.get_pid_info == NVABI_GLOBAL;
}

static void consider(void *context, pid_t host, pid_t number)
{
	struct candidates *candidates = context;
	const struct call *call = candidates->call;

	if (pid_set_has(candidates->accounted, host) || fold_is_proxy(call, host) ||
	    pidmap_to_view(candidates->view, host) != number ||
	    !driver_is_open_in(call->driver, host))
		return;
	/* Where memory is told by process, who has none on this GPU is none. */
	if (asks_by_process(call) && !memory_is_used_by(call, host))
		return;
	if (candidates->count == CANDIDATES_MAX) {
		candidates->too_many = true;
		return;
	}
	candidates->host[candidates->count++] = host;
}

/* Candidates among the processes that VIEW shows. */
static struct candidates find_candidates(const struct call *call, const struct pid_set *accounted,
					 const struct pid_view *view)
{
	struct candidates candidates = {
		.call = call, .view = view, .accounted = accounted};

	members_each(view, consider, &candidates);
	return candidates;
}

static void add_seen(struct pid_set *found, pid_t number)
{
	if (number)
		pid_set_add(found, number);
}

/* One candidate, as many as there are numbers, or all of them shown: then no process of another
 * container can be taken for one of this. */
static bool is_certain(const struct candidates *all, const struct candidates *shown, size_t stale)
{
	if (all->too_many)
		return false;
	return all->count == 1 || all->count == stale ||
	       (shown->count == all->count && stale > all->count);
}

/* Only the processes that the view shows matter, and they are quickly looked through; everybody
 * else is asked after only to be certain. */
void unaccounted_add(const struct call *call, const pid_t *stale, size_t count,
		     struct pid_set *found)
{
	cleanup_free struct pid_set *accounted = calloc(1, sizeof(*accounted));
	const struct pid_view everything = {.method = call->view.method, .host = true};
	struct candidates shown, all;

	if (!accounted || !list_accounted(call, accounted))
		return;
	shown = find_candidates(call, accounted, &call->view);
	if (!shown.count)
		return;
	all = call->view.host ? shown : find_candidates(call, accounted, &everything);
	if (!is_certain(&all, &shown, count)) {
		log_warning("GPU processes whose first thread on the GPU has ended cannot be told "
			    "apart and are not listed (restart them under mpu)",
			    "container=%s candidates=%zu first_stale=%d", call->label, all.count,
			    stale[0]);
		return;
	}
	for (size_t i = 0; i < shown.count; i++)
		add_seen(found, pidmap_to_view(&call->view, shown.host[i]));
}
