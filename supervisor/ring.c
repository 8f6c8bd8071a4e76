/* NOTICE to everybody who edits beside: ring.c, pool.c, loop.c and watch.c are being replaced right now by
 * executors.c, idle.c and a new watch.c (one executor thread serves one active listener, blocked in RECV;
 * idle listeners lie in one epoll). Do not edit these four; mends of call.c, succession.c, journal.c go on. */
/* A ring: the thread that takes notifications from its listeners. */
#include "supervisor/engine-private.h"

#include "base/log.h"
#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

/* So many notifications of one listener before the others have their turn. */
enum { BUDGET = 64, EVENTS = 64 };

/* While slots are scarce a container keeps few of them. */
enum { IN_FLIGHT_WHEN_SCARCE = 8 };

static const uint64_t TAG_WAKE = UINT32_MAX;

static uint64_t tag_of(const struct listener *listener)
{
	return (uint64_t)listener->turn << 32 | listener->place;
}

static struct listener *listener_of(const struct ring *ring, uint64_t tag)
{
	uint32_t place = (uint32_t)tag;
	struct listener *listener = place < ring->table_size ? ring->table[place] : NULL;

	return listener && tag_of(listener) == tag ? listener : NULL;
}

static int place(struct ring *ring, struct listener *listener)
{
	struct listener **table;
	uint32_t place = 0;

	while (place < ring->table_size && ring->table[place])
		place++;
	if (place == ring->table_size) {
		uint32_t size = ring->table_size ? ring->table_size * 2 : 8;

		table = realloc(ring->table, size * sizeof(*table));
		if (!table)
			return -ENOMEM;
		memset(table + ring->table_size, 0, (size - ring->table_size) * sizeof(*table));
		ring->table = table;
		ring->table_size = size;
	}
	listener->place = place;
	listener->turn = ++ring->turn;
	ring->table[place] = listener;
	return loop_add(&ring->loop, listener->fd, tag_of(listener));
}

/* The last process under the filter has ended. Calls in flight keep the descriptor until they are
 * done. */
static void remove_listener(struct ring *ring, struct listener *listener)
{
	const struct engine_options *options = &ring->engine->options;

	loop_remove(&ring->loop, listener->fd, tag_of(listener));
	ring->table[listener->place] = NULL;
	atomic_fetch_sub(&ring->listeners, 1);
	atomic_store(&listener->entry->state, options->listener_closed ? JOURNAL_LISTENER_CLOSED
								       : JOURNAL_LISTENER_FREE);
	if (options->listener_closed)
		options->listener_closed(options->context, listener->index);
	listener_release(listener);
}

/* The ring stops reading until a call in flight ends, and is woken then. */
static void pause_listener(struct ring *ring, struct listener *listener)
{
	atomic_store(&listener->paused, true);
	loop_remove(&ring->loop, listener->fd, tag_of(listener));
}

static void resume_listeners(struct ring *ring)
{
	for (uint32_t i = 0; i < ring->table_size; i++) {
		struct listener *listener = ring->table[i];

		if (!listener || !atomic_load(&listener->paused))
			continue;
		atomic_store(&listener->paused, false);
		if (loop_add(&ring->loop, listener->fd, tag_of(listener)))
			log_error("cannot wait for a container's calls", "container=%s",
				  listener->container->label);
	}
}

/* A slot that nobody holds yet bears our mark, so that a successor knows whose it was. */
static bool take_slot(struct ring *ring)
{
	struct journal_slot *slot = ring->slot;

	if (slot)
		return true;
	slot = journal_take(ring->engine->journal);
	if (slot) {
		slot->owner_process = ring->engine->process;
		atomic_store_explicit(&slot->owner, ring->tid, memory_order_relaxed);
		ring->slot = slot;
	}
	return slot != NULL;
}

static bool may_receive(struct ring *ring, struct listener *listener)
{
	uint32_t in_flight = atomic_load(&listener->in_flight);

	if (take_slot(ring))
		return in_flight < LISTENER_IN_FLIGHT &&
		       (in_flight < IN_FLIGHT_WHEN_SCARCE ||
			!journal_is_scarce(ring->engine->journal));
	atomic_store(&ring->starving, true);
	return false;
}

static void receive(struct ring *ring, struct listener *listener)
{
	struct journal_slot *slot = ring->slot;
	int result;

	/* The listener stands in the journal before the kernel writes the notification there. */
	slot->listener = listener->index;
	slot->generation = listener->entry->generation;
	memset(&slot->notification, 0, sizeof(slot->notification));
	atomic_store_explicit(&slot->phase, JOURNAL_RECEIVING, memory_order_release);
	result = notify_receive(listener->fd, &slot->notification);
	if (result) {
		atomic_store_explicit(&slot->phase, JOURNAL_FREE, memory_order_release);
		atomic_fetch_add_explicit(&ring->counters->vanished, 1, memory_order_relaxed);
		return;
	}
	atomic_store_explicit(&slot->phase, JOURNAL_RECEIVED, memory_order_release);
	atomic_fetch_add_explicit(&ring->counters->received, 1, memory_order_relaxed);
	if (call_received(ring, listener, slot))
		ring->slot = NULL;
	else
		atomic_store_explicit(&slot->phase, JOURNAL_FREE, memory_order_release);
}

