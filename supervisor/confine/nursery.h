/* The nursery: a small process, under a filter of its own, that starts proxies when a worker asks
 * for them. It is made before whoever starts it gives up its privilege, and by executing the
 * program anew, so that nothing of its maker's memory is in it or in the proxies, which are its
 * forks. It keeps no state: where it dies its guard, which is the same program, makes another one
 * at the same socket. */
#ifndef SUPERVISOR_CONFINE_NURSERY_H
#define SUPERVISOR_CONFINE_NURSERY_H

#include "base/error.h"
#include "supervisor/privilege.h"
#include "supervisor/sandbox.h"

#include <stdbool.h>

/* Whether this program was executed to be a nursery: the first question of its main(). */
bool nursery_is_meant(int argc, char **argv);

/* What main() then does. */
_Noreturn void nursery_main(int argc, char **argv);

/* Starts a nursery, which becomes USER where it is not NULL, and which is no child of the caller's and
 * outlives it; it ends when all copies of the socket at which it is asked are closed, or shut down. For a
 * process of one thread. Returns that socket, owned by the caller, or -errno with ERROR filled. It may be
 * asked at once, but whether it has come to be is for nursery_await() to say. */
int nursery_start(enum sandbox_mode sandbox, const struct privilege_user *user,
		  struct mpu_error *error);

/* Waits until the nursery at SOCKET, which nobody has asked yet, is ready. Returns 0, or -errno with ERROR
 * filled. */
int nursery_await(int socket, struct mpu_error *error);

/* Tells the nursery at SOCKET to end, and waits for that up to TIMEOUT_MS. */
void nursery_end(int socket, int timeout_ms);

#endif
