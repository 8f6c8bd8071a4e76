/* What a supervisor needs of root's privilege. */
#ifndef SUPERVISOR_PRIVILEGE_H
#define SUPERVISOR_PRIVILEGE_H

enum privilege_role {
	PRIVILEGE_KEEPER, /* passes on to its workers what these need, and uses none of it */
	PRIVILEGE_WORKER,
	PRIVILEGE_RUN, /* mpu-run's: a worker that ends its command's processes too */
};

/* Gives up every capability of this process but those that ROLE takes, and the gain of new ones by
 * execve(2). To be called before threads are started. */
void privilege_drop(enum privilege_role role);

#endif
