/* What /proc says of a task's numbers, remembered while it lives: for kernels that have to be asked by
 * text (PIDMAP_NSPID). All functions may be called from any thread. */
#ifndef SUPERVISOR_NUMBERS_H
#define SUPERVISOR_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* One task, told from every other that has or had its id: /proc makes a new inode for each, and drops
 * that of one who has ended. */
struct task_identity {
	pid_t tid;
	uint64_t inode;
	struct timespec made;
};

/* Finds out who task TID is. Returns false when there is none. */
bool task_identity_read(pid_t tid, struct task_identity *identity);

struct task_numbers {
	pid_t process; /* of the initial namespace, of which the task is part */
	pid_t number;  /* of that process in the namespace asked about; 0 where it is not there */
};

/* The numbers of TASK as they were put down for the namespace NS_ID. Returns false where none are. */
bool numbers_find(const struct task_identity *task, uint64_t ns_id, struct task_numbers *numbers);

/* Puts down NUMBERS, which were read while TASK was the task of its id. */
void numbers_keep(const struct task_identity *task, uint64_t ns_id, struct task_numbers numbers);

#endif
