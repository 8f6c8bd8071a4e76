/* The proxies of confined targets, seen from the worker. A proxy is the process that stands for one
 * target process at the driver: it has the target's identity, makes the calls that the worker has
 * checked and copied, and ends with the target. The journal knows them, and they hold all that
 * another worker needs to go on with them. */
#ifndef SUPERVISOR_CONFINE_PROXIES_H
#define SUPERVISOR_CONFINE_PROXIES_H

#include "supervisor/confine/lane.h"
#include "supervisor/journal.h"
#include "supervisor/target.h"

#include <stdint.h>
#include <sys/types.h>

struct proxies;

/* NURSERY: the socket at which proxies are asked for, borrowed; or -1: there are none to be had,
 * and proxies_lane() fails with -EAGAIN. Takes up the proxies that stand in JOURNAL. Returns it,
 * owned by the caller, or NULL without memory. */
struct proxies *proxies_new(struct journal *journal, int nursery);

/* No lane may be out. The proxies live on, for a successor, as long as their targets do. */
void proxies_free(struct proxies *proxies);

/* Readable, for poll() and epoll, while there are targets that have ended and were not heeded; lent.
 * -1 where there are no proxies to be had. */
int proxies_ends(const struct proxies *proxies);

/* Strikes out the proxies of targets that have ended. From any thread; does not wait. */
void proxies_heed_ends(struct proxies *proxies);

/* A lane, as who holds it sees it. */
struct lane {
	/* LANE_AREA bytes, shared with the proxy. Never let the kernel write here for a target
	 * (process_vm_readv): a killed worker's thread may be in the middle of that when a
	 * successor uses the lane. Gather into memory of your own and copy. */
	uint8_t *area;
	uint64_t address; /* of the area, as the proxy and so the driver see it */
	struct lane_record *record;
	uint32_t number; /* of the lane, among all */
	pid_t proxy;
	/* How many bytes of the area were in use: the caller's to set where they were many, so that
	 * memory beyond LANE_KEPT goes back. */
	uint32_t used;
};

enum { LANE_KEPT = 64 << 10 };

/* A free lane of the proxy that stands for TARGET, by its process, user, group and capabilities.
 * Starts one where there is none; LABEL is the container's name, for it to be told from others. The
 * lane is the caller's until lane_give(). Waits while all lanes of the proxy are in use. Returns
 * NULL with ERROR: -EPERM: the target's identity cannot be taken; -ESRCH: the target is gone;
 * -EAGAIN: no proxy can be had. What an administrator should know of it was logged. */
struct lane *proxies_lane(struct proxies *proxies, const struct target *target, const char *label,
			  int *error);

/* Before anything is put into the area: from here on a successor finds LANE by SLOT (its field
 * lane), BUILDING. */
void lane_begin(struct lane *lane, struct journal_slot *slot);

struct lane_request {
	uint64_t id;	  /* of the notification */
	uint32_t request; /* second argument of ioctl() */
	uint32_t offset;  /* of the params in the area: the third */
	int fd;		  /* the device, borrowed */
	/* Descriptors, borrowed, that the params name: the proxy puts the numbers that they have
	 * there at OFFSET of the area, in WIDTH bytes (4 or 8; 0: it just has them meanwhile). */
	uint32_t in_count;
	struct {
		int fd;
		uint32_t offset;
		uint8_t width;
	} in[LANE_DESCRIPTORS];
	/* Where the driver puts the number of a descriptor that it returns; width 0: nowhere. */
	uint32_t out_offset;
	uint8_t out_width;
	int out_fd; /* the answer: that descriptor, owned by the caller, or -1 */
};

/* Makes the call that was built in the area since lane_begin(), once. Returns 0 with RESULT, 0 or
 * the ioctl's -errno, and REQUEST->out_fd; -EPIPE when the proxy has died in it: the driver may
 * have made the call, or not; -EAGAIN when nothing was done, for want of memory; -EMFILE when it
 * was made and a descriptor that the driver returned cannot be had; -EINVAL for what lies outside
 * of the area. A call that makes a descriptor begins with -1 at OUT_OFFSET: what stands there
 * afterwards is taken for one. */
int lane_call(struct lane *lane, struct lane_request *request, int *result);

/* The call is finished, or given up: the next may begin. */
void lane_give(struct lane *lane);

/* ---- For a worker's successor ---- */

/* The lane that a former worker had for the call in SLOT (whose field lane is not 0), the caller's
 * until lane_give(). Its record says how far the call is, and
 * the area is as the former worker and the driver have left it. Returns NULL where there is none
 * any more: the proxy is gone (as -EPIPE of lane_call() where the phase was SENT; it cannot be told
 * here), or the lane has nothing to do with that call. */
struct lane *proxies_resume(struct proxies *proxies, struct journal_slot *slot);

/* Waits for the result of the call that a former worker has sent on LANE, in phase SENT or DONE.
 * Returns as lane_call(), with REQUEST filled from the record (but for its borrowed descriptors,
 * -1); -ENOENT when it never reached the proxy: nothing was done, and it may be built again after
 * another lane_begin(). */
int lane_finish(struct lane *lane, struct lane_request *request, int *result);

/* ---- For everybody who reads the driver's process ids ---- */

/* The process for which PROXY stands or, where its number is nobody else's by now, has stood; 0: it
 * is none of ours. */
pid_t proxies_target_of(struct journal *journal, pid_t proxy);

/* The live proxy that stands for process TARGET, the newest where there are several; 0: it has
 * none. */
pid_t proxies_proxy_of(struct journal *journal, pid_t target);

struct proxies_stats {
	uint32_t live;	  /* proxies now */
	uint64_t started; /* since the journal was made */
	uint64_t lost;	  /* of these, ended before their targets */
};

/* Waits up to TIMEOUT_MS for the end of all proxies of JOURNAL, whose targets have ended. */
void proxies_await_end(struct journal *journal, int timeout_ms);

void proxies_stats(struct journal *journal, struct proxies_stats *stats);

#endif
