/* Process file descriptors. */
#ifndef SUPERVISOR_KERNEL_PIDFD_H
#define SUPERVISOR_KERNEL_PIDFD_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether pidfd_open() takes a thread id (PIDFD_THREAD, 6.9). Probed once. */
bool pidfd_has_thread(void);

/* A pidfd of thread TID, readable at its end, or, before Linux 6.9, of its process. Returns it, owned by
 * the caller, or -errno. */
int pidfd_of_thread(pid_t tid);

/* A pidfd of the process TGID. Returns it, owned by the caller, or -errno. */
int pidfd_of_process(pid_t tgid);

/* Duplicates descriptor FD of thread TID, which belongs to process TGID: the very open file that
 * the thread's own table holds. Without PIDFD_THREAD it is taken through the thread group's leader,
 * and only when thread and leader share one table or hold the same open file there (-EXDEV when
 * they do not). Returns the duplicate (close-on-exec), owned by the caller, or -errno. Needs ptrace
 * access to the target. USE_THREAD false forces the second way. */
int pidfd_duplicate(pid_t tid, pid_t tgid, int fd, bool use_thread);

/* Duplicates descriptor FD of the process behind PIDFD. Returns the duplicate (close-on-exec), owned by
 * the caller, or -errno. Needs ptrace access. */
int pidfd_take(int pidfd, int fd);

/* Whether the process behind PIDFD has ended. */
bool pidfd_has_ended(int pidfd);

/* Sends SIGNAL to the process behind PIDFD. Returns 0 or -errno. */
int pidfd_signal(int pidfd, int signal);

#endif