/* The other listeners are not ours any more; to be asked after every look into a target's memory. */
static bool is_taken_over(const struct ring *ring)
{
	return atomic_load_explicit(&ring->reading, memory_order_relaxed) & RING_TAKEN_OVER;
}

/* One wake-up may stand for many notifications, and RECV blocks when there is none: ask before each.
 * Returns true when there may be more. */
static bool drain(struct ring *ring, struct listener *listener)
{
	const struct engine *engine = ring->engine;

	for (int i = 0; i < BUDGET; i++) {
		struct pollfd ready = {.fd = listener->fd, .events = POLLIN};

		if (poll(&ready, 1, 0) <= 0)
			return false;
		if (!(ready.revents & POLLIN)) {
			if (ready.revents & (POLLHUP | POLLNVAL))
				remove_listener(ring, listener);
			return false;
		}
		if (atomic_load_explicit(&engine->draining, memory_order_relaxed)) {
			pause_listener(ring, listener);
			return false;
		}
		if (!may_receive(ring, listener)) {
			pause_listener(ring, listener);
			/* The last call may have ended before it could see the pause. */
			if (ring->slot && atomic_load(&listener->in_flight) < IN_FLIGHT_WHEN_SCARCE)
				ring_wake(ring);
			return false;
		}
		ring->current = listener;
		receive(ring, listener);
		if (is_taken_over(ring))
			return false;
	}
	return true;
}

static void add_incoming(struct ring *ring, struct listener *incoming)
{
	while (incoming) {
		struct listener *listener = incoming;
		int result;

		incoming = listener->next_incoming;
		result = place(ring, listener);
		if (result) {
			log_error("cannot take a container's listener", "container=%s error=\"%s\"",
				  listener->container->label, strerror(-result));
			listener_release(listener);
		}
	}
}

