/* Accounting: what processes used, those that have ended among them. The driver knows them by
 * global id alone, and an id may have been another process's before: whose record it is tells its
 * start. */
#include "supervisor/handlers/fold.h"
#include "supervisor/handlers/memory_query.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CMD_GET_PROC_ACCOUNTING_INFO = 0xb03 };

/* The start of the namespace's first process, by which a later namespace of the same inode number
 * is told from an earlier one. */
static uint64_t view_born_ticks(const struct call *call)
{
	const pid_t first = 1;
	pid_t host;

	pidmap_from_view(&call->view, &first, &host, 1);
	return host ? task_start_ticks(host) : UINT64_MAX;
}

/* The number in the view of the process whose record began at START_US under the id HOST, or 0. */
static pid_t owner_of_record(const struct call *call, uint64_t born_ticks, pid_t host,
			     uint64_t start_us)
{
	pid_t processes[FOLD_MAX];
	size_t count;

	if (call->view.host)
		return fold_proxy(call, host);
	count = fold_number(call, host, processes);
	for (size_t i = 0; i < count; i++) {
		pid_t seen = pidmap_to_view(&call->view, processes[i]);
		uint64_t started = task_started_us(processes[i]);

		if (seen && started <= start_us + TASK_CLOCK_SLACK_US)
			return seen;
		/* Somebody else has the id by now, and began before the record did. */
		if (!seen && processes[i] == host && started && started <= start_us)
			return 0;
	}
	return roster_number_of(call->roster, call->view.ns_id, born_ticks, host, start_us);
}

/* Asks the driver for the record of HOST into RECORD (the size of the control's params). Returns 0
 * with STATUS, or a negative errno. */
static int ask_record(const struct call *call, const struct nvabi_pid_control *layout,
		      uint32_t gpu_id, pid_t host, uint8_t *record, uint32_t size, uint32_t *status)
{
	memset(record, 0, size);
	put_u32(record, layout->gpu_id, gpu_id);
	put_u32(record, layout->pid, (uint32_t)host);
	return call_execute(call, layout->cmd, record, size, status);
}

/* Runs the call about HOST; the record must be that of NUMBER, or there is none. */
static int run_for(struct call *call, pid_t host, pid_t number, uint64_t born_ticks)
{
	const struct nvabi_pid_control *layout = call->layout;
	uint64_t start;
	int result;

	put_u32(call->params, layout->pid, (uint32_t)host);
	result = call_execute_own(call);
	put_u32(call->params, layout->pid, (uint32_t)number);
	if (result || call->control.status != NV_OK || call->view.host)
		return result;
	start = get_u64(call->params, layout->acct_start_time);
	if (number && owner_of_record(call, born_ticks, host, start) == number)
		return 0;
	memcpy(call->params, call->before, call->control.paramsSize);
	call->control.status = NV_ERR_OBJECT_NOT_FOUND;
	return 0;
}

/* The field is in and out: the driver may write the host's number back, the caller gets its own.
 * The live process of that number first, then those that had it and have ended, latest first. */
int handle_acct_proc_info(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	pid_t number = (pid_t)get_u32(call->params, layout->pid);
	uint64_t born_ticks = call->view.host ? 0 : view_born_ticks(call);
	pid_t hosts[FOLD_MAX] = {0};
	size_t count = 1;
	int result = 0;

	if (number == 0 || call->view.host)
		return run_for(call, number ? fold_at_driver(call, number) : 0, number, born_ticks);
	pidmap_from_view(&call->view, &number, hosts, 1);
	if (hosts[0])
		hosts[0] = fold_at_driver(call, hosts[0]);
	else
		count = 0;
	count += roster_hosts_of(call->roster, call->view.ns_id, born_ticks, number, hosts + count,
				 FOLD_MAX - count);
	for (size_t i = 0; i < count; i++) {
		result = run_for(call, hosts[i], number, born_ticks);
		if (result || call->control.status != NV_ERR_OBJECT_NOT_FOUND)
			return result;
	}
	return count ? result : run_for(call, NOBODY, number, born_ticks);
}

/* The listed ids whose records belong to processes of the view. An id that names nobody of the
 * view, now or as far as is remembered, costs no question. */
static int translate_records(const struct call *call, uint32_t gpu_id, uint32_t count,
			     struct pid_set *found)
{
	const struct nvabi_pid_control *info =
	    nvabi_pids_find(call->pids, CMD_GET_PROC_ACCOUNTING_INFO);
	uint32_t size = info->size ? info->size : info->assumed_size;
	cleanup_free uint8_t *record = malloc(size);
	uint64_t born_ticks = view_born_ticks(call);
	uint32_t status;
	int result = record ? 0 : -ENOMEM;

	for (uint32_t i = 0; !result && i < count; i++) {
		pid_t host = (pid_t)get_u32(call->params, call->layout->list_first +
							      i * call->layout->list_stride);
		pid_t number;

		if (!fold_to_view(call, host) &&
		    !roster_knows(call->roster, call->view.ns_id, born_ticks, host))
			continue;
		result = ask_record(call, info, gpu_id, host, record, size, &status);
		if (result || status != NV_OK)
			continue;
		number =
		    owner_of_record(call, born_ticks, host, get_u64(record, info->acct_start_time));
		if (number)
			pid_set_add(found, number);
	}
	return result;
}

/* The host sees everybody's; who stood for another there goes by the other's number. */
static void fold_records(const struct call *call, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t at = call->layout->list_first + i * call->layout->list_stride;

		put_u32(call->params, at,
			(uint32_t)fold_proxy(call, (pid_t)get_u32(call->params, at)));
	}
}

int handle_acct_pids(struct call *call)
{
	const struct nvabi_pid_control *layout = call->layout;
	cleanup_free struct pid_set *found = calloc(1, sizeof(*found));
	int result = found ? call_execute_own(call) : -ENOMEM;
	uint32_t count;

	if (result || call->control.status != NV_OK)
		return result;
	count = get_u32(call->params, layout->list_count);
	if (count > layout->list_capacity)
		count = layout->list_capacity;
	if (call->view.host) {
		fold_records(call, count);
		return 0;
	}
	result = translate_records(call, get_u32(call->params, layout->gpu_id), count, found);
	if (result)
		return result;
	memcpy(call->params, call->before, call->control.paramsSize);
	put_u32(call->params, layout->list_count, found->count);
	for (uint32_t i = 0; i < found->count; i++)
		put_u32(call->params, layout->list_first + i * layout->list_stride,
			(uint32_t)found->pid[i]);
	return 0;
}
