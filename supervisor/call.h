/* One handled call: what its handler works on. */
#ifndef SUPERVISOR_CALL_H
#define SUPERVISOR_CALL_H

#include "nvabi/pids.h"
#include "nvabi/rm.h"
#include "supervisor/bytes.h"
#include "supervisor/driver.h"
#include "supervisor/pidmap.h"
#include "supervisor/roster.h"
#include "supervisor/target.h"

#include <stddef.h>
#include <stdint.h>

/* A second piece of the target's memory, to which a pointer in the params leads. */
struct call_buffer {
	uint64_t address; /* the target's */
	uint8_t *bytes;	  /* our copy, which becomes the answer; owned by the call */
	uint8_t *before;  /* the same as the target gave them, behind it */
	size_t size;
};

/* Processes that stand for others at the driver, where no journal is at hand. */
struct proxied {
	size_t count;
	struct {
		pid_t proxy, target;
	} *pair; /* owned */
};

struct call {
	/* The surroundings, borrowed. */
	const struct nvabi_pids *pids;
	const struct driver *driver;
	struct roster *roster;
	struct journal *journal; /* which knows the proxies; NULL: `proxied` says */
	const struct proxied *proxied;
	const char *label;
	/* The target and a duplicate of its open file; owned by the call. */
	struct target target;
	int fd;
	struct pid_view view;
	/* The call. control is the target's own, read once; status becomes the answer. */
	struct nvos54_parameters control;
	const struct nvabi_pid_control *layout;
	uint8_t *params;       /* copy of the target's params, control.paramsSize bytes; becomes the
				  answer. NULL where the target gave no pointer or a bad one */
	const uint8_t *before; /* the same as the target gave them */
	struct call_buffer buffer;
};

/* Runs control CMD with PARAMS (SIZE bytes of our own memory, or NULL with a size of 0) for the
 * target: on its own open file, client and object. The driver's answer goes to *STATUS; on any but
 * NV_OK it has left PARAMS alone. Returns 0 or a negative errno of the call or of trouble. */
int call_execute(const struct call *call, uint32_t cmd, void *params, uint32_t size,
		 uint32_t *status);

/* Runs the call itself with its params as they stand, into call->control.status. */
int call_execute_own(struct call *call);

/* Puts a copy of SIZE bytes of the target's memory, to which the u64 at POINTER of the params leads,
 * in that memory's place for the driver, into call->buffer. Memory that cannot be read, or more of it
 * than LIMIT, is left for the driver to refuse: it gets an address that it cannot read either, and
 * call->buffer.bytes stays NULL. The caller puts the target's own pointer back after the call.
 * Returns 0 or a negative errno. */
int call_take_buffer(struct call *call, size_t pointer, size_t size, size_t limit);

/* Lets the driver answer as if it did not know the control: asks it for one of the same class that no
 * release has, so that its other objections come in its own order. */
int call_execute_unknown(struct call *call);

/* A handler changes params on their way in, executes, and changes them on their way out. It returns
 * 0 with the answer in call->params and call->control.status, or a negative errno: -EINVAL, -EFAULT
 * and the like from the driver's ioctl are the answer; -EAGAIN means trouble of our own. */
typedef int call_handler(struct call *call);

call_handler handle_get_pids, handle_get_pid_info, handle_util_samples, handle_acct_proc_info,
	handle_acct_pids, handle_sessions, handle_rcerr_report, handle_shared_bind,
	handle_shared_advertise;

#endif
