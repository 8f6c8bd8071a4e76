/* GPU accounting: the processes of a GPU that live and the last that have ended (gpu_acct.c,
 * client_resource.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simrm/control.h"

enum {
	NV_MAX_LIVE_ACCT_PROCESS = 3872,
	NV_MAX_DEAD_ACCT_PROCESS = 128,
	ACCOUNTING_STATE_ENABLED = 0,
	ACCOUNTING_STATE_DISABLED = 1,
};

struct acct_state_params {
	uint32_t gpuId, pid, state;
};

static struct acct_entry *find_entry(const struct acct_list *list, uint32_t proc_id)
{
	struct acct_entry *entry = list->head;

	while (entry && entry->proc_id != proc_id)
		entry = entry->next;
	return entry;
}

static void append(struct acct_list *list, struct acct_entry *entry)
{
	struct acct_entry **link = &list->head;

	while (*link)
		link = &(*link)->next;
	entry->next = NULL;
	*link = entry;
	list->count++;
}

static void take_out(struct acct_list *list, struct acct_entry *entry)
{
	struct acct_entry **link = &list->head;

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	list->count--;
}

static void drop(struct driver *driver, struct acct_list *list, struct acct_entry *entry)
{
	take_out(list, entry);
	sim_pid_put(&driver->tasks, entry->os_pid);
	free(entry);
}

void acct_clear(struct driver *driver, struct acct_list *list)
{
	while (list->head)
		drop(driver, list, list->head);
}

static void append_bounded(struct driver *driver, struct acct_list *list, unsigned limit,
			   struct acct_entry *entry)
{
	if (list->count >= limit)
		drop(driver, list, list->head);
	append(list, entry);
}

void acct_device_allocated(struct driver *driver, struct client *client, int gpu)
{
	struct acct_list *live = &driver->gpu[gpu].live;
	struct acct_entry *entry = find_entry(live, client->proc_id);

	if (!driver->gpu[gpu].accounting)
		return;
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return;
		entry->proc_id = client->proc_id;
		entry->start_time = now_us();
		if (driver->release.accounting == SPACE_CALLER_NS)
			entry->os_pid = sim_pid_ref(&driver->tasks, client->os_pid);
		append_bounded(driver, live, NV_MAX_LIVE_ACCT_PROCESS, entry);
	}
	entry->refs++;
}

/* What the process is simulated to do, by its clients: the largest of each. */
static void measure(const struct driver *driver, struct acct_entry *entry)
{
	for (const struct client *client = driver->first_client; client; client = client->next) {
		if (client->proc_id != entry->proc_id)
			continue;
		if (client->util[ENGINE_GR] > entry->gpu_util)
			entry->gpu_util = client->util[ENGINE_GR];
		if (client->util[ENGINE_FB] > entry->fb_util)
			entry->fb_util = client->util[ENGINE_FB];
	}
}

static void add_to_dead(struct driver *driver, struct gpu *gpu, struct acct_entry *entry)
{
	struct acct_entry *old = find_entry(&gpu->dead, entry->proc_id);

	if (old)
		drop(driver, &gpu->dead, old);
	append_bounded(driver, &gpu->dead, NV_MAX_DEAD_ACCT_PROCESS, entry);
}

void acct_device_freed(struct driver *driver, struct client *client, int index)
{
	struct gpu *gpu = &driver->gpu[index];
	struct acct_entry *entry = find_entry(&gpu->live, client->proc_id);

	if (!gpu->accounting || !entry || client->sub_process_id)
		return;
	measure(driver, entry);
	if (--entry->refs)
		return;
	if (!entry->on_gpu) {
		drop(driver, &gpu->live, entry);
		return;
	}
	take_out(&gpu->live, entry);
	entry->end_time = now_us();
	sim_pid_put(&driver->tasks, entry->os_pid);
	entry->os_pid = NULL;
	add_to_dead(driver, gpu, entry);
}

