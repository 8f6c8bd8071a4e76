/* The engine: takes notifications from listeners, lets pass what is none of ours, answers the rest.
 * Embedded in mpu-run, and the heart of mpud. */
#ifndef SUPERVISOR_ENGINE_H
#define SUPERVISOR_ENGINE_H

#include "base/error.h"
#include "nvabi/pids.h"
#include "supervisor/driver.h"
#include "supervisor/pidmap.h"
#include "supervisor/settings.h"
#include "supervisor/trace.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;

/* A container id has up to 64 characters. */
enum { ENGINE_LABEL = 72, ENGINE_CONTROLS = NVABI_PID_CONTROLS };

/* What an engine works with; copied by engine_start(). */
struct engine_options {
	struct driver driver;
	struct nvabi_pids pids;
	enum pidmap_method pid_lookup;
	bool with_uring;      /* false: epoll */
	bool use_pidfd_thread; /* false: duplicate descriptors through the thread group's leader */
	unsigned int rings;   /* threads that receive; 0: one */
	unsigned int workers; /* most threads that run handled calls; 0: 16 */
	struct trace *trace;  /* borrowed, or NULL */
	/* Called on a ring's thread when the last process of a listener's filter has ended and its
	 * last call was answered; or NULL. */
	void (*listener_closed)(void *context, uint64_t cookie);
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

/* Hands LISTENER over to the engine, which owns it from now on, also when this fails. LABEL names the
 * container in the log. COOKIE comes back in listener_closed. Returns 0 or -errno. */
int engine_add_listener(struct engine *engine, int listener, const struct mpu_settings *settings,
			const char *label, uint64_t cookie);

/* Stops the threads and frees all. Listeners are closed: calls that wait, and later ones of their
 * processes, fail with ENOSYS; so only when the processes are gone. Waits for calls in the driver. */
void engine_stop(struct engine *engine);

/* Counts since the start. */
struct engine_stats {
	uint64_t received;   /* notifications */
	uint64_t passed;     /* let run as they were */
	uint64_t handled;    /* answered by us */
	uint64_t vanished;   /* the target went away first */
	uint64_t unreadable; /* let run because the target's memory cannot be read */
	uint64_t retried;    /* answered EAGAIN */
	uint64_t refused;    /* answered with a failure of ours: trouble that did not go away */
	uint32_t listeners;  /* now */
	struct {
		uint32_t cmd;
		const char *name;
		uint64_t count;	  /* handled */
		uint64_t nanoseconds; /* from RECV to the answer, sum */
	} control[ENGINE_CONTROLS];
	uint32_t control_count;
};

void engine_stats(struct engine *engine, struct engine_stats *stats);

#endif
