#include "tests/simrm/task.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* Kernel addresses as a container was seen to get them: 0xffff8881.... */
static const uint64_t first_address = 0xffff888100040000;
enum { STRUCT_PID_SIZE = 0x80 };

static unsigned parse_numbers(const char *text, uint32_t number[PID_LEVELS])
{
	unsigned count = 0;

	while (count < PID_LEVELS) {
		char *end;
		unsigned long value = strtoul(text, &end, 10);

		if (end == text)
			break;
		number[count++] = (uint32_t)value;
		text = end;
	}
	return count;
}

static const char *after(const char *line, const char *key)
{
	size_t length = strlen(key);

	return strncmp(line, key, length) ? NULL : line + length;
}

static void parse_status_line(const char *line, struct task *task, uint64_t *caps)
{
	const char *value;
	unsigned real, effective;

	if ((value = after(line, "Name:\t"))) {
		memcpy(task->name, value, strnlen(value, sizeof(task->name) - 1));
		task->name[strcspn(task->name, "\n")] = '\0';
	} else if ((value = after(line, "Tgid:\t"))) {
		task->tgid = (pid_t)strtol(value, NULL, 10);
	} else if ((value = after(line, "Uid:\t"))) {
		if (sscanf(value, "%u %u", &real, &effective) == 2)
			task->euid = effective;
	} else if ((value = after(line, "NStgid:\t"))) {
		task->levels = parse_numbers(value, task->ns_tgid);
	} else if ((value = after(line, "NSpid:\t"))) {
		parse_numbers(value, task->ns_tid);
	} else if ((value = after(line, "CapEff:\t"))) {
		*caps = strtoull(value, NULL, 16);
	}
}

static bool in_init_user_ns(const struct tasks *tasks, pid_t tid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", tid);
	return !stat(path, &st) && st.st_dev == tasks->user_ns_dev &&
	       st.st_ino == tasks->user_ns_ino;
}

int task_look(const struct tasks *tasks, pid_t tid, struct task *task)
{
	char path[64], line[512];
	cleanup_file FILE *file = NULL;
	uint64_t caps = 0;

	*task = (struct task){.tid = tid};
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	file = fopen(path, "re");
	if (!file)
		return -ESRCH;
	while (fgets(line, sizeof(line), file))
		parse_status_line(line, task, &caps);
	if (!task->tgid || !task->levels)
		return -ESRCH;
	task->admin = (caps >> CAP_SYS_ADMIN & 1) && in_init_user_ns(tasks, tid);
	return 0;
}

int tasks_init(struct tasks *tasks, struct mpu_error *error)
{
	struct stat user, pid;
	struct pid_ns *init = calloc(1, sizeof(*init));

	if (!init)
		return mpu_fail(error, ENOMEM, "no memory");
	*tasks = (struct tasks){.namespaces = init, .next_address = first_address};
	pthread_mutex_init(&tasks->lock, NULL);
	init->refs = 1;
	init->fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (init->fd < 0 || fstat(init->fd, &pid) || stat("/proc/self/ns/user", &user))
		return mpu_fail(error, errno,
				"/proc/self/ns: %s; simrm needs a /proc of its own PID namespace",
				strerror(errno));
	init->dev = pid.st_dev;
	init->ino = pid.st_ino;
	tasks->user_ns_dev = user.st_dev;
	tasks->user_ns_ino = user.st_ino;
	return 0;
}

void tasks_destroy(struct tasks *tasks)
{
	while (tasks->namespaces) {
		struct pid_ns *ns = tasks->namespaces;

		tasks->namespaces = ns->next;
		if (ns->fd >= 0)
			close(ns->fd);
		free(ns);
	}
	pthread_mutex_destroy(&tasks->lock);
}

bool pid_ns_is_init(const struct pid_ns *ns)
{
	return ns->level == 0;
}

static void pid_ns_put_locked(struct tasks *tasks, struct pid_ns *ns)
{
	while (ns && --ns->refs == 0) {
		struct pid_ns *parent = ns->parent, **link = &tasks->namespaces;

		while (*link != ns)
			link = &(*link)->next;
		*link = ns->next;
		close(ns->fd);
		free(ns);
		ns = parent;
	}
}

void pid_ns_put(struct tasks *tasks, struct pid_ns *ns)
{
	pthread_mutex_lock(&tasks->lock);
	pid_ns_put_locked(tasks, ns);
	pthread_mutex_unlock(&tasks->lock);
}

