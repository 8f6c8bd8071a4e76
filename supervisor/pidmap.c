#include "supervisor/pidmap.h"

#include "base/cleanup.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/members.h"
#include "supervisor/numbers.h"
#include "supervisor/target.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* One descriptor for all threads, for as long as the process lives. */
static int own_namespace(void)
{
	static _Atomic int kept = -1;
	int before = -1, ns = atomic_load(&kept);

	if (ns >= 0)
		return ns;
	ns = nsfs_open_pid(getpid());
	if (ns < 0 || atomic_compare_exchange_strong(&kept, &before, ns))
		return ns;
	close(ns);
	return before;
}

static int climb(pid_t tid, const struct task_status *status, uint64_t *ids, pid_t *numbers,
		 size_t size)
{
	cleanup_close int ns = nsfs_open_pid(tid);
	size_t count = 0;

	if (ns < 0)
		return ns;
	for (unsigned int level = status->levels; level-- > 1 && count < size; count++) {
		int parent = nsfs_parent(ns);

		ids[count] = nsfs_id(ns);
		numbers[count] = status->process[level];
		if (parent < 0)
			return parent;
		close(ns);
		ns = parent;
	}
	return (int)count;
}

int pidmap_namespaces(pid_t tid, uint64_t *ids, pid_t *numbers, size_t size)
{
	struct task_status status;
	int result = task_status_read(tid, &status);

	return result || status.levels == 1 ? result : climb(tid, &status, ids, numbers, size);
}

/* The number of columns alone would mix sibling namespaces: climb from the task's own namespace and
 * compare. */
static int read_numbers(pid_t tid, uint64_t ns_id, struct task_numbers *found)
{
	uint64_t ids[TARGET_LEVELS];
	pid_t numbers[TARGET_LEVELS];
	struct task_status status;
	int count = task_status_read(tid, &status);

	if (count)
		return count;
	if (ns_id && status.levels > 1)
		count = climb(tid, &status, ids, numbers, TARGET_LEVELS);
	*found = (struct task_numbers){.process = status.tgid};
	for (int i = 0; i < count; i++)
		if (ids[i] == ns_id)
			found->number = numbers[i];
	return count < 0 ? count : 0;
}

/* NS_ID of 0: the process alone. Returns nothing but zeros for a task that is not there. */
static struct task_numbers numbers_of(pid_t tid, uint64_t ns_id)
{
	struct task_numbers numbers = {0};
	struct task_identity task;

	if (!task_identity_read(tid, &task) || numbers_find(&task, ns_id, &numbers))
		return numbers;
	if (read_numbers(tid, ns_id, &numbers))
		return (struct task_numbers){0};
	numbers_keep(&task, ns_id, numbers);
	return numbers;
}

pid_t pidmap_process(enum pidmap_method method, pid_t pid)
{
	int process;

	if (method == PIDMAP_NSPID)
		return numbers_of(pid, 0).process;
	process = nsfs_process_in(own_namespace(), pid);
	return process > 0 ? process : 0;
}

pid_t pidmap_to_view(const struct pid_view *view, pid_t pid)
{
	int number;

	if (pid <= 0)
		return 0;
	if (view->host)
		return pidmap_process(view->method, pid);
	if (view->method == PIDMAP_NSPID)
		return numbers_of(pid, view->ns_id).number;
	number = nsfs_process_in(view->ns, pid);
	return number > 0 ? number : 0;
}

struct search {
	const struct pid_view *view;
	const pid_t *in;
	pid_t *out;
	size_t count;
};

static void match(void *context, pid_t host, pid_t number)
{
	struct search *search = context;

	for (size_t i = 0; i < search->count; i++)
		if (search->in[i] == number && pidmap_to_view(search->view, host) == number)
			search->out[i] = host;
}

static bool is_complete(const struct search *search)
{
	for (size_t i = 0; i < search->count; i++)
		if (search->in[i] > 0 && !search->out[i])
			return false;
	return true;
}

void pidmap_from_view(const struct pid_view *view, const pid_t *in, pid_t *out, size_t count)
{
	struct search search = {.view = view, .in = in, .out = out, .count = count};

	memset(out, 0, count * sizeof(*out));
	if (view->host || view->method == PIDMAP_NSFS) {
		for (size_t i = 0; i < count; i++) {
			int host = 0;

			if (in[i] > 0)
				host = view->host ? pidmap_process(view->method, in[i])
						  : nsfs_process_from(view->ns, in[i]);
			if (host > 0 && (!view->host || host == in[i]))
				out[i] = host;
		}
		return;
	}
	/* A number has one process, so who is found needs no further search. */
	members_each_remembered(view, match, &search);
	if (!is_complete(&search))
		members_each(view, match, &search);
}
