#include "supervisor/pidmap.h"

#include "base/cleanup.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/shortage.h"
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

pid_t pidmap_process(enum pidmap_method method, pid_t pid)
{
	struct task_status status;
	int process;

	if (method == PIDMAP_NSFS) {
		process = nsfs_process_in(own_namespace(), pid);
		return process > 0 ? process : 0;
	}
	return task_status_read(pid, &status) ? 0 : status.tgid;
}

int pidmap_namespaces(pid_t tid, uint64_t *ids, pid_t *numbers, size_t size)
{
	struct task_status status;
	cleanup_close int ns = -1;
	int result = task_status_read(tid, &status);
	size_t count = 0;

	if (result || status.levels == 1)
		return result;
	ns = nsfs_open_pid(tid);
	if (ns < 0)
		return ns;
	for (unsigned int level = status.levels; level-- > 1 && count < size; count++) {
		int parent = nsfs_parent(ns);

		ids[count] = nsfs_id(ns);
		numbers[count] = status.process[level];
		if (parent < 0)
			return parent;
		close(ns);
		ns = parent;
	}
	return (int)count;
}

/* The number of columns alone would mix sibling namespaces: climb from the task's own namespace and
 * compare. */
static pid_t number_in(uint64_t ns_id, pid_t pid)
{
	uint64_t ids[TARGET_LEVELS];
	pid_t numbers[TARGET_LEVELS];
	int count = pidmap_namespaces(pid, ids, numbers, TARGET_LEVELS);

	for (int i = 0; i < count; i++)
		if (ids[i] == ns_id)
			return numbers[i];
	return 0;
}

pid_t pidmap_to_view(const struct pid_view *view, pid_t pid)
{
	int number;

	if (pid <= 0)
		return 0;
	if (view->host)
		return pidmap_process(view->method, pid);
	if (view->method == PIDMAP_NSPID)
		return number_in(view->ns_id, pid);
	number = nsfs_process_in(view->ns, pid);
	return number > 0 ? number : 0;
}

void pidmap_each(const struct pid_view *view,
		 void (*visit)(void *context, pid_t host, pid_t number), void *context)
{
	cleanup_dir DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (errno = 0, entry = readdir(dir))) {
		pid_t host = (pid_t)strtol(entry->d_name, NULL, 10);
		pid_t number = pidmap_to_view(view, host);

		if (number)
			visit(context, host, number);
	}
	shortage_note(errno);
}

struct search {
	const pid_t *in;
	pid_t *out;
	size_t count;
};

static void match(void *context, pid_t host, pid_t number)
{
	struct search *search = context;

	for (size_t i = 0; i < search->count; i++)
		if (search->in[i] == number)
			search->out[i] = host;
}

void pidmap_from_view(const struct pid_view *view, const pid_t *in, pid_t *out, size_t count)
{
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
	pidmap_each(view, match, &(struct search){.in = in, .out = out, .count = count});
}
