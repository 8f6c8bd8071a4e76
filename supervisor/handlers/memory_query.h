/* Asking the driver for the memory of processes (GET_PID_INFO), by whatever ids it wants. */
#ifndef SUPERVISOR_HANDLERS_MEMORY_QUERY_H
#define SUPERVISOR_HANDLERS_MEMORY_QUERY_H

#include "supervisor/call.h"

/* No process has this id: the kernel's largest is 4194304. */
enum { NOBODY = 0x7fffffff };

/* One entry of GET_PID_INFO: the process asked about, the same bytes as in the params. */
struct memory_query {
	pid_t host;	/* process of the initial namespace, NOBODY, or 0 (asked about as it is) */
	uint8_t *entry; /* in: index; out: the driver's answer, its pid left alone */
};

/* Asks about COUNT entries, in as many calls as it takes. SIZE is the size of the control's params
 * and STRIDE of an entry. STATUS is the driver's; on any but NV_OK no entry is changed for sure.
 * Releases that match thread ids are asked about each thread of a process, and the answers added up.
 * Returns 0 or a negative errno. */
int memory_query(const struct call *call, const struct nvabi_pid_control *layout, uint32_t size,
		 uint32_t stride, struct memory_query *queries, size_t count, uint32_t *status);

/* Of the COUNT processes HOSTS, at most MEMORY_USERS_MAX, those that use memory of the GPU that the
 * call asks about, by the driver's own account: USES[i] is true for them. Needs the call's object to be
 * a subdevice. False also in any trouble. */
enum { MEMORY_USERS_MAX = NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT };
void memory_find_users(const struct call *call, const pid_t *hosts, size_t count, bool *uses);

/* The same for one. */
bool memory_is_used_by(const struct call *call, pid_t host);

#endif
