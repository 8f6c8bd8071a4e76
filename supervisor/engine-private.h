/* What the engine's own files share: nobody else includes this. */
#ifndef SUPERVISOR_ENGINE_PRIVATE_H
#define SUPERVISOR_ENGINE_PRIVATE_H

#include "supervisor/confine/callers.h"
#include "supervisor/engine.h"
#include "supervisor/journal.h"
#include "supervisor/latency.h"
#include "supervisor/policy.h"
#include "supervisor/roster.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum {
	EXECUTORS_MAX = 256,
	/* Executors that one container may have: those that serve its listeners, and those that it
	 * holds up. */
	CONTAINER_EXECUTORS = 8,
	/* Executors that stay when there is nothing to do. */
	EXECUTORS_KEPT = 16,
	/* Executors beyond this many share counters. */
	COUNTERS = 64,
};

_Static_assert((int)EXECUTORS_MAX <= (int)JOURNAL_DESKS, "each has a desk for its answers");

/* One container: its listeners (one a process that was started in it) share its part of the
 * executors. Referenced by its listeners. */
struct container {
	char label[JOURNAL_LABEL];
	unsigned int references; /* under the engine's lock, as next */
	struct container *next;
	struct tracer *_Atomic tracer; /* who is told of its calls, or NULL */
	_Atomic uint32_t trouble; /* calls answered EAGAIN in a row */
	_Atomic bool warned_unserved;
	/* Under the lock of the executors: */
	unsigned int executors;
	struct work *waiting, **waiting_end; /* until it has fewer executors */
};

/* Something for an executor to do: a listener to serve, or a record to take up. */
struct work {
	struct listener *listener;
	struct journal_slot *record; /* or NULL */
	struct work *next;
};

/* One listener. Referenced by the engine while it is open, and by the work on it; freed, and its
 * descriptor closed, with the last reference. */
struct listener {
	int fd;
	uint32_t index;			/* in the journal */
	struct journal_listener *entry; /* what the journal knows of it */
	struct engine *engine;
	struct container *container;
	struct watch_table watch;
	bool confined;
	struct work work; /* to serve it */
	_Atomic uint32_t references;
	_Atomic bool warned_unreadable;
	/* Of a forwarded notification, which has a listener of its own here: whose it is, and who passes
	 * the answer on; NULL when that was done. FD is borrowed until then. */
	struct engine_source *source;
	engine_answer *answer;
	void *context;
};

/* Counters, written by few threads. */
struct thread_counters {
	_Alignas(64) _Atomic uint64_t received;
	_Atomic uint64_t passed, vanished, unreadable;
	_Atomic uint64_t executed, continued; /* of confined containers */
};

/* In the journal, so that they outlive a worker. */
struct engine_counters {
	struct thread_counters thread[COUNTERS];
	_Atomic uint64_t handled, retried, refused, taken_up, taken_over;
	struct {
		uint32_t cmd;
		_Atomic uint64_t count, nanoseconds;
		_Atomic uint32_t took[LATENCY_RANGES];
	} control[ENGINE_CONTROLS];
};

_Static_assert(sizeof(struct engine_counters) <= JOURNAL_COUNTERS, "room in the journal");

/* A thread that serves one listener: it waits inside RECV, since sync wake-up runs only who waits
 * there on the CPU of the target, and does on the spot what there is to do. */
struct executor {
	struct engine *engine;
	unsigned int number;
	pid_t tid;
	struct journal_slot *slot; /* notifications go here */
	struct roster_recent recent;
	struct thread_counters *counters;
	struct callers callers; /* confined ones */
	unsigned char *gather; /* LANE_AREA bytes, for a confined target's call; NULL before the first */
	/* Odd while it works on a notification, even while it waits for one. EXECUTOR_ROBBED: it has
	 * worked for too long, and others read the listener now. */
	_Atomic uint64_t turn;
	struct listener *_Atomic listener; /* that it serves, or NULL */
	_Atomic bool kicked;		   /* it shall leave off at its next turn */
};

#define EXECUTOR_ROBBED (UINT64_C(1) << 63)

/* The threads, made when they are needed. */
struct executors {
	pthread_mutex_t lock;
	pthread_cond_t work, ended;
	struct work *queue, **queue_end;
	struct executor *all[EXECUTORS_MAX]; /* NULL: free */
	unsigned int started, idle, queued;
	bool refused; /* the last one could not be started */
	bool stopping;
};

/* The thread with which idle listeners lie. */
struct idle {
	pthread_t thread;
	int epoll, wake; /* wake: an eventfd */
	_Atomic uint64_t turns;
	struct work *_Atomic refused; /* listeners that the epoll had no memory for */
	bool started;
};

/* The thread that looks whether the others get on. It sleeps while nothing happens. */
struct watch {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	_Atomic bool asleep;
	bool stopping;
	bool started;
	/* Under the lock: it sleeps in earnest; how often it did; what engine_rests() saw of that, and
	 * whether it wants to be told of the end. */
	bool rests;
	uint64_t rest, seen_rest;
	bool tells;
};

