/* The engine: takes notifications from listeners, lets pass what is none of ours, answers the rest.
 * Embedded in mpu-run, and the heart of mpud's worker. */
#ifndef SUPERVISOR_ENGINE_H
#define SUPERVISOR_ENGINE_H

#include "base/error.h"
#include "nvabi/pids.h"
#include "supervisor/driver.h"
#include "supervisor/journal.h"
#include "supervisor/latency.h"
#include "supervisor/pidmap.h"
#include "supervisor/sandbox.h"
#include "supervisor/settings.h"
#include "supervisor/trace.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct nvabi_allow;

enum { ENGINE_CONTROLS = NVABI_PID_CONTROLS };

/* What an engine works with; copied by engine_start(). */
struct engine_options {
	struct driver driver;
	struct nvabi_pids pids;
	enum pidmap_method pid_lookup;
	bool use_pidfd_thread; /* false: duplicate descriptors through the thread group's leader */
	struct journal *journal; /* borrowed; journal_begin() was called */
	const struct trace_hooks *trace; /* of all containers; borrowed, or NULL */
	const struct sandbox *sandbox; /* borrowed, of its threads; or NULL */
	const struct nvabi_allow *allow; /* calls that confined containers may make too; borrowed,
					    or NULL */
	int nursery; /* borrowed: where proxies are asked for (confine/proxies.h), or -1: none */
	/* Called on a thread of the engine when the last process of a listener's filter has ended; the
	 * listener is JOURNAL_LISTENER_CLOSED and the callee's to free. NULL: the engine frees it. */
	void (*listener_closed)(void *context, uint32_t index);
	/* Called on a thread of the engine when something happens again after engine_rests(). Or NULL. */
	void (*stirs)(void *context);
	void *context;
};

/* The best way of looking up PIDs that this kernel has. */
enum pidmap_method engine_best_pid_lookup(void);

/* Starts an engine. Its threads block all signals. Returns 0 with ENGINE owned by the caller, or
 * -errno with ERROR filled. Must run in the initial PID namespace: see engine_check_namespace(). */
int engine_start(struct engine **engine, const struct engine_options *options,
		 struct mpu_error *error);

/* 0 when this process lives in the initial PID namespace, else -errno with ERROR filled. */
int engine_check_namespace(struct mpu_error *error);

/* Whether ENGINE can confine a container to CONFINE (of struct mpu_settings) on the driver that runs NOW:
 * the one that it was started for, of a branch that is known. Returns 0, or -errno with ERROR filled. */
int engine_check_confine(const struct engine *engine, const struct driver *now, uint32_t confine,
			 struct mpu_error *error);

/* Hands LISTENER over to the engine, which owns it from now on, also when this fails. What the
 * journal says of listener INDEX is known before: whose it is, and the settings. BEGINS: its first
 * call is near, and finds a thread that waits for it. Returns 0 or -errno. */
int engine_add_listener(struct engine *engine, int listener, uint32_t index, bool begins);

/* A container whose notifications somebody else receives, and forwards. */
struct engine_source;

/* What the journal says of listener INDEX is known before, and is forgotten with the source. Returns it,
 * or NULL without memory. */
struct engine_source *engine_add_source(struct engine *engine, uint32_t index);

/* No more notifications come. Those in flight go on. */
void engine_remove_source(struct engine_source *source);

/* Passes an answer on. */
typedef void engine_answer(void *context, struct seccomp_notif_resp response);

/* Takes NOTIFICATION of LISTENER, which stays open until ANSWER is called: once, from any thread, also
 * before this returns. For one thread at a time. */
void engine_take(struct engine_source *source, int listener,
		 const struct seccomp_notif *notification, engine_answer *answer, void *context);

/* Takes up the records that a former engine left in the journal, where there was one; called once, when
 * all listeners that are left of it were added. Returns how many. */
unsigned int engine_take_up(struct engine *engine);

/* Whether the engine has moved since the last time that this was asked; it is called every second or
 * so. */
bool engine_is_alive(struct engine *engine);

/* Whether nothing has happened since the last time that this was asked, and nothing goes on. When
 * something happens again, STIRS is called, once for each time that this was asked at most. */
bool engine_rests(struct engine *engine);

/* Receives no more, and waits up to TIMEOUT_MS for the calls in flight. Returns whether all were
 * answered; what was not stands in the journal. */
bool engine_drain(struct engine *engine, unsigned int timeout_ms);

/* Stops the threads and frees all. Listeners are closed: where no copies are held, calls that wait,
 * and later ones of their processes, fail with ENOSYS. Waits for calls in the driver. */
void engine_stop(struct engine *engine);

/* Tells HOOKS (borrowed until they are released) of the calls of the container LABEL from now on, also
 * of listeners that it gets later. Returns 0, -EBUSY where somebody is told of them already, or
 * -ENOMEM. */
int engine_trace(struct engine *engine, const char *label, const struct trace_hooks *hooks);

/* Tells HOOKS of no more calls, but of those in flight to their end. */
void engine_untrace(struct engine *engine, const struct trace_hooks *hooks);

/* Counts since the journal was made. */
struct engine_stats {
	uint64_t received;   /* notifications */
	uint64_t passed;     /* let run as they were */
	uint64_t handled;    /* answered by us */
	uint64_t vanished;   /* the target went away first */
	uint64_t unreadable; /* let run because the target's memory cannot be read */
	uint64_t retried;    /* answered EAGAIN */
	uint64_t refused;    /* answered with a failure of ours: trouble that did not go away */
	uint64_t taken_up;   /* records of a worker that ended */
	uint64_t taken_over; /* listeners whose executor was stuck */
	uint64_t executed;   /* of confined containers: made by their proxies */
	uint64_t continued;  /* of these: bound to the caller's memory, run as they were */
	uint32_t listeners;  /* now */
	struct {
		uint32_t cmd;
		const char *name;
		uint64_t count;	  /* handled */
		uint64_t nanoseconds; /* from RECV to the answer, sum */
		uint32_t took[LATENCY_RANGES]; /* the same, call by call */
	} control[ENGINE_CONTROLS];
	uint32_t control_count;
};

void engine_stats(struct engine *engine, struct engine_stats *stats);

#endif
