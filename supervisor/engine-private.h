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

/* Rings at most; those that one target holds up are not counted. */
enum { RINGS_MAX = 64 };

/* One container: its listeners (one a process that was started in it) share its turn and its part
 * of the workers. Referenced by its listeners. */
struct container {
	char label[JOURNAL_LABEL];
	unsigned int references; /* under the engine's lock, as next */
	struct container *next;
	_Atomic uint32_t trouble; /* calls answered EAGAIN in a row */
	/* Calls that wait for a worker; under the pool's lock. */
	struct journal_slot *waiting, **waiting_end;
	unsigned int running;
	bool queued;
	struct container *next_queued;
};

/* One listener. Referenced by its ring and by each of its calls in flight; freed, and its descriptor
 * closed, with the last reference. */
struct listener {
	int fd;
	uint32_t index;		      /* in the journal */
	uint32_t place;		      /* in the ring's table */
	uint32_t turn;		      /* of that place: tells a late event of a former holder */
	struct journal_listener *entry; /* what the journal knows of it */
	struct engine *engine;
	struct container *container;
	struct ring *_Atomic ring;
	struct watch_table watch;
	_Atomic uint32_t references;
	_Atomic uint32_t in_flight;
	_Atomic bool paused; /* the ring waits for calls in flight to end */
	bool warned_unreadable;
	struct listener *next_incoming;
};

/* Counters of one ring, written by its thread alone but for rings that took its place. */
struct ring_counters {
	_Alignas(64) _Atomic uint64_t received;
	_Atomic uint64_t passed, vanished, unreadable;
};

/* In the journal, so that they outlive a worker. */
struct engine_counters {
	struct ring_counters ring[RINGS_MAX];
	_Atomic uint64_t handled, retried, refused, taken_up, taken_over;
	struct {
		uint32_t cmd;
		_Atomic uint64_t count, nanoseconds;
	} control[ENGINE_CONTROLS];
};

_Static_assert(sizeof(struct engine_counters) <= JOURNAL_COUNTERS, "room in the journal");

/* A thread that receives, and lets pass what is none of ours. */
struct ring {
	pthread_t thread;
	_Atomic unsigned int references; /* its thread's, or the engine's; each of its listeners' */
	struct engine *engine;
	unsigned int number; /* of its place among the engine's */
	pid_t tid;
	struct loop loop;
	int wake; /* eventfd */
	struct listener **table;
	uint32_t table_size;
	uint32_t turn;
	struct journal_slot *slot; /* the next notification goes here */
	struct listener *current;  /* whose notification is being looked at */
	struct roster_recent recent;
	struct ring_counters *counters;
	/* Odd while a target's memory is read, which the target can hold up; the watch sets
	 * RING_TAKEN_OVER then, when it has given the other listeners to a fresh ring. */
	_Atomic uint64_t reading;
	_Atomic uint64_t turns;	 /* through the loop */
	_Atomic bool starving;	 /* no slot was free */
	_Atomic uint32_t listeners;
	pthread_mutex_t lock; /* of what comes from other threads: */
	struct listener *incoming;
	bool resume;
	bool alone; /* has one listener, which held it up, for good; ends with it */
};

#define RING_TAKEN_OVER (UINT64_C(1) << 63)

/* Threads that run handled calls. They are made when they are needed. */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, ended;
	unsigned int size;    /* threads wanted */
	unsigned int extra;   /* beyond: as many as are stuck */
	unsigned int started, idle;
	uint64_t done; /* calls */
	struct container *queue, **queue_end;
	bool stopping;
};

/* The thread that looks whether the others get on. It sleeps while nothing happens. */
struct watch {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	_Atomic bool asleep;
	bool stopping;
	bool started;
};

struct engine {
	struct engine_options options;
	struct journal *journal;
	struct roster *roster;
	struct engine_counters *counters;
	struct ring *_Atomic ring[RINGS_MAX];
	unsigned int rings;
	struct ring *spare;	    /* the watch's */
	_Atomic unsigned int alone; /* rings that one listener holds up */
	_Atomic unsigned int next_ring;
	uint64_t seen_turns[RINGS_MAX]; /* engine_is_alive()'s */
	pthread_mutex_t lock;		/* of the containers */
	struct container *containers;
	/* Until the records of a former engine are taken up: the listeners by their numbers, each
	 * referenced, and the slots that were in use. */
	struct listener **listener;
	uint32_t left_count;
	uint32_t left[JOURNAL_SLOTS];
	struct pool pool;
	struct watch watch;
	_Atomic bool draining, stopping;
	bool remembers_threads; /* this release records thread ids */
	pid_t process;
};

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t engine_now_ns(void);

/* Makes a ring of ENGINE that counts as number NUMBER. Returns it, or NULL with ERROR filled. */
struct ring *ring_start(struct engine *engine, unsigned int number, struct mpu_error *error);
/* Waits for the ring's thread to end, and lets go of its listeners and of itself. */
void ring_join(struct ring *ring);
void ring_release(struct ring *ring);
/* From any thread: LISTENER joins RING; a paused listener may go on; look at stopping. */
void ring_add(struct ring *ring, struct listener *listener);
void ring_wake(struct ring *ring);
/* From the watch: gives the listeners of RING, which has been at READING for too long, to FRESH, all
 * but the one that holds it up. Returns false when it was just done. */
bool ring_take_over(struct ring *ring, uint64_t reading, struct ring *fresh);
/* Around a look into a target's memory on the ring's thread. */
void ring_reading(struct ring *ring);
void ring_has_read(struct ring *ring);

struct listener *listener_reference(struct listener *listener);
void listener_release(struct listener *listener);

int pool_start(struct pool *pool, unsigned int size);
/* Lets the threads end what is queued, and waits for them. */
void pool_stop(struct pool *pool);
/* Queues SLOT, a handled call of LISTENER, which the queue references. */
void pool_submit(struct pool *pool, struct listener *listener, struct journal_slot *slot);
/* From the watch: one thread more where calls wait and none of the threads got on since *DONE. Returns
 * whether threads are at work. */
bool pool_help(struct pool *pool, struct engine *engine, uint64_t *done);

int watch_start(struct engine *engine, struct mpu_error *error);
void watch_stop(struct engine *engine);
void watch_wake(struct watch *watch);
/* Something is about to happen that may take too long. */
static inline void watch_active(struct watch *watch)
{
	if (atomic_load(&watch->asleep))
		watch_wake(watch);
}

/* Looks which slots a former engine left in use. Returns 0 or -errno. */
int succession_begin(struct engine *engine);
/* Forgets what was kept for it. */
void succession_end(struct engine *engine);
/* On a worker's thread: waits until no former owner of SLOT can write to the target any more. Returns
 * false when the target does not wait for an answer. */
bool succession_wait(struct listener *listener, struct journal_slot *slot);
static inline bool slot_was_taken_up(const struct journal_slot *slot)
{
	return slot->deaths || slot->retries;
}

/* call.c: what happens to one notification. Returns true when SLOT went to a worker. */
bool call_received(struct ring *ring, struct listener *listener, struct journal_slot *slot);
/* The rest of a handled call, on a worker's thread; all of it for a record that was taken up. */
void call_handle(struct listener *listener, struct journal_slot *slot);
/* Answers EAGAIN, which NVIDIA's libraries take for a reason to call again. */
void call_retry(struct listener *listener, struct journal_slot *slot);

#endif
