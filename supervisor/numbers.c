#include "supervisor/numbers.h"

#include "supervisor/kernel/shortage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

/* Processes of one container mostly have neighbouring ids, and so places of their own. */
enum { PLACES = 1 << 14 };

struct kept {
	struct task_identity task;
	uint64_t ns_id;
	struct task_numbers numbers;
};

static struct kept kept[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept *place_of(pid_t tid, uint64_t ns_id)
{
	return &kept[((uint64_t)tid + ns_id * 977) % PLACES];
}

bool task_identity_read(pid_t tid, struct task_identity *identity)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", tid);
	if (tid <= 0 || stat(path, &st)) {
		shortage_note(tid <= 0 ? 0 : errno);
		return false;
	}
	*identity = (struct task_identity){.tid = tid, .inode = st.st_ino, .made = st.st_ctim};
	return true;
}

static bool is_same(const struct task_identity *one, const struct task_identity *other)
{
	return one->tid == other->tid && one->inode == other->inode &&
	       one->made.tv_sec == other->made.tv_sec && one->made.tv_nsec == other->made.tv_nsec;
}

bool numbers_find(const struct task_identity *task, uint64_t ns_id, struct task_numbers *numbers)
{
	const struct kept *place = place_of(task->tid, ns_id);
	bool found;

	pthread_mutex_lock(&lock);
	found = place->ns_id == ns_id && is_same(&place->task, task);
	*numbers = place->numbers;
	pthread_mutex_unlock(&lock);
	return found;
}

void numbers_keep(const struct task_identity *task, uint64_t ns_id, struct task_numbers numbers)
{
	struct task_identity now;

	if (!task_identity_read(task->tid, &now) || !is_same(&now, task))
		return;
	pthread_mutex_lock(&lock);
	*place_of(task->tid, ns_id) = (struct kept){*task, ns_id, numbers};
	pthread_mutex_unlock(&lock);
}
