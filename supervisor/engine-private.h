/* What the engine's own files share: nobody else includes this. */
#ifndef SUPERVISOR_ENGINE_PRIVATE_H
#define SUPERVISOR_ENGINE_PRIVATE_H

#include "supervisor/engine.h"
#include "supervisor/journal.h"
#include "supervisor/loop.h"
#include "supervisor/policy.h"
#include "supervisor/roster.h"

#include <pthread.h>
#include <stdatomic.h>

/* Received and unanswered notifications of one listener: the kernel walks a list of them for each
 * answer. */
enum { LISTENER_IN_FLIGHT = 64 };

/* One listener. Referenced by its ring and by each of its calls in flight; freed, and its descriptor
 * closed, with the last reference. */
struct listener {
	int fd;
	uint32_t index; /* in the ring's table */
	uint32_t generation;
	struct engine *engine;
	struct ring *ring;
	struct mpu_settings settings;
	struct watch_table watch;
	char label[ENGINE_LABEL];
	uint64_t cookie;
	_Atomic uint32_t references;
	_Atomic uint32_t in_flight;
	_Atomic bool paused; /* the ring waits for calls in flight to end */
	_Atomic uint32_t trouble; /* calls answered EAGAIN in a row */
	bool warned_unreadable;
	struct listener *next_incoming;
	/* Calls that wait for a worker; under the pool's lock. */
	struct journal_slot *waiting, **waiting_end;
	uint32_t running;
	bool queued;
	struct listener *next_queued;
};

/* Counters of one ring, written by its thread alone. */
struct ring_counters {
	_Atomic uint64_t received, passed, vanished, unreadable;
};

/* A thread that receives, and lets pass what is none of ours. */
struct ring {
	pthread_t thread;
	struct engine *engine;
	struct loop loop;
	int wake; /* eventfd */
	struct listener **table;
	uint32_t table_size;
	uint32_t generation;
	struct journal_slot *slot; /* the next notification goes here */
	struct roster_recent recent;
	struct ring_counters counters;
	_Atomic uint32_t listeners;
	pthread_mutex_t lock; /* of what comes from other threads: */
	struct listener *incoming;
	bool resume;
};

/* Threads that run handled calls. They are made when they are needed. */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t *thread;
	unsigned int size, started, idle;
	struct listener *queue, **queue_end;
	bool stopping;
};

struct engine {
	struct engine_options options;
	struct journal *journal;
	struct roster *roster;
	struct ring *ring;
	unsigned int rings;
	_Atomic unsigned int next_ring;
	struct pool pool;
	_Atomic bool stopping;
	bool remembers_threads; /* this release records thread ids */
	_Atomic uint64_t handled, retried, refused;
	_Atomic uint64_t call_count[ENGINE_CONTROLS], call_ns[ENGINE_CONTROLS];
};

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t engine_now_ns(void);

int ring_start(struct ring *ring, struct engine *engine, struct mpu_error *error);
void ring_join(struct ring *ring);
/* From any thread: LISTENER joins RING; a paused listener may go on; look at stopping. */
void ring_add(struct ring *ring, struct listener *listener);
void ring_wake(struct ring *ring);

struct listener *listener_reference(struct listener *listener);
void listener_release(struct listener *listener);

int pool_start(struct pool *pool, unsigned int size);
void pool_stop(struct pool *pool);
/* Queues SLOT, a handled call of LISTENER, which the queue references. */
void pool_submit(struct pool *pool, struct listener *listener, struct journal_slot *slot);

/* call.c: what happens to one notification. Returns true when SLOT went to a worker. */
bool call_received(struct listener *listener, struct journal_slot *slot);
/* The rest of a handled call, on a worker's thread. */
void call_handle(struct listener *listener, struct journal_slot *slot);

#endif