struct engine {
	struct engine_options options;
	struct journal *journal;
	struct roster *roster;
	struct proxies *proxies; /* NULL where there can be none */
	struct nvabi_policy *_Atomic policy; /* NULL: no confined container yet, or nothing is known */
	struct engine_counters *counters;
	struct executors executors;
	struct idle idle;
	struct watch watch;
	_Atomic uint32_t listeners;
	uint64_t seen_turns;	/* engine_is_alive()'s */
	pthread_mutex_t lock;	/* of the next three */
	struct container *containers;
	struct tracer *tracers;
	struct listener **open; /* by their numbers */
	/* The slots that a former engine left in use, until they are taken up. */
	uint32_t left_count;
	struct work *left;
	_Atomic bool draining, stopping;
	bool remembers_threads; /* this release records thread ids */
	bool knows_branch; /* else nothing can be confined */
	pid_t process;
};

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t engine_now_ns(void);

/* The same in milliseconds, some of them late, at next to no cost. */
static inline uint64_t engine_coarse_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct listener *listener_new(struct engine *engine, int fd, uint32_t index);
/* Answers the target of LISTENER's notification ID. */
void listener_answer(struct listener *listener, uint64_t id, struct seccomp_notif_resp response);
/* At the end of a listener that has a source. */
void forward_end(struct listener *listener);
struct listener *listener_reference(struct listener *listener);
void listener_release(struct listener *listener);
/* Its last process has ended: it is of the engine no longer. */
void listener_end(struct listener *listener);

/* tracers.c */

/* The call of this thread that somebody is told of, or NULL. */
struct traced_call;
extern __thread struct traced_call *traced_now;

/* Under the engine's lock: a container that is new is traced from its first call on. */
struct tracer *tracer_for(struct engine *engine, const char *label);
/* An engine's own, of all containers. Returns 0 or -ENOMEM. */
int tracers_start(struct engine *engine);
void tracers_stop(struct engine *engine);
/* One call of a container that has a tracer, from the look at it to the answer. */
void tracer_call(struct executor *executor, struct listener *listener, struct journal_slot *slot);
/* Of traced_now: */
bool traced_executes(const struct nvos54_parameters *control);
void traced_executed(uint64_t nanoseconds);
void traced_answered(const struct seccomp_notif_resp *response);

/* idle.c */

int idle_start(struct engine *engine, struct mpu_error *error);
/* The thread ends; listeners may be put here still. */
void idle_stop(struct engine *engine);
void idle_close(struct engine *engine);
/* LISTENER lies idle: as soon as a notification is there it is queued for an executor. From any
 * thread; nothing may be done with the listener after that without a reference. */
void idle_put(struct engine *engine, struct listener *listener);
void idle_wake(struct engine *engine);

/* executors.c */

void executors_start(struct executors *executors);
/* Whoever waits for notifications shall look for something else. */
void executors_kick_all(struct engine *engine);
/* Waits for all to end what they are at. */
void executors_stop(struct engine *engine);
/* WORK waits for an executor; a reference to its listener goes with it. */
void executors_submit(struct engine *engine, struct work *work);
/* Around the work on one notification. The second returns false when the listener is no longer the
 * executor's to read. */
void executor_begins(struct executor *executor);
bool executor_ends(struct executor *executor);
/* From the watch, under the lock: work has waited for a while; one executor more, where there is
 * none to take it. */
void executors_help(struct engine *engine);
/* From the watch: EXECUTOR has been at TURN for too long. */
void executor_rob(struct executor *executor, uint64_t turn);
/* From the watch: EXECUTOR shall look for something else, at once where it waits. */
void executor_kick(struct executor *executor);

/* watch.c */

int watch_start(struct engine *engine, struct mpu_error *error);
void watch_stop(struct engine *engine);
void watch_wake(struct watch *watch);
/* Whether it has slept since the last time that this was asked. The engine's user is told of the end. */
bool watch_rests(struct watch *watch);
/* Something begins that may take too long. */
static inline void watch_active(struct watch *watch)
{
	if (atomic_load(&watch->asleep))
		watch_wake(watch);
}

/* succession.c */

/* Looks which slots a former engine left in use. Returns 0 or -ENOMEM: once begun, no record is lost for
 * want of memory. */
int succession_begin(struct engine *engine);
/* Waits until no former owner of SLOT can write to the target any more. Returns false when the target
 * does not wait for an answer. */
bool succession_wait(struct listener *listener, struct journal_slot *slot);

/* receive.c: what happens to one notification. */
void call_received(struct executor *executor, struct listener *listener, struct journal_slot *slot);
/* The same, of a call that is traced. */
void call_received_traced(struct executor *executor, struct listener *listener,
			  struct journal_slot *slot);
/* The same for a record that was taken up. */
void call_taken_up(struct executor *executor, struct listener *listener, struct journal_slot *slot);
/* Lets the kernel go on with the call. */
void call_pass(struct executor *executor, struct listener *listener, struct journal_slot *slot);

/* call.c: from the control that is handled to its answer. */
/* Handles the control in SLOT, which carries process ids. */
void call_handle(struct executor *executor, struct listener *listener, struct journal_slot *slot);
/* Writes the answer that stands in the journal, and lets the target go on. */
void call_deliver(struct listener *listener, struct journal_slot *slot);
/* Answers EAGAIN, which NVIDIA's libraries take for a reason to call again. */
void call_retry(struct listener *listener, struct journal_slot *slot);
/* The same for trouble of our own; where it stays the call fails with ERRNUM, negative. */
void call_trouble(struct listener *listener, struct journal_slot *slot, int errnum);

#endif
