/* PID namespaces as nsfs shows them. */
#ifndef SUPERVISOR_KERNEL_NSFS_H
#define SUPERVISOR_KERNEL_NSFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The inode numbers that every kernel gives its first namespaces (include/linux/proc_ns.h). */
#define NSFS_INIT_USER UINT64_C(0xeffffffd)
#define NSFS_INIT_PID  UINT64_C(0xeffffffc)

/* Whether the kernel translates PIDs itself (NS_GET_TGID_IN_PIDNS and kin, 6.11). Probed once. */
bool nsfs_translates(void);

/* Opens the PID namespace of thread TID. Returns a descriptor owned by the caller, or -errno. It
 * keeps the namespace, and so its inode number, from being used again. */
int nsfs_open_pid(pid_t tid);

/* The inode number of the namespace behind FD, or 0. */
uint64_t nsfs_id(int fd);

/* The inode number of thread TID's namespace NAME ("pid", "user"), or 0. */
uint64_t nsfs_id_of(pid_t tid, const char *name);

/* Opens the parent of the PID namespace FD. Returns a descriptor owned by the caller, or -errno;
 * -EPERM when the parent is above the caller's own namespace. */
int nsfs_parent(int fd);

/* The process of which PID (a process or thread of the caller's namespace) is part, by its number
 * in the PID namespace FD. Returns it, or -ESRCH when it is gone or not visible there. Only where
 * nsfs_translates(). */
int nsfs_process_in(int fd, pid_t pid);

/* The other way: the process, in the caller's namespace, that PID names in the PID namespace FD.
 * Returns it, or -ESRCH when there is none or PID is a thread other than its process's first. */
int nsfs_process_from(int fd, pid_t pid);

#endif
