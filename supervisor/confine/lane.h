/* What a lane is: one call at a time between a worker and a proxy, over a socket and a piece of
 * shared memory. Both sides, and the worker's successor, read this. */
#ifndef SUPERVISOR_CONFINE_LANE_H
#define SUPERVISOR_CONFINE_LANE_H

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
	LANE_AREA = 2 << 20,  /* bytes for the params of a call and what they point to */
	LANE_DESCRIPTORS = 40, /* that travel with a call, besides the device's */
	PROXY_LANES = 8,
};

/* How far a call is, for a worker's successor. */
enum lane_phase {
	LANE_FREE,
	LANE_BUILDING, /* nothing was done: all again from the start */
	LANE_SENT,     /* the driver may be working on it: lane_finish() */
	LANE_DONE,     /* it has the result: lane_finish() gives it again */
};

/* A call, in the shared memory of its lane, before the area. Only the worker writes here. */
struct lane_record {
	_Atomic uint32_t phase;	  /* enum lane_phase */
	uint32_t slot;		  /* index + 1 of the journal's slot that the call is of */
	uint64_t turn;		  /* number of the call on this lane */
	uint64_t id;		  /* of the notification */
	uint32_t request, offset; /* as in struct lane_request */
	uint32_t in_count;
	struct {
		uint32_t offset, width;
	} in[LANE_DESCRIPTORS];
	uint32_t out_offset, out_width;
	int32_t result; /* from LANE_DONE on */
	struct seccomp_notif visit; /* the proxy's, at its bell: confine/bell.h */
};

#endif
