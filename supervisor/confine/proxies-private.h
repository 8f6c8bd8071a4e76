/* What the worker's side of the proxies shares among its own files. */
#ifndef SUPERVISOR_CONFINE_PROXIES_PRIVATE_H
#define SUPERVISOR_CONFINE_PROXIES_PRIVATE_H

#include "supervisor/confine/memory.h"
#include "supervisor/confine/proxies.h"

#include <pthread.h>
#include <stdbool.h>

enum lane_use {
	LANE_IDLE,
	LANE_DIRTY,    /* idle, but for a call that nobody waits for any more */
	LANE_RESERVED, /* of a call of a former worker, which will be taken up */
	LANE_BUSY,
};

struct proxy_lane {
	struct lane lane; /* what its user sees */
	struct proxy *owner;
	enum lane_use use; /* under the lock */
	int socket;	   /* or -1: not taken yet */
	struct journal_slot *slot;
	bool returned; /* the proxy keeps a descriptor for us */
	/* The bell, a listener, or -1. The proxy's thread waits at it once it was told so; whether a
	 * former worker has told it is not known before it was asked. */
	int bell;
	bool bell_refused, unsure;
};

enum proxy_state { PROXY_STARTING, PROXY_LIVE, PROXY_DEAD };

struct proxy {
	struct proxies *proxies;
	uint32_t index;
	enum proxy_state state; /* under the lock; so is the next one */
	unsigned int busy;	/* lanes */
	/* Its bell said so before its sockets did: threads end one by one. */
	_Atomic bool has_died;
	struct journal_proxy entry;
	int target;		     /* pidfd */
	struct proxy_memory *memory; /* NULL: of a former worker's proxy, not taken yet */
	struct proxy_lane lane[PROXY_LANES];
};

struct proxies {
	struct journal *journal;
	int nursery;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_mutex_t asking; /* one asks the nursery at a time */
	uint64_t token;
	struct proxy *table[JOURNAL_PROXIES];
	uint32_t top; /* of the table: nothing at this index or above */
	int epoll; /* of targets: they end */
};

/* birth.c */

/* Asks the nursery for the process of PROXY, of which entry and target are known, and waits until
 * it is ready. Returns 0 or -errno, as proxies_lane(). */
int proxy_start(struct proxy *proxy, const char *label);

/* Maps the memory of the proxy behind FD, which is checked. Returns 0 or -errno. */
int proxy_map(struct proxy *proxy, int fd);

/* Takes descriptor NUMBER out of the process of PROXY. Returns it, owned by the caller, or -errno. */
int proxy_take_descriptor(const struct proxy *proxy, int number);

/* What is ours of it; the process is left alone. */
void proxy_free(struct proxy *proxy);

/* lanes.c */

/* Waits until nothing is done on LANE any more. Returns 0, or -EPIPE when the proxy is dead. */
int lane_settle(struct proxy_lane *lane);

#endif
