/* Taking up what a worker that ended has left in the journal. Two owners of one record would corrupt
 * the target: a record is taken only when its owner can no longer write. A killed thread never comes
 * back from the kernel into our code, but it may be in the middle of a write. */
#include "supervisor/engine-private.h"

#include "base/log.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/target.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Of the workers that a record ends, and of those that end while they have it. */
enum { DEATHS_MAX = 2, RETRIES_MAX = 16 };

int succession_begin(struct engine *engine)
{
	engine->left = calloc(JOURNAL_SLOTS, sizeof(*engine->left));
	if (!engine->left)
		return -ENOMEM;
	for (uint32_t i = 0; i < JOURNAL_SLOTS; i++) {
		struct journal_slot *slot = journal_slot(engine->journal, i);

		if (atomic_load(&slot->phase) != JOURNAL_FREE)
			engine->left[engine->left_count++].record = slot;
	}
	return 0;
}

static bool is_undead(const struct journal_header *header, pid_t process)
{
	for (uint32_t i = 0; i < JOURNAL_UNDEAD; i++)
		if (header->undead[i].pid == process &&
		    task_may_be_there(process, header->undead[i].start))
			return true;
	return false;
}

static bool may_write(struct engine *engine, const struct journal_slot *slot)
{
	return is_undead(journal_header(engine->journal), slot->writer_process) &&
	       task_may_be_alive(slot->writer_process, slot->writer);
}

/* Who was told by the kernel that it crashed is to blame; where nobody was, all that were at work. */
static bool is_to_blame(const struct journal_header *header, const struct journal_slot *slot,
			pid_t owner)
{
	pid_t crashed = atomic_load(&header->crashed_thread);

	if (header->death != JOURNAL_CRASHED && header->death != JOURNAL_HUNG)
		return false;
	return owner && slot->owner_process == header->former.pid &&
	       (!crashed || crashed == owner);
}

static void blame(struct engine *engine, struct listener *listener, struct journal_slot *slot)
{
	if (!is_to_blame(journal_header(engine->journal), slot, atomic_load(&slot->owner))) {
		slot->retries++;
		return;
	}
	if (++slot->deaths < DEATHS_MAX)
		return;
	atomic_store(&listener->entry->quarantined, 1);
	log_error("a GPU call has ended mpud's worker again and again: no call of this container is "
		  "corrected any more, they fail; please report it",
		  "container=%s pid=%u cmd=0x%08x", listener->container->label,
		  slot->notification.pid, slot->control.cmd);
}

/* The listener of SLOT, referenced, or NULL where it is gone. */
static struct listener *find_listener(struct engine *engine, const struct journal_slot *slot)
{
	struct listener *listener = NULL;

	pthread_mutex_lock(&engine->lock);
	if (slot->listener < JOURNAL_LISTENERS)
		listener = engine->open[slot->listener];
	if (listener && listener->entry->generation == slot->generation)
		listener_reference(listener);
	else
		listener = NULL;
	pthread_mutex_unlock(&engine->lock);
	return listener;
}

static void find_writer(struct journal_slot *slot)
{
	uint32_t phase = atomic_load(&slot->phase);

	if (slot->writer || (phase != JOURNAL_WRITING && phase != JOURNAL_RECEIVING))
		return;
	slot->writer = atomic_load(&slot->owner);
	slot->writer_process = slot->owner_process;
}

static bool was_never_filled(struct engine *engine, const struct journal_slot *slot)
{
	return atomic_load(&slot->phase) == JOURNAL_RECEIVING && !slot->notification.id &&
	       !may_write(engine, slot);
}

static void take_up(struct engine *engine, struct work *work)
{
	struct journal_slot *slot = work->record;
	struct listener *listener = find_listener(engine, slot);

	find_writer(slot);
	if (!listener || was_never_filled(engine, slot)) {
		if (listener)
			listener_release(listener);
		journal_give(engine->journal, slot);
		return;
	}
	blame(engine, listener, slot);
	atomic_fetch_add(&engine->counters->taken_up, 1);
	atomic_store(&slot->owner, 0);
	work->listener = listener;
	executors_submit(engine, work);
}

unsigned int engine_take_up(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->left_count; i++)
		take_up(engine, &engine->left[i]);
	atomic_store(&journal_header(engine->journal)->crashed_thread, 0);
	return engine->left_count;
}

/* The longer it takes the less often it is looked at. */
bool succession_wait(struct listener *listener, struct journal_slot *slot)
{
	useconds_t pause = 200;

	while (slot->writer && may_write(listener->engine, slot)) {
		if (slot->notification.id &&
		    !notify_id_valid(listener->fd, slot->notification.id))
			return false;
		usleep(pause);
		pause = pause < 50000 ? pause * 2 : pause;
	}
	slot->writer = 0;
	if (!slot->notification.id || !notify_id_valid(listener->fd, slot->notification.id))
		return false;
	/* A half-written answer is better finished than asked for again. */
	if (slot->deaths < DEATHS_MAX &&
	    (slot->retries < RETRIES_MAX || atomic_load(&slot->phase) >= JOURNAL_ANSWER_READY))
		return true;
	call_retry(listener, slot);
	return false;
}