/* Takes FD over. Namespaces above are looked up by NS_GET_PARENT; the initial one is always
 * known, so that one which is not below it ends in NULL. */
static struct pid_ns *pid_ns_of_fd(struct tasks *tasks, int fd)
{
	cleanup_close int owned = fd;
	struct pid_ns *ns, *parent;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	for (ns = tasks->namespaces; ns; ns = ns->next) {
		if (ns->dev == st.st_dev && ns->ino == st.st_ino) {
			ns->refs++;
			return ns;
		}
	}
	parent = pid_ns_of_fd(tasks, ioctl(fd, NS_GET_PARENT));
	if (!parent)
		return NULL;
	ns = calloc(1, sizeof(*ns));
	if (!ns) {
		pid_ns_put_locked(tasks, parent);
		return NULL;
	}
	*ns = (struct pid_ns){.dev = st.st_dev,
			      .ino = st.st_ino,
			      .fd = steal_fd(&owned),
			      .level = parent->level + 1,
			      .refs = 1,
			      .parent = parent,
			      .next = tasks->namespaces};
	tasks->namespaces = ns;
	return ns;
}

static struct pid_ns *task_ns_locked(struct tasks *tasks, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", tid);
	return pid_ns_of_fd(tasks, open(path, O_RDONLY | O_CLOEXEC));
}

struct pid_ns *task_ns_get(struct tasks *tasks, pid_t tid)
{
	struct pid_ns *ns;

	pthread_mutex_lock(&tasks->lock);
	ns = task_ns_locked(tasks, tid);
	pthread_mutex_unlock(&tasks->lock);
	return ns;
}

/* Field 22 of /proc/TID/stat: tells a number's next owner from its last. */
static uint64_t start_time(pid_t tid)
{
	char path[64], text[1024];
	cleanup_file FILE *file = NULL;
	const char *at;
	size_t length;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

static struct sim_pid *sim_pid_new(struct tasks *tasks, pid_t tid, uint64_t start,
				   const uint32_t *numbers, unsigned levels)
{
	struct sim_pid *pid = calloc(1, sizeof(*pid));

	if (!pid)
		return NULL;
	pid->ns = task_ns_locked(tasks, tid);
	if (!pid->ns || pid->ns->level + 1 != levels) {
		pid_ns_put_locked(tasks, pid->ns);
		free(pid);
		return NULL;
	}
	pid->address = tasks->next_address;
	tasks->next_address += STRUCT_PID_SIZE;
	pid->start_time = start;
	pid->refs = 1;
	pid->levels = levels;
	memcpy(pid->nr, numbers, levels * sizeof(pid->nr[0]));
	pid->next = tasks->pids;
	tasks->pids = pid;
	return pid;
}

struct sim_pid *task_pid_get(struct tasks *tasks, const struct task *task, enum pid_kind kind)
{
	const uint32_t *numbers = kind == KIND_TID ? task->ns_tid : task->ns_tgid;
	uint64_t start = start_time((pid_t)numbers[0]);
	struct sim_pid *pid;

	pthread_mutex_lock(&tasks->lock);
	for (pid = tasks->pids; pid; pid = pid->next)
		if (pid->nr[0] == numbers[0] && pid->start_time == start)
			break;
	if (pid)
		pid->refs++;
	else
		pid = sim_pid_new(tasks, task->tid, start, numbers, task->levels);
	pthread_mutex_unlock(&tasks->lock);
	return pid;
}

struct sim_pid *sim_pid_ref(struct tasks *tasks, struct sim_pid *pid)
{
	if (!pid)
		return NULL;
	pthread_mutex_lock(&tasks->lock);
	pid->refs++;
	pthread_mutex_unlock(&tasks->lock);
	return pid;
}

void sim_pid_put(struct tasks *tasks, struct sim_pid *pid)
{
	struct sim_pid **link = &tasks->pids;

	if (!pid)
		return;
	pthread_mutex_lock(&tasks->lock);
	if (--pid->refs == 0) {
		while (*link != pid)
			link = &(*link)->next;
		*link = pid->next;
		pid_ns_put_locked(tasks, pid->ns);
		free(pid);
	}
	pthread_mutex_unlock(&tasks->lock);
}

uint32_t pid_nr_ns(const struct sim_pid *pid, const struct pid_ns *ns)
{
	const struct pid_ns *own = pid->ns;

	if (ns->level >= pid->levels)
		return 0;
	while (own && own->level > ns->level)
		own = own->parent;
	return own == ns ? pid->nr[ns->level] : 0;
}
