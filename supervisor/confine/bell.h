/* A bell, for two threads that work in turns. A UNIX socket or a futex wakes the other one on a CPU that
 * idles, which has to be woken itself, and far from what both work on; a seccomp notification wakes it on
 * the CPU of who waits for it from then on (Linux 6.6). So the proxy's thread waits in a system call that
 * its own filter makes a notification of, and the worker answers that when there is something to do. It
 * carries no word: what it is about lies elsewhere, and a ring too many does no harm. */
#ifndef SUPERVISOR_CONFINE_BELL_H
#define SUPERVISOR_CONFINE_BELL_H

#include <linux/seccomp.h>
#include <stdbool.h>

/* ---- The thread that is called ---- */

/* Hangs up a bell for the calling thread: its listener becomes descriptor NUMBER. Returns 0, or -errno
 * where the kernel has none, or another listener is above this thread already. */
int bell_hang(int number);

/* Waits until somebody rings. May return without. */
void bell_wait(void);

/* ---- The one that calls ---- */

/* Whether LISTENER is a bell; sets it up. */
bool bell_take(int listener);

/* Waits until the thread waits at its bell, of which VISIT then tells, or until PEER, a socket, has hung
 * up. Whoever waits here is woken on the CPU of that thread. Returns 0, -EAGAIN to try again, or -EPIPE. */
int bell_await(int listener, int peer, struct seccomp_notif *visit);

/* Lets the thread go on that VISIT tells of, which then tells of none. */
void bell_ring(int listener, struct seccomp_notif *visit);

#endif
