/* Running the target's call in its place: on a duplicate of its own open file, as its user, and
 * with no more privilege than it has. */
#ifndef SUPERVISOR_EXECUTE_H
#define SUPERVISOR_EXECUTE_H

#include "nvabi/rm.h"
#include "supervisor/target.h"

/* Calls NV_ESC_RM_CONTROL with CONTROL, whose pointers point into our own memory, on FD as TARGET.
 * CONTROL's status is the driver's answer. Returns 0, a negative errno of the call itself, or
 * EXECUTE_NO_IDENTITY when the thread could not take the target's identity; the call was not made
 * then. The calling thread has its own identity again afterwards. */
int execute_control(int fd, const struct target *target, struct nvos54_parameters *control);

enum { EXECUTE_NO_IDENTITY = -4096 };

/* An address of our own memory that nobody can read or write: stands for a params pointer that
 * cannot be read, so that the driver itself finds that out, in its own order of checks. */
uint64_t execute_bad_address(void);

#endif
