/* The thread whose call was trapped: who it is, read once at the start of a handled call. */
#ifndef SUPERVISOR_TARGET_H
#define SUPERVISOR_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { TARGET_LEVELS = 32 }; /* MAX_PID_NS_LEVEL of the kernel */

/* What /proc/PID/status says of a thread. Numbers by level: [0] is the reader's own namespace, the
 * last one the thread's own. */
struct task_status {
	pid_t tgid;
	uid_t euid;
	gid_t egid;
	uint64_t capabilities;	    /* effective */
	unsigned int levels;
	pid_t process[TARGET_LEVELS]; /* NStgid */
};

/* Reads the status of thread TID. Returns 0, -ESRCH when it is gone, or -errno. */
int task_status_read(pid_t tid, struct task_status *status);

/* Whether thread TID of process TGID is there and neither a zombie nor dead; also where that cannot
 * be told, for want of a descriptor. */
bool task_may_be_alive(pid_t tgid, pid_t tid);

/* The start of process TGID in clock ticks since boot, which tells it from a later one of the same
 * number; 0 when it is gone. */
uint64_t task_start_ticks(pid_t tgid);

/* Whether the process TGID that began at START may be there still: also where that cannot be told. */
bool task_may_be_there(pid_t tgid, uint64_t start);

/* The same as a time: microseconds since 1970. 0 when the process is gone. It is rounded down to a
 * clock tick; a record of the driver's that began up to TASK_CLOCK_SLACK_US before may still be the
 * process's own. */
uint64_t task_started_us(pid_t tgid);
uint64_t task_ticks_to_us(uint64_t ticks);
/* Now, as the driver's accounting counts it: microseconds since 1970. */
uint64_t task_clock_us(void);
enum { TASK_CLOCK_SLACK_US = 50000 };

/* A calling thread. Owns pid_ns. */
struct target {
	pid_t tid;
	pid_t tgid;
	uid_t euid;
	gid_t egid;
	/* What it may do in the initial user namespace: its effective capabilities when it lives
	 * there, else none. */
	uint64_t capabilities;
	int pid_ns;	    /* descriptor of its PID namespace */
	uint64_t pid_ns_id; /* inode number of it */
};

#define TARGET_NONE ((struct target){.pid_ns = -1})

void target_release(struct target *target);
#define cleanup_target __attribute__((cleanup(target_release)))

/* Identifies thread TID into TARGET, which starts as TARGET_NONE. The caller asks
 * notify_id_valid() afterwards, to know that it was the trapped thread and not a later one of the
 * same number. Returns 0 or -errno. */
int target_identify(pid_t tid, struct target *target);

/* The same without the PID namespace, and of the capabilities those alone that the driver asks after,
 * from STATUS_FD, /proc/TID/status: opened once, and read for every call, since a thread may change who
 * it is. -ESRCH where the thread for which it was opened has ended. */
int target_identify_caller(pid_t tid, int status_fd, struct target *target);

#endif
