/* A seccomp listener: the file descriptor on which the kernel delivers trapped system calls. */
#ifndef SUPERVISOR_KERNEL_NOTIFY_H
#define SUPERVISOR_KERNEL_NOTIFY_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether FD is a listener, told by its name in /proc before anything is done with it: what else
 * somebody sends could be waited on, read from or worse. */
bool notify_is_listener(int fd);

/* Makes target and supervisor wake each other on one CPU (6.6). The mode belongs to the listener
 * itself, not to this descriptor. Returns 0, or -errno where the kernel lacks it. */
int notify_sync_wake_up(int listener);

/* Whether the kernel has that: 1 or 0, or -1 as long as no listener was there to try it with. */
int notify_has_sync_wake_up(void);

/* Takes one notification into NOTIFICATION, which must be zeroed. Blocks when none is pending: poll
 * first. Returns 0, or -errno; -ENOENT when the target went away first, which is normal. */
int notify_receive(int listener, struct seccomp_notif *notification);

/* Whether the target of notification ID still waits for its answer. To be asked directly before
 * each write to the target, with nothing between the two. */
bool notify_id_valid(int listener, uint64_t id);

/* Lets the kernel run the system call as if it had not been trapped. Returns 0 or -errno, -ENOENT
 * when the target is gone. */
int notify_continue(int listener, uint64_t id);

/* Answers the system call with VALUE, or with ERRNUM where that is not 0 (a positive errno).
 * Returns 0 or -errno, -ENOENT when the target is gone. */
int notify_answer(int listener, uint64_t id, int64_t value, int errnum);

/* Gives the target of notification ID a duplicate of FD, closed on exec as the driver's own are. Returns
 * its number in the target, or -errno; -ENOENT when the target is gone. */
int notify_give_fd(int listener, uint64_t id, int fd);

/* Answers with RESPONSE as it stands. Returns as these do. */
int notify_respond(int listener, const struct seccomp_notif_resp *response);

#endif
