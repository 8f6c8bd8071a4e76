/* The life of one ioctl of a confined container. */
#ifndef SUPERVISOR_CONFINE_CONFINE_H
#define SUPERVISOR_CONFINE_CONFINE_H

#include "supervisor/engine-private.h"

/* What a container's processes call is looked up in the policy, copied, and made by their proxies;
 * or it is refused. Answers the target. */
void confine_received(struct executor *executor, struct listener *listener,
		      struct journal_slot *slot);

/* The same for a record of a former worker's. */
void confine_taken_up(struct executor *executor, struct listener *listener,
		      struct journal_slot *slot);

#endif
