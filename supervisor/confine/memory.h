/* What a proxy is made of, at fixed places, so that any worker finds it: its descriptors, and the
 * memory that it shares with the worker. */
#ifndef SUPERVISOR_CONFINE_MEMORY_H
#define SUPERVISOR_CONFINE_MEMORY_H

#include "supervisor/confine/lane.h"

/* Numbers of descriptors in every proxy. It holds both ends of its lanes: who has its pidfd takes
 * the worker's end from there. */
enum proxy_descriptor {
	PROXY_FIRST = 64,
	PROXY_TARGET = PROXY_FIRST, /* pidfd */
	PROXY_MEMORY,
	PROXY_OWN_ENDS,
	PROXY_WORKERS_ENDS = PROXY_OWN_ENDS + PROXY_LANES,
	PROXY_END = PROXY_WORKERS_ENDS + PROXY_LANES,
};

/* The largest page of any kernel. */
enum { PROXY_PAGE = 64 << 10, LANE_RECORD = PROXY_PAGE };

struct lane_memory {
	union {
		struct lane_record record;
		unsigned char room[LANE_RECORD];
	};
	unsigned char area[LANE_AREA];
	/* Nobody's: a driver that goes on behind an area finds an end. */
	unsigned char guard[PROXY_PAGE];
};

_Static_assert(sizeof(struct lane_record) <= LANE_RECORD, "records have room");

/* Sparse: what is not used takes no memory. */
struct proxy_memory {
	union {
		uint64_t address; /* of all this in the proxy */
		unsigned char page[PROXY_PAGE];
	};
	struct lane_memory lane[PROXY_LANES];
};

#endif
