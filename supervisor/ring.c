/* A ring: the thread that takes notifications from its listeners. */
#include "supervisor/engine-private.h"

#include "base/log.h"
#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

/* So many notifications of one listener before the others have their turn. */
enum { BUDGET = 64, EVENTS = 64 };

static const uint64_t TAG_WAKE = UINT32_MAX;

static uint64_t tag_of(const struct listener *listener)
{
	return (uint64_t)listener->generation << 32 | listener->index;
}

static struct listener *listener_of(const struct ring *ring, uint64_t tag)
{
	uint32_t index = (uint32_t)tag;
	struct listener *listener = index < ring->table_size ? ring->table[index] : NULL;

	return listener && tag_of(listener) == tag ? listener : NULL;
}

static int place(struct ring *ring, struct listener *listener)
{
	struct listener **table;
	uint32_t index = 0;

	while (index < ring->table_size && ring->table[index])
		index++;
	if (index == ring->table_size) {
		uint32_t size = ring->table_size ? ring->table_size * 2 : 8;

		table = realloc(ring->table, size * sizeof(*table));
		if (!table)
			return -ENOMEM;
		memset(table + ring->table_size, 0, (size - ring->table_size) * sizeof(*table));
		ring->table = table;
		ring->table_size = size;
	}
	listener->index = index;
	listener->generation = ++ring->generation;
	ring->table[index] = listener;
	return loop_add(&ring->loop, listener->fd, tag_of(listener));
}

/* The last process under the filter has ended. Calls in flight keep the descriptor until they are
 * done. */
static void remove_listener(struct ring *ring, struct listener *listener)
{
	const struct engine_options *options = &ring->engine->options;

	loop_remove(&ring->loop, listener->fd, tag_of(listener));
	ring->table[listener->index] = NULL;
	atomic_fetch_sub(&ring->listeners, 1);
	if (options->listener_closed)
		options->listener_closed(options->context, listener->cookie);
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
				  listener->label);
	}
}

static bool may_receive(struct ring *ring, struct listener *listener)
{
	if (!ring->slot)
		ring->slot = journal_take(ring->engine->journal);
	return ring->slot && atomic_load(&listener->in_flight) < LISTENER_IN_FLIGHT;
}

static void receive(struct ring *ring, struct listener *listener)
{
	struct journal_slot *slot = ring->slot;
	int result;

	/* The listener stands in the journal before the kernel writes the notification there. */
	slot->listener = listener->index;
	slot->generation = listener->generation;
	memset(&slot->notification, 0, sizeof(slot->notification));
	result = notify_receive(listener->fd, &slot->notification);
	if (result) {
		atomic_fetch_add_explicit(&ring->counters.vanished, 1, memory_order_relaxed);
		return;
	}
	atomic_store_explicit(&slot->phase, JOURNAL_RECEIVED, memory_order_release);
	atomic_fetch_add_explicit(&ring->counters.received, 1, memory_order_relaxed);
	if (call_received(listener, slot))
		ring->slot = NULL;
	else
		atomic_store_explicit(&slot->phase, JOURNAL_FREE, memory_order_release);
}

/* One wake-up may stand for many notifications, and RECV blocks when there is none: ask before each.
 * Returns true when there may be more. */
static bool drain(struct ring *ring, struct listener *listener)
{
	for (int i = 0; i < BUDGET; i++) {
		struct pollfd ready = {.fd = listener->fd, .events = POLLIN};

		if (poll(&ready, 1, 0) <= 0)
			return false;
		if (!(ready.revents & POLLIN)) {
			if (ready.revents & (POLLHUP | POLLNVAL))
				remove_listener(ring, listener);
			return false;
		}
		if (!may_receive(ring, listener)) {
			pause_listener(ring, listener);
			/* The last call may have ended before it could see the pause. */
			if (atomic_load(&listener->in_flight) < LISTENER_IN_FLIGHT)
				ring_wake(ring);
			return false;
		}
		receive(ring, listener);
	}
	return true;
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
	while (incoming) {
		struct listener *listener = incoming;
		int result;

		incoming = listener->next_incoming;
		result = place(ring, listener);
		if (result) {
			log_error("cannot take a container's listener", "container=%s error=\"%s\"",
				  listener->label, strerror(-result));
			listener_release(listener);
		}
	}
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

	for (uint32_t i = 0; i < ring->table_size; i++)
		if (ring->table[i] && !atomic_load(&ring->table[i]->paused) &&
		    drain(ring, ring->table[i]))
			more = true;
	return more;
}

static void run(struct ring *ring)
{
	struct loop_event events[EVENTS];
	bool more = false;

	while (!atomic_load(&ring->engine->stopping)) {
		int count = loop_wait(&ring->loop, events, EVENTS, !more);

		if (count < 0) {
			log_error("cannot wait for calls", "error=\"%s\"", strerror(-count));
			usleep(10000);
			continue;
		}
		if (more)
			more = drain_all(ring);
		for (int i = 0; i < count; i++)
			handle_event(ring, &events[i], &more);
	}
}

static void close_all(struct ring *ring)
{
	for (uint32_t i = 0; i < ring->table_size; i++)
		if (ring->table[i])
			listener_release(ring->table[i]);
	free(ring->table);
	ring->table = NULL;
	ring->table_size = 0;
	if (ring->slot)
		journal_give(ring->engine->journal, ring->slot);
}

/* A ring of io_uring belongs to the thread that makes it. */
static void *ring_thread(void *argument)
{
	struct ring *ring = argument;
	int result = loop_init(&ring->loop, ring->engine->options.with_uring);

	prctl(PR_SET_NAME, "mpu-ring");
	if (!result)
		result = loop_add(&ring->loop, ring->wake, TAG_WAKE);
	if (result) {
		log_error("cannot wait for calls", "error=\"%s\"", strerror(-result));
		abort();
	}
	run(ring);
	close_all(ring);
	loop_close(&ring->loop);
	return NULL;
}

int ring_start(struct ring *ring, struct engine *engine, struct mpu_error *error)
{
	int result;

	ring->engine = engine;
	pthread_mutex_init(&ring->lock, NULL);
	ring->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->wake < 0)
		return mpu_fail(error, errno, "cannot make an eventfd: %s", strerror(errno));
	result = pthread_create(&ring->thread, NULL, ring_thread, ring);
	if (result)
		return mpu_fail(error, result, "cannot start a thread: %s", strerror(result));
	return 0;
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
	atomic_fetch_add(&ring->listeners, 1);
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
	while (ring->incoming) {
		struct listener *listener = ring->incoming;

		ring->incoming = listener->next_incoming;
		listener_release(listener);
	}
	close(ring->wake);
	pthread_mutex_destroy(&ring->lock);
}
