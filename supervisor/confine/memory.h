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
	PROXY_BELLS = PROXY_WORKERS_ENDS + PROXY_LANES, /* of lanes that have been used */
	PROXY_END = PROXY_BELLS + PROXY_LANES,
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

/* What the proxy says of a lane. */
struct lane_word {
	_Alignas(64) _Atomic uint64_t done; /* turn of the last call that came to its end by a bell, */
	int32_t result;			    /* and its result */
	_Atomic uint32_t has_bell;
	_Atomic uint32_t waits; /* the lane's thread is at the bell, or about to be */
};

/* Sparse: what is not used takes no memory. */
struct proxy_memory {
	union {
		struct {
			uint64_t address; /* of all this in the proxy */
			struct lane_word word[PROXY_LANES];
		};
		unsigned char page[PROXY_PAGE];
	};
	struct lane_memory lane[PROXY_LANES];
};

#endif
