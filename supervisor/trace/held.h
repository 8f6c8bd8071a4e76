/* Calls that were passed on, until something is known of their end: the thread's next call, what it
 * does a moment later, or its death. */
#ifndef SUPERVISOR_TRACE_HELD_H
#define SUPERVISOR_TRACE_HELD_H

#include "supervisor/trace/call.h"

#include <pthread.h>
#include <stdbool.h>

struct held {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool started, stopping;
	struct trace_call *first;
	size_t bytes; /* that they take */
	/* Takes a call, whose end is set, to print and free it. */
	void (*finish)(void *context, struct trace_call *call);
	void *context;
};

void held_begin(struct held *held, void (*finish)(void *context, struct trace_call *call),
		void *context);

/* Holds CALL back, which belongs to HELD from now on. */
void held_put(struct held *held, struct trace_call *call);

/* Thread TID has made its next call, for which it uses SIZE bytes at ADDRESS: the one before is
 * over. */
void held_settle(struct held *held, pid_t tid, uint64_t address, uint32_t size);

/* Finishes all and ends the thread, which the next call that is held back starts again. */
void held_stop(struct held *held);

void held_end(struct held *held);

#endif
