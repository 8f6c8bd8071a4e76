/* Getting a thread out of a system call that waits. A kick is a signal (SIGURG) that does nothing: a
 * call that it interrupts returns EINTR. */
#ifndef SUPERVISOR_KERNEL_KICK_H
#define SUPERVISOR_KERNEL_KICK_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Lets this process's threads be kicked, those that do not block the signal. */
void kick_prepare(void);

/* The signal, for masks. */
enum { KICK_SIGNAL = SIGURG };

/* Kicks thread TID of this process. */
void kick_thread(pid_t tid);

/* How many kicks this thread has had: where a call returned EINTR and the number has changed, it was
 * by a kick. */
unsigned int kick_count(void);

/* Whether thread TID of this process waits in the kernel, and not for a processor. */
bool kick_is_blocked(pid_t tid);

#endif
