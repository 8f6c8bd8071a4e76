/* NOTICE to everybody who edits beside: ring.c, pool.c, loop.c and watch.c are being replaced right now by
 * executors.c, idle.c and a new watch.c (one executor thread serves one active listener, blocked in RECV;
 * idle listeners lie in one epoll). Do not edit these four; mends of call.c, succession.c, journal.c go on. */
/* The threads that run handled calls, and who goes first: containers take turns, and none has more
 * than half of the threads. A thread that is stuck, in the driver or in a target's memory, is made
 * up for by another. */
#include "supervisor/engine-private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* Each call in flight has a desk in the journal. */
enum { THREADS_MAX = JOURNAL_DESKS / 2 };

static unsigned int share_of(const struct pool *pool)
{
	return pool->size > 1 ? pool->size / 2 : 1;
}

static void enqueue(struct pool *pool, struct container *container)
{
	container->queued = true;
	container->next_queued = NULL;
	*pool->queue_end = container;
	pool->queue_end = &container->next_queued;
}

static struct container *dequeue(struct pool *pool)
{
	struct container *container = pool->queue;

	pool->queue = container->next_queued;
	if (!pool->queue)
		pool->queue_end = &pool->queue;
	container->queued = false;
	return container;
}

static void append(struct container *container, struct journal_slot *slot)
{
	if (!container->waiting)
		container->waiting_end = &container->waiting;
	slot->next = NULL;
	*container->waiting_end = slot;
	container->waiting_end = &slot->next;
}

static struct journal_slot *next_slot(struct container *container)
{
	struct journal_slot *slot = container->waiting;

	container->waiting = slot->next;
	return slot;
}

/* Under the lock. */
static void enqueue_if_due(struct pool *pool, struct container *container)
{
	if (!container->waiting || container->queued || container->running >= share_of(pool))
		return;
	enqueue(pool, container);
	pthread_cond_signal(&pool->work);
}

static void wake_starving(struct engine *engine)
{
	for (unsigned int i = 0; i < engine->rings; i++) {
		struct ring *ring = atomic_load(&engine->ring[i]);

		if (atomic_load(&ring->starving) && atomic_exchange(&ring->starving, false))
			ring_wake(ring);
	}
}

static void finish(struct engine *engine, struct listener *listener, struct journal_slot *slot)
{
	journal_give(engine->journal, slot);
	wake_starving(engine);
	atomic_fetch_sub(&listener->in_flight, 1);
	if (atomic_load(&listener->paused))
		ring_wake(atomic_load(&listener->ring));
	listener_release(listener);
}

static void handle(struct engine *engine, struct journal_slot *slot)
{
	struct listener *listener = slot->of;

	slot->owner_process = engine->process;
	atomic_store(&slot->owner, gettid());
	watch_active(&engine->watch);
	call_handle(listener, slot);
}

/* Under the lock. */
static bool is_wanted(const struct pool *pool)
{
	return pool->queue || (!pool->stopping && pool->started <= pool->size);
}

static void *worker_thread(void *argument)
{
	struct engine *engine = argument;
	struct pool *pool = &engine->pool;

	prctl(PR_SET_NAME, "mpu-worker");
	pthread_mutex_lock(&pool->lock);
	while (is_wanted(pool)) {
		struct container *container;
		struct journal_slot *slot;

		if (!pool->queue) {
			pool->idle++;
			pthread_cond_wait(&pool->work, &pool->lock);
			pool->idle--;
			continue;
		}
		container = dequeue(pool);
		slot = next_slot(container);
		container->running++;
		enqueue_if_due(pool, container);
		pthread_mutex_unlock(&pool->lock);

		handle(engine, slot);

		pthread_mutex_lock(&pool->lock);
		pool->done++;
		container->running--;
		enqueue_if_due(pool, container);
		pthread_mutex_unlock(&pool->lock);
		finish(engine, slot->of, slot);
		pthread_mutex_lock(&pool->lock);
	}
	pool->started--;
	if (pool->extra)
		pool->extra--;
	pthread_cond_broadcast(&pool->ended);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int pool_start(struct pool *pool, unsigned int size)
{
	memset(pool, 0, sizeof(*pool));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->ended, NULL);
	pool->queue_end = &pool->queue;
	pool->size = size;
	return 0;
}

/* Under the lock. Signals are not the business of these threads. */
static bool start_thread(struct pool *pool, struct engine *engine)
{
	sigset_t all, before;
	pthread_t thread;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, NULL, worker_thread, engine);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		return false;
	pthread_detach(thread);
	pool->started++;
	return true;
}

void pool_submit(struct pool *pool, struct listener *listener, struct journal_slot *slot)
{
	struct engine *engine = listener->engine;

	slot->of = listener_reference(listener);
	atomic_store(&slot->owner, 0);
	atomic_fetch_add(&listener->in_flight, 1);
	watch_active(&engine->watch);
	pthread_mutex_lock(&pool->lock);
	append(listener->container, slot);
	enqueue_if_due(pool, listener->container);
	if (!pool->idle && pool->started < pool->size + pool->extra && !pool->stopping)
		start_thread(pool, engine);
	pthread_mutex_unlock(&pool->lock);
}

bool pool_help(struct pool *pool, struct engine *engine, uint64_t *done)
{
	bool active, stuck;

	pthread_mutex_lock(&pool->lock);
	active = pool->queue || pool->started > pool->idle;
	stuck = pool->queue && !pool->idle && pool->done == *done;
	*done = pool->done;
	if (stuck && !pool->stopping && pool->started < THREADS_MAX && start_thread(pool, engine) &&
	    pool->started > pool->size)
		pool->extra++;
	pthread_mutex_unlock(&pool->lock);
	return active;
}

void pool_stop(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->started)
		pthread_cond_wait(&pool->ended, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&pool->ended);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
}
