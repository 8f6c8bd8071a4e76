#include "supervisor/handlers/fold.h"

#include "supervisor/confine/proxies.h"

static uint32_t hash(pid_t pid)
{
	return ((uint32_t)pid * 0x9e3779b1U) % PID_SET_SLOTS;
}

static uint32_t find(const struct pid_set *set, pid_t pid)
{
	uint32_t at = hash(pid);

	while (set->slot[at] && set->pid[set->slot[at] - 1] != pid)
		at = (at + 1) % PID_SET_SLOTS;
	return at;
}

bool pid_set_has(const struct pid_set *set, pid_t pid)
{
	return set->slot[find(set, pid)] != 0;
}

bool pid_set_add(struct pid_set *set, pid_t pid)
{
	uint32_t at = find(set, pid);

	if (set->slot[at] || set->count == PID_SET_MAX)
		return false;
	set->pid[set->count++] = pid;
	set->slot[at] = (uint16_t)set->count;
	return true;
}

static bool contains(const pid_t *processes, size_t count, pid_t process)
{
	for (size_t i = 0; i < count; i++)
		if (processes[i] == process)
			return true;
	return false;
}

static pid_t find_target(const struct call *call, pid_t proxy)
{
	if (call->journal)
		return proxies_target_of(call->journal, proxy);
	for (size_t i = 0; call->proxied && i < call->proxied->count; i++)
		if (call->proxied->pair[i].proxy == proxy)
			return call->proxied->pair[i].target;
	return 0;
}

pid_t fold_proxy(const struct call *call, pid_t process)
{
	pid_t target = find_target(call, process);

	return target ? target : process;
}

bool fold_is_proxy(const struct call *call, pid_t process)
{
	return find_target(call, process);
}

pid_t fold_at_driver(const struct call *call, pid_t target)
{
	pid_t proxy = call->journal ? proxies_proxy_of(call->journal, target) : 0;

	for (size_t i = 0; !proxy && call->proxied && i < call->proxied->count; i++)
		if (call->proxied->pair[i].target == target)
			proxy = call->proxied->pair[i].proxy;
	return proxy ? proxy : target;
}

/* NUMBER is that of a proxy, or of one of its threads. */
static size_t fold_target(const struct call *call, pid_t target, pid_t processes[FOLD_MAX])
{
	processes[0] = pidmap_process(call->view.method, target);
	return processes[0] ? 1 : 0;
}

size_t fold_number(const struct call *call, pid_t number, pid_t processes[FOLD_MAX])
{
	pid_t process = pidmap_process(call->view.method, number);
	pid_t target = find_target(call, process ? process : number);
	size_t count = 0;

	if (target)
		return fold_target(call, target, processes);
	if (call->pids->semantics.kind == NVABI_TID)
		count = roster_processes_of_thread(call->roster, number, processes, FOLD_MAX - 1);
	if (!process || contains(processes, count, process))
		return count;
	/* A number that was taken again by a task which has nothing to do with GPUs. Costly to find
	 * out, so only for those that would be shown. */
	if (call->pids->semantics.kind == NVABI_TID && pidmap_to_view(&call->view, process) &&
	    !driver_is_open_in(call->driver, process))
		return count;
	processes[count++] = process;
	return count;
}

pid_t fold_to_view(const struct call *call, pid_t number)
{
	pid_t processes[FOLD_MAX];
	size_t count = fold_number(call, number, processes);

	for (size_t i = 0; i < count; i++) {
		pid_t seen = pidmap_to_view(&call->view, processes[i]);

		if (seen)
			return seen;
	}
	return 0;
}
