/* What a supervisor needs of root's privilege. */
#ifndef SUPERVISOR_PRIVILEGE_H
#define SUPERVISOR_PRIVILEGE_H

#include <stdbool.h>

/* Gives up every capability of this process but those that supervision takes, and the gain of new
 * ones by execve(2). KILLS: keep CAP_KILL too, for a supervisor that ends its target's processes.
 * To be called before threads are started. */
void privilege_drop(bool kills);

#endif
