/* The threads that run handled calls, and who goes first: containers take turns, and none has more
 * than half of the threads. */
#include "supervisor/engine-private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static unsigned int share_of(const struct pool *pool)
{
	return pool->size > 1 ? pool->size / 2 : 1;
}

static void enqueue(struct pool *pool, struct listener *listener)
{
	listener->queued = true;
	listener->next_queued = NULL;
	*pool->queue_end = listener;
	pool->queue_end = &listener->next_queued;
}

static struct listener *dequeue(struct pool *pool)
{
	struct listener *listener = pool->queue;

	pool->queue = listener->next_queued;
	if (!pool->queue)
		pool->queue_end = &pool->queue;
	listener->queued = false;
	return listener;
}

static void append(struct listener *listener, struct journal_slot *slot)
{
	if (!listener->waiting)
		listener->waiting_end = &listener->waiting;
	slot->next = NULL;
	*listener->waiting_end = slot;
	listener->waiting_end = &slot->next;
}

static struct journal_slot *next_slot(struct listener *listener)
{
	struct journal_slot *slot = listener->waiting;

	listener->waiting = slot->next;
	return slot;
}

/* Under the lock. */
static bool is_due(const struct pool *pool, const struct listener *listener)
{
	return listener->waiting && !listener->queued && listener->running < share_of(pool);
}

static void finish(struct engine *engine, struct listener *listener, struct journal_slot *slot)
{
	journal_give(engine->journal, slot);
	atomic_fetch_sub(&listener->in_flight, 1);
	if (atomic_load(&listener->paused))
		ring_wake(listener->ring);
	listener_release(listener);
}

static void *worker_thread(void *argument)
{
	struct engine *engine = argument;
	struct pool *pool = &engine->pool;

	prctl(PR_SET_NAME, "mpu-worker");
	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping || pool->queue) {
		struct listener *listener;
		struct journal_slot *slot;

		if (!pool->queue) {
			pool->idle++;
			pthread_cond_wait(&pool->work, &pool->lock);
			pool->idle--;
			continue;
		}
		listener = dequeue(pool);
		slot = next_slot(listener);
		listener->running++;
		if (is_due(pool, listener))
			enqueue(pool, listener);
		pthread_mutex_unlock(&pool->lock);

		call_handle(listener, slot);

		pthread_mutex_lock(&pool->lock);
		listener->running--;
		if (is_due(pool, listener)) {
			enqueue(pool, listener);
			pthread_cond_signal(&pool->work);
		}
		pthread_mutex_unlock(&pool->lock);
		finish(engine, listener, slot);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int pool_start(struct pool *pool, unsigned int size)
{
	memset(pool, 0, sizeof(*pool));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pool->queue_end = &pool->queue;
	pool->size = size;
	pool->thread = calloc(size, sizeof(*pool->thread));
	return pool->thread ? 0 : -ENOMEM;
}

static void start_thread(struct pool *pool, struct engine *engine)
{
	if (!pthread_create(&pool->thread[pool->started], NULL, worker_thread, engine))
		pool->started++;
}

void pool_submit(struct pool *pool, struct listener *listener, struct journal_slot *slot)
{
	struct engine *engine = listener->engine;

	listener_reference(listener);
	atomic_fetch_add(&listener->in_flight, 1);
	pthread_mutex_lock(&pool->lock);
	append(listener, slot);
	if (is_due(pool, listener))
		enqueue(pool, listener);
	if (pool->idle)
		pthread_cond_signal(&pool->work);
	else if (pool->started < pool->size && !pool->stopping)
		start_thread(pool, engine);
	pthread_mutex_unlock(&pool->lock);
}

void pool_stop(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->started; i++)
		pthread_join(pool->thread[i], NULL);
	free(pool->thread);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
}