int acct_add_dead(struct driver *driver, struct gpu *gpu, const struct acct_entry *record)
{
	struct acct_entry *entry = malloc(sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	*entry = *record;
	add_to_dead(driver, gpu, entry);
	return 0;
}

void acct_channel_allocated(struct driver *driver, struct client *client, int gpu)
{
	struct acct_entry *entry = find_entry(&driver->gpu[gpu].live, client->proc_id);

	if (driver->gpu[gpu].accounting && entry)
		entry->on_gpu = true;
}

/* The driver looks the process up by its global id, through the look-up that GET_PID_INFO uses:
 * where that goes by the caller's numbers it measures nothing, or another process. */
void acct_memory_allocated(struct driver *driver, struct client *client, int gpu,
			   const struct pid_ns *ns)
{
	struct acct_entry *entry = find_entry(&driver->gpu[gpu].live, client->proc_id);
	struct process_memory memory;

	if (!driver->gpu[gpu].accounting || !entry || !ns)
		return;
	memory = find_process_memory(driver, ns, gpu, client->proc_id);
	entry->on_gpu = true;
	if (memory.private_bytes > entry->max_fb_usage)
		entry->max_fb_usage = memory.private_bytes;
}

static struct gpu *named_gpu(struct control_call *call)
{
	int gpu = gpu_of_id(call->driver, *(const uint32_t *)call->params);

	return gpu < 0 ? NULL : &call->driver->gpu[gpu];
}

uint32_t size_acct_state(const struct release *release)
{
	(void)release;
	return sizeof(struct acct_state_params);
}

uint32_t run_set_acct_state(struct control_call *call)
{
	const struct acct_state_params *params = call->params;
	struct gpu *gpu = named_gpu(call);

	if (!gpu || params->state > ACCOUNTING_STATE_DISABLED)
		return NV_ERR_INVALID_ARGUMENT;
	gpu->accounting = params->state == ACCOUNTING_STATE_ENABLED;
	if (!gpu->accounting)
		acct_clear(call->driver, &gpu->live);
	return NV_OK;
}

uint32_t run_get_acct_state(struct control_call *call)
{
	struct acct_state_params *params = call->params;
	const struct gpu *gpu = named_gpu(call);

	if (!gpu)
		return NV_ERR_INVALID_ARGUMENT;
	params->state = gpu->accounting ? ACCOUNTING_STATE_ENABLED : ACCOUNTING_STATE_DISABLED;
	return NV_OK;
}

uint32_t size_acct_proc_info(const struct release *release)
{
	(void)release;
	return sizeof(struct acct_proc_info);
}

/* lookupPid(): the global id of the client that has that number in the caller's namespace, or the
 * number itself. */
static uint32_t lookup_pid(const struct control_call *call, uint32_t pid)
{
	for (const struct client *client = call->driver->first_client; client;
	     client = client->next)
		if (client->os_pid && pid && pid_nr_ns(client->os_pid, call->ns) == pid)
			return client->proc_id;
	return pid;
}

uint32_t run_acct_proc_info(struct control_call *call)
{
	struct acct_proc_info *params = call->params;
	struct gpu *gpu = named_gpu(call);
	struct acct_entry *entry;

	if (!gpu)
		return NV_ERR_INVALID_ARGUMENT;
	if (call->driver->release.accounting != SPACE_GLOBAL && !params->subPid)
		params->pid = lookup_pid(call, params->pid);
	entry = find_entry(&gpu->dead, params->pid);
	if (!entry) {
		entry = find_entry(&gpu->live, params->pid);
		if (!entry || !entry->on_gpu)
			return NV_ERR_OBJECT_NOT_FOUND;
		measure(call->driver, entry);
	}
	params->gpuUtil = entry->gpu_util;
	params->fbUtil = entry->fb_util;
	params->maxFbUsage = entry->max_fb_usage;
	params->startTime = entry->start_time;
	params->endTime = entry->end_time;
	return NV_OK;
}

uint32_t size_acct_pids(const struct release *release)
{
	(void)release;
	return sizeof(struct acct_pids);
}

uint32_t run_acct_pids(struct control_call *call)
{
	struct acct_pids *params = call->params;
	const struct gpu *gpu = named_gpu(call);
	bool global = call->driver->release.accounting == SPACE_GLOBAL;
	uint32_t count = 0;

	if (!gpu)
		return NV_ERR_INVALID_ARGUMENT;
	if (global || pid_ns_is_init(call->ns))
		for (const struct acct_entry *entry = gpu->dead.head; entry; entry = entry->next)
			params->pidTbl[count++] = entry->proc_id;
	for (const struct acct_entry *entry = gpu->live.head; entry; entry = entry->next) {
		if (!entry->on_gpu)
			continue;
		params->pidTbl[count] =
		    entry->os_pid ? pid_nr_ns(entry->os_pid, call->ns) : entry->proc_id;
		count += params->pidTbl[count] != 0;
	}
	params->pidCount = count;
	return NV_OK;
}

uint32_t size_acct_clear(const struct release *release)
{
	(void)release;
	return 2 * sizeof(uint32_t);
}

uint32_t run_acct_clear(struct control_call *call)
{
	struct gpu *gpu = named_gpu(call);

	if (!gpu)
		return NV_ERR_INVALID_ARGUMENT;
	acct_clear(call->driver, &gpu->dead);
	return NV_OK;
}
