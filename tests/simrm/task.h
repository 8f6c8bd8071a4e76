/* Looks at the thread that makes a call as the kernel does when the driver asks: its process, its
 * privilege, its PID namespace; and keeps what the kernel keeps in a struct pid, so that the
 * number of a thread that has ended stays known in every namespace that could see it.
 *
 * "Initial" namespaces are those of simrm itself, which stands for the kernel. */
#ifndef SIMRM_TASK_H
#define SIMRM_TASK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "tests/simrm/release.h"

enum { TASK_NAME = 16, PID_LEVELS = 33 }; /* TASK_COMM_LEN; MAX_PID_NS_LEVEL + 1 */

/* A PID namespace that something still refers to; its open fd keeps the inode from being reused. */
struct pid_ns {
	dev_t dev;
	ino_t ino;
	int fd;
	unsigned level, refs;
	struct pid_ns *parent, *next;
};

/* A struct pid: one number for each namespace from the initial one down. */
struct sim_pid {
	uint64_t address; /* what the kernel's pointer would be */
	uint64_t start_time;
	unsigned refs, levels;
	uint32_t nr[PID_LEVELS];
	struct pid_ns *ns; /* of the last number */
	struct sim_pid *next;
};

struct tasks {
	pthread_mutex_t lock;
	struct pid_ns *namespaces; /* the initial one is the last */
	struct sim_pid *pids;
	uint64_t next_address;
	dev_t user_ns_dev;
	ino_t user_ns_ino;
};

/* One look at a thread. */
struct task {
	pid_t tid, tgid; /* in the initial namespace */
	uid_t euid;
	bool admin; /* capable(CAP_SYS_ADMIN): in the initial user namespace */
	char name[TASK_NAME];
	unsigned levels;
	uint32_t ns_tgid[PID_LEVELS], ns_tid[PID_LEVELS];
};

int tasks_init(struct tasks *tasks, struct mpu_error *error);
void tasks_destroy(struct tasks *tasks);

/* Reads /proc/TID. Returns 0 or -ESRCH. */
int task_look(const struct tasks *tasks, pid_t tid, struct task *task);

/* task_active_pid_ns() of TID, with a reference for pid_ns_put(), or NULL when it is gone. */
struct pid_ns *task_ns_get(struct tasks *tasks, pid_t tid);
void pid_ns_put(struct tasks *tasks, struct pid_ns *ns); /* NULL: nothing */
bool pid_ns_is_init(const struct pid_ns *ns);

/* The struct pid of TASK's thread or process, with a reference for sim_pid_put(); NULL when the
 * task is gone or memory is short. */
struct sim_pid *task_pid_get(struct tasks *tasks, const struct task *task, enum pid_kind kind);
void sim_pid_put(struct tasks *tasks, struct sim_pid *pid); /* NULL: nothing */
struct sim_pid *sim_pid_ref(struct tasks *tasks, struct sim_pid *pid);

/* pid_nr_ns(): the number in NS, 0 where NS cannot see it. */
uint32_t pid_nr_ns(const struct sim_pid *pid, const struct pid_ns *ns);

#endif
