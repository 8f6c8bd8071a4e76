/* Who is told of calls: of all that this engine has, or of one container's. A tracer may come and go
 * while calls are in flight, so that each of them holds a reference. */
#include "supervisor/engine-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Referenced by the engine, until engine_untrace(), and by each call that it is told of. */
struct tracer {
	const struct trace_hooks *hooks;
	bool of_all;
	char label[JOURNAL_LABEL];
	_Atomic uint32_t references;
	struct tracer *next;
};

struct traced_call {
	struct tracer *tracer;
	void *call; /* the hooks' own; NULL: they need not be told more */
};

__thread struct traced_call *traced_now;

static void release(struct tracer *tracer)
{
	const struct trace_hooks *hooks = tracer->hooks;

	if (atomic_fetch_sub(&tracer->references, 1) != 1)
		return;
	free(tracer);
	if (hooks->released)
		hooks->released(hooks->context);
}

/* ---- Who there is; under the engine's lock ---- */

struct tracer *tracer_for(struct engine *engine, const char *label)
{
	struct tracer *tracer = engine->tracers;

	while (tracer && !tracer->of_all && strcmp(tracer->label, label) != 0)
		tracer = tracer->next;
	return tracer;
}

static void tell_containers(struct engine *engine)
{
	for (struct container *one = engine->containers; one; one = one->next)
		atomic_store(&one->tracer, tracer_for(engine, one->label));
}

static struct tracer *tracer_new(const char *label, const struct trace_hooks *hooks)
{
	struct tracer *tracer = calloc(1, sizeof(*tracer));

	if (!tracer)
		return NULL;
	tracer->hooks = hooks;
	tracer->references = 1;
	tracer->of_all = !label;
	if (label)
		snprintf(tracer->label, sizeof(tracer->label), "%s", label);
	return tracer;
}

int engine_trace(struct engine *engine, const char *label, const struct trace_hooks *hooks)
{
	struct tracer *tracer = tracer_new(label, hooks);
	bool busy;

	if (!tracer)
		return -ENOMEM;
	pthread_mutex_lock(&engine->lock);
	busy = tracer_for(engine, tracer->label);
	if (!busy) {
		tracer->next = engine->tracers;
		engine->tracers = tracer;
		tell_containers(engine);
	}
	pthread_mutex_unlock(&engine->lock);
	if (busy)
		free(tracer);
	return busy ? -EBUSY : 0;
}

void engine_untrace(struct engine *engine, const struct trace_hooks *hooks)
{
	struct tracer **link = &engine->tracers, *tracer;

	pthread_mutex_lock(&engine->lock);
	while ((tracer = *link) && tracer->hooks != hooks)
		link = &tracer->next;
	if (tracer) {
		*link = tracer->next;
		tell_containers(engine);
	}
	pthread_mutex_unlock(&engine->lock);
	if (tracer)
		release(tracer);
}

int tracers_start(struct engine *engine)
{
	if (!engine->options.trace)
		return 0;
	engine->tracers = tracer_new(NULL, engine->options.trace);
	return engine->tracers ? 0 : -ENOMEM;
}

void tracers_stop(struct engine *engine)
{
	while (engine->tracers)
		engine_untrace(engine, engine->tracers->hooks);
}

/* ---- One call ---- */

/* The tracer may go at any time: it is taken under the lock, or not at all. */
static struct tracer *take(struct listener *listener)
{
	struct engine *engine = listener->engine;
	struct tracer *tracer;

	pthread_mutex_lock(&engine->lock);
	tracer = atomic_load(&listener->container->tracer);
	if (tracer)
		atomic_fetch_add(&tracer->references, 1);
	pthread_mutex_unlock(&engine->lock);
	return tracer;
}

__attribute__((noinline, cold)) void tracer_call(struct executor *executor,
						 struct listener *listener,
						 struct journal_slot *slot)
{
	struct traced_call traced = {.tracer = take(listener)};
	const struct trace_hooks *hooks = traced.tracer ? traced.tracer->hooks : NULL;

	if (hooks)
		traced.call = hooks->received(hooks->context, listener->fd, &slot->notification);
	traced_now = traced.call ? &traced : NULL;
	call_received_traced(executor, listener, slot);
	traced_now = NULL;
	if (traced.call)
		hooks->vanished(hooks->context, traced.call);
	if (traced.tracer)
		release(traced.tracer);
}

bool traced_executes(const struct nvos54_parameters *control)
{
	const struct trace_hooks *hooks = traced_now ? traced_now->tracer->hooks : NULL;

	return hooks && hooks->executes(hooks->context, traced_now->call, control);
}

void traced_executed(uint64_t nanoseconds)
{
	const struct trace_hooks *hooks = traced_now->tracer->hooks;

	hooks->executed(hooks->context, traced_now->call, nanoseconds);
}

void traced_answered(const struct seccomp_notif_resp *response)
{
	const struct trace_hooks *hooks = traced_now->tracer->hooks;
	void *call = traced_now->call;

	traced_now->call = NULL;
	traced_now = NULL;
	hooks->answered(hooks->context, call, response);
}
