/* Whether a look-up failed for a reason that says nothing of what was looked up: no descriptor, no
 * memory. Who asks "which processes are there" gets fewer of them then, and must not take the answer
 * for the truth. Each thread has a note of its own. */
#ifndef SUPERVISOR_KERNEL_SHORTAGE_H
#define SUPERVISOR_KERNEL_SHORTAGE_H

#include <stdbool.h>

/* Before the first look-up. */
void shortage_forget(void);

/* A look-up has failed with ERRNUM, positive: makes a note of it where it is one of those. */
void shortage_note(int errnum);

/* Whether one was noted since. */
bool shortage_was_noted(void);

#endif