static void take_incoming(struct ring *ring)
{
	struct listener *incoming;
	uint64_t count;
	bool resume;

	if (read(ring->wake, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&ring->lock);
	incoming = ring->incoming;
	ring->incoming = NULL;
	resume = ring->resume;
	ring->resume = false;
	pthread_mutex_unlock(&ring->lock);
	add_incoming(ring, incoming);
	if (resume)
		resume_listeners(ring);
}

static void handle_event(struct ring *ring, const struct loop_event *event, bool *more)
{
	struct listener *listener;

	if (event->tag == TAG_WAKE) {
		take_incoming(ring);
		if (event->events & LOOP_ENDED)
			loop_rearm(&ring->loop, ring->wake, TAG_WAKE);
		return;
	}
	listener = listener_of(ring, event->tag);
	if (!listener || atomic_load(&listener->paused))
		return;
	if (drain(ring, listener))
		*more = true;
	if (listener_of(ring, event->tag) == listener && !atomic_load(&listener->paused) &&
	    (event->events & LOOP_ENDED))
		loop_rearm(&ring->loop, listener->fd, event->tag);
}

/* Listeners that had more than their budget: everybody's turn again. */
static bool drain_all(struct ring *ring)
{
	bool more = false;

	for (uint32_t i = 0; i < ring->table_size && !is_taken_over(ring); i++)
		if (ring->table[i] && !atomic_load(&ring->table[i]->paused) &&
		    drain(ring, ring->table[i]))
			more = true;
	return more;
}

/* After the watch has given the others away: their polls lie in our loop still. */
static void begin_again(struct ring *ring)
{
	struct listener *listener = ring->current;
	int result;

	pthread_mutex_lock(&ring->lock); /* until the watch is done */
	pthread_mutex_unlock(&ring->lock);
	atomic_fetch_and(&ring->reading, ~RING_TAKEN_OVER);
	loop_close(&ring->loop);
	result = loop_init(&ring->loop, ring->engine->options.with_uring);
	if (!result)
		result = loop_add(&ring->loop, ring->wake, TAG_WAKE);
	if (!result && !atomic_load(&listener->paused))
		result = loop_add(&ring->loop, listener->fd, tag_of(listener));
	if (result) {
		log_error("cannot wait for calls", "error=\"%s\"", strerror(-result));
		abort();
	}
}

static bool goes_on(const struct ring *ring)
{
	return !atomic_load(&ring->engine->stopping) &&
	       !(ring->alone && !atomic_load(&ring->listeners));
}

static void run(struct ring *ring)
{
	struct loop_event events[EVENTS];
	bool more = false;

	while (goes_on(ring)) {
		int count = loop_wait(&ring->loop, events, EVENTS, !more);

		atomic_fetch_add_explicit(&ring->turns, 1, memory_order_relaxed);
		if (count < 0) {
			log_error("cannot wait for calls", "error=\"%s\"", strerror(-count));
			usleep(10000);
			continue;
		}
		if (more)
			more = drain_all(ring);
		for (int i = 0; i < count && !is_taken_over(ring); i++)
			handle_event(ring, &events[i], &more);
		if (is_taken_over(ring))
			begin_again(ring);
	}
}

static void release_all(struct listener *list)
{
	while (list) {
		struct listener *listener = list;

		list = listener->next_incoming;
		listener_release(listener);
	}
}

void ring_release(struct ring *ring)
{
	if (atomic_fetch_sub(&ring->references, 1) != 1)
		return;
	close(ring->wake);
	pthread_mutex_destroy(&ring->lock);
	free(ring);
}

static void end_ring(struct ring *ring)
{
	for (uint32_t i = 0; i < ring->table_size; i++)
		if (ring->table[i])
			listener_release(ring->table[i]);
	release_all(ring->incoming);
	free(ring->table);
	if (ring->slot)
		journal_give(ring->engine->journal, ring->slot);
	ring_release(ring);
}

/* A ring of io_uring belongs to the thread that makes it. */
static void *ring_thread(void *argument)
{
	struct ring *ring = argument;
	struct engine *engine = ring->engine;
	int result = loop_init(&ring->loop, engine->options.with_uring);

	prctl(PR_SET_NAME, "mpu-ring");
	ring->tid = gettid();
	if (!result)
		result = loop_add(&ring->loop, ring->wake, TAG_WAKE);
	if (result) {
		log_error("cannot wait for calls", "error=\"%s\"", strerror(-result));
		abort();
	}
	run(ring);
	loop_close(&ring->loop);
	if (ring->alone) {
		end_ring(ring);
		atomic_fetch_sub(&engine->alone, 1);
	}
	return NULL;
}

/* Signals are the business of the program around us. */
static int start_thread(struct ring *ring)
{
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&ring->thread, NULL, ring_thread, ring);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

struct ring *ring_start(struct engine *engine, unsigned int number, struct mpu_error *error)
{
	struct ring *ring = aligned_alloc(64, (sizeof(*ring) + 63) / 64 * 64);
	int result;

	if (!ring) {
		mpu_fail(error, ENOMEM, "cannot start a thread: %s", strerror(ENOMEM));
		return NULL;
	}
	memset(ring, 0, sizeof(*ring));
	ring->engine = engine;
	ring->references = 1;
	ring->number = number;
	ring->counters = &engine->counters->ring[number];
	pthread_mutex_init(&ring->lock, NULL);
	ring->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = ring->wake < 0 ? errno : start_thread(ring);
	if (!result)
		return ring;
	mpu_fail(error, result, "cannot start a thread: %s", strerror(result));
	if (ring->wake >= 0)
		close(ring->wake);
	free(ring);
	return NULL;
}

void ring_wake(struct ring *ring)
{
	uint64_t one = 1;

	pthread_mutex_lock(&ring->lock);
	ring->resume = true;
	pthread_mutex_unlock(&ring->lock);
	if (write(ring->wake, &one, sizeof(one)) < 0)
		return; /* full: the ring is awake anyway */
}

void ring_add(struct ring *ring, struct listener *listener)
{
	struct ring *before = atomic_exchange(&listener->ring, ring);

	atomic_fetch_add(&ring->references, 1);
	atomic_fetch_add(&ring->listeners, 1);
	if (before)
		ring_release(before);
	pthread_mutex_lock(&ring->lock);
	listener->next_incoming = ring->incoming;
	ring->incoming = listener;
	pthread_mutex_unlock(&ring->lock);
	ring_wake(ring);
}

void ring_join(struct ring *ring)
{
	ring_wake(ring);
	pthread_join(ring->thread, NULL);
	end_ring(ring);
}

/* ---- When a target holds the ring up ---- */

void ring_reading(struct ring *ring)
{
	atomic_fetch_add(&ring->reading, 1);
	watch_active(&ring->engine->watch);
}

void ring_has_read(struct ring *ring)
{
	atomic_fetch_add_explicit(&ring->reading, 1, memory_order_release);
}

/* The thread is inside the read, and looks at nothing of this before it has had the lock. */
bool ring_take_over(struct ring *ring, uint64_t reading, struct ring *fresh)
{
	struct listener *moved = NULL;

	pthread_mutex_lock(&ring->lock);
	if (!atomic_compare_exchange_strong(&ring->reading, &reading, reading | RING_TAKEN_OVER)) {
		pthread_mutex_unlock(&ring->lock);
		return false;
	}
	moved = ring->incoming;
	ring->incoming = NULL;
	for (uint32_t i = 0; i < ring->table_size; i++) {
		struct listener *listener = ring->table[i];

		if (!listener || listener == ring->current)
			continue;
		ring->table[i] = NULL;
		atomic_store(&listener->paused, false);
		listener->next_incoming = moved;
		moved = listener;
	}
	ring->alone = true;
	atomic_store(&ring->listeners, 1);
	atomic_fetch_add(&ring->engine->alone, 1);
	pthread_detach(ring->thread);
	pthread_mutex_unlock(&ring->lock);
	while (moved) {
		struct listener *listener = moved;

		moved = listener->next_incoming;
		ring_add(fresh, listener);
	}
	return true;
}
