/* Notifications that somebody else receives. Each has a listener of its own here. */
#include "supervisor/engine-private.h"

#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <stdlib.h>

/* Of one source: as many as one that is held up again and again may leave behind. */
enum { IN_FLIGHT = 64 };

/* Referenced by who forwards, and by each of its calls in flight. */
struct engine_source {
	struct engine *engine;
	struct journal_listener *entry;
	uint32_t index;
	_Atomic uint32_t references;
};

static void release(struct engine_source *source)
{
	if (atomic_fetch_sub(&source->references, 1) != 1)
		return;
	atomic_store(&source->entry->state, JOURNAL_LISTENER_FREE);
	free(source);
}

struct engine_source *engine_add_source(struct engine *engine, uint32_t index)
{
	struct engine_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->engine = engine;
	source->index = index;
	source->entry = journal_listener(engine->journal, index);
	source->references = 1;
	return source;
}

void engine_remove_source(struct engine_source *source)
{
	release(source);
}

void listener_answer(struct listener *listener, uint64_t id, struct seccomp_notif_resp response)
{
	engine_answer *answer = listener->answer;

	response.id = id;
	if (traced_now)
		traced_answered(&response);
	if (listener->source)
		listener->answer = NULL;
	if (answer)
		answer(listener->context, response);
	else if (!listener->source)
		notify_respond(listener->fd, &response);
}

/* Who forwarded it waits for an answer also where the target has gone. */
void forward_end(struct listener *listener)
{
	listener_answer(listener, 0, (struct seccomp_notif_resp){.error = -EAGAIN});
	release(listener->source);
}

/* A listener of its own for one notification, with the work on it. */
static struct listener *new_listener(struct engine_source *source, int fd)
{
	struct engine *engine = source->engine;
	struct listener *listener = listener_new(engine, fd, source->index);

	if (!listener)
		return NULL;
	listener->work.record = journal_take(engine->journal);
	if (listener->work.record) {
		listener->source = source;
		atomic_fetch_add(&source->references, 1);
		return listener;
	}
	/* It owns its descriptor as long as it has no source. */
	listener->fd = -1;
	listener_release(listener);
	return NULL;
}

void engine_take(struct engine_source *source, int fd, const struct seccomp_notif *notification,
		 engine_answer *answer, void *context)
{
	struct engine *engine = source->engine;
	struct listener *listener = NULL;
	struct journal_slot *slot;

	if (!atomic_load(&engine->draining) && atomic_load(&source->references) <= IN_FLIGHT)
		listener = new_listener(source, fd);
	if (!listener) {
		atomic_fetch_add(&engine->counters->retried, 1);
		answer(context, (struct seccomp_notif_resp){.error = -EAGAIN});
		return;
	}
	listener->answer = answer;
	listener->context = context;
	slot = listener->work.record;
	slot->listener = source->index;
	slot->generation = source->entry->generation;
	slot->notification = *notification;
	atomic_store(&slot->phase, JOURNAL_RECEIVED);
	executors_submit(engine, &listener->work);
}
