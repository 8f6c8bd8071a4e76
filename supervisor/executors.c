/* The threads that receive, let pass, execute and answer. Each serves one listener while there is
 * something to do on it; containers have few of them each, so that none takes all. */
#include "supervisor/engine-private.h"

#include "base/log.h"
#include "base/signals.h"
#include "supervisor/kernel/kick.h"
#include "supervisor/kernel/notify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* What handlers and their library calls need, with a margin. */
enum { STACK = 512 << 10 };

/* ---- Who does what; all under the lock ---- */

static void put_last(struct work **first, struct work ***end, struct work *work)
{
	if (!*first)
		*end = first;
	work->next = NULL;
	**end = work;
	*end = &work->next;
}

static struct work *take_first(struct work **first)
{
	struct work *work = *first;

	if (work)
		*first = work->next;
	return work;
}

static void *executor_thread(void *argument);

/* Returns false when there are as many as there may be, or as the machine lets us have. */
static bool start_one(struct engine *engine)
{
	struct executors *executors = &engine->executors;
	struct executor *executor;
	unsigned int number = 0;
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int result;

	while (number < EXECUTORS_MAX && executors->all[number])
		number++;
	executor = number < EXECUTORS_MAX ? aligned_alloc(64, (sizeof(*executor) + 63) & ~63ul)
					  : NULL;
	if (!executor)
		return false;
	memset(executor, 0, sizeof(*executor));
	executor->engine = engine;
	executor->number = number;
	executor->counters = &engine->counters->thread[number % COUNTERS];
	signals_of_others(&all);
	sigdelset(&all, KICK_SIGNAL);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
#ifndef __SANITIZE_ADDRESS__
	pthread_attr_setstacksize(&attributes, STACK);
#endif
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, &attributes, executor_thread, executor);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (result) {
		free(executor);
		if (!executors->refused)
			log_error("no thread can be had for calls: they wait", "error=\"%s\"",
				  strerror(result));
		executors->refused = true;
		return false;
	}
	executors->refused = false;
	executors->all[number] = executor;
	executors->started++;
	return true;
}

/* The fewer are left, the fewer a container may have, but always one: many containers together that
 * hold up all that they get leave some for others. */
static unsigned int share_of(const struct executors *executors)
{
	unsigned int left = EXECUTORS_MAX - executors->started + executors->idle;

	return left > EXECUTORS_MAX / 2 ? CONTAINER_EXECUTORS : left > EXECUTORS_MAX / 4 ? 2 : 1;
}

static void enqueue(struct engine *engine, struct work *work)
{
	struct executors *executors = &engine->executors;
	struct container *container = work->listener->container;

	if (container->executors >= share_of(executors)) {
		put_last(&container->waiting, &container->waiting_end, work);
		return;
	}
	container->executors++;
	put_last(&executors->queue, &executors->queue_end, work);
	/* One that was woken and has not come yet counts as idle still. */
	if (executors->idle > executors->queued)
		pthread_cond_signal(&executors->work);
	else
		start_one(engine);
	executors->queued++;
}

void executors_help(struct engine *engine)
{
	if (!engine->executors.idle && !engine->executors.stopping)
		start_one(engine);
}

void executors_submit(struct engine *engine, struct work *work)
{
	pthread_mutex_lock(&engine->executors.lock);
	enqueue(engine, work);
	pthread_mutex_unlock(&engine->executors.lock);
	watch_active(&engine->watch);
}

static bool is_wanted(const struct executors *executors)
{
	return executors->queue || (!executors->stopping && executors->idle < EXECUTORS_KEPT);
}

/* ---- What one of them does ---- */

void executor_begins(struct executor *executor)
{
	atomic_fetch_add(&executor->turn, 1);
	watch_active(&executor->engine->watch);
}

bool executor_ends(struct executor *executor)
{
	return !(atomic_fetch_add(&executor->turn, 1) & EXECUTOR_ROBBED);
}

/* The executor cannot have come to its end before it sees that it was robbed: both change its turn. */
void executor_rob(struct executor *executor, uint64_t turn)
{
	struct engine *engine = executor->engine;
	struct listener *listener = atomic_load(&executor->listener);

	if (!listener ||
	    !atomic_compare_exchange_strong(&executor->turn, &turn, turn | EXECUTOR_ROBBED))
		return;
	atomic_fetch_add(&engine->counters->taken_over, 1);
	idle_put(engine, listener);
}

void executor_kick(struct executor *executor)
{
	atomic_store(&executor->kicked, true);
	kick_thread(executor->tid);
}

static bool has_closed(const struct listener *listener)
{
	struct pollfd ready = {.fd = listener->fd, .events = POLLIN};

	return poll(&ready, 1, 0) == 1 && !(ready.revents & POLLIN);
}

/* 0 with a notification in the slot, -EAGAIN to go on without, or another error to leave off. */
static int receive(struct executor *executor, struct listener *listener)
{
	struct journal_slot *slot = executor->slot;
	int result;

	/* The listener stands in the journal before the kernel writes the notification there. */
	slot->listener = listener->index;
	slot->generation = listener->entry->generation;
	memset(&slot->notification, 0, sizeof(slot->notification));
	atomic_store_explicit(&slot->phase, JOURNAL_RECEIVING, memory_order_release);
	result = notify_receive(listener->fd, &slot->notification);
	if (!result) {
		atomic_store_explicit(&slot->phase, JOURNAL_RECEIVED, memory_order_release);
		atomic_fetch_add_explicit(&executor->counters->received, 1, memory_order_relaxed);
		return 0;
	}
	atomic_store_explicit(&slot->phase, JOURNAL_FREE, memory_order_release);
	if (result == -EINTR)
		return -EAGAIN;
	atomic_fetch_add_explicit(&executor->counters->vanished, 1, memory_order_relaxed);
	return result == -ENOENT && !has_closed(listener) ? -EAGAIN : result;
}

static bool must_leave(const struct executor *executor)
{
	return atomic_load_explicit(&executor->kicked, memory_order_relaxed) ||
	       atomic_load_explicit(&executor->engine->draining, memory_order_relaxed);
}

/* Until nothing more comes, or others must have their turn. */
static void serve(struct executor *executor, struct listener *listener)
{
	atomic_store(&executor->kicked, false);
	atomic_store(&executor->listener, listener);
	while (!must_leave(executor)) {
		int result = receive(executor, listener);

		if (result == -EAGAIN)
			continue;
		if (result)
			break;
		executor_begins(executor);
		call_received(executor, listener, executor->slot);
		journal_clear(executor->engine->journal, executor->slot);
		if (executor_ends(executor))
			continue;
		/* Somebody else reads it now. */
		atomic_fetch_and(&executor->turn, ~EXECUTOR_ROBBED);
		atomic_store(&executor->listener, NULL);
		return;
	}
	atomic_store(&executor->listener, NULL);
	idle_put(executor->engine, listener);
}

static void take_up(struct executor *executor, struct work *work)
{
	struct engine *engine = executor->engine;
	struct journal_slot *slot = work->record;

	slot->owner_process = engine->process;
	atomic_store(&slot->owner, executor->tid);
	if (work->listener->source)
		call_received(executor, work->listener, slot);
	else
		call_taken_up(executor, work->listener, slot);
	journal_give(engine->journal, slot);
}

/* A slot bears its owner's mark from the start, so that a successor knows whose it was. */
static bool prepare(struct executor *executor)
{
	struct engine *engine = executor->engine;

	prctl(PR_SET_NAME, "mpu-executor");
	sandbox_enter_thread(engine->options.sandbox, SANDBOX_EXECUTOR);
	executor->tid = gettid();
	executor->slot = journal_take(engine->journal);
	if (!executor->slot)
		return false;
	executor->slot->owner_process = engine->process;
	atomic_store(&executor->slot->owner, executor->tid);
	return true;
}

/* Under the lock, which is not held meanwhile. */
static void work_off(struct executor *executor, struct work *work)
{
	struct engine *engine = executor->engine;
	struct executors *executors = &engine->executors;
	struct listener *listener = work->listener;
	struct work *next;

	pthread_mutex_unlock(&executors->lock);
	if (work->record)
		take_up(executor, work);
	else
		serve(executor, listener);
	pthread_mutex_lock(&executors->lock);
	listener->container->executors--;
	next = take_first(&listener->container->waiting);
	if (next)
		enqueue(engine, next);
	pthread_mutex_unlock(&executors->lock);
	listener_release(listener);
	pthread_mutex_lock(&executors->lock);
}

static void *executor_thread(void *argument)
{
	struct executor *executor = argument;
	struct engine *engine = executor->engine;
	struct executors *executors = &engine->executors;
	bool prepared = prepare(executor);

	pthread_mutex_lock(&executors->lock);
	while (prepared && is_wanted(executors)) {
		struct work *work = take_first(&executors->queue);

		if (work) {
			executors->queued--;
			work_off(executor, work);
			continue;
		}
		executors->idle++;
		pthread_cond_wait(&executors->work, &executors->lock);
		executors->idle--;
	}
	executors->all[executor->number] = NULL;
	executors->started--;
	pthread_cond_broadcast(&executors->ended);
	pthread_mutex_unlock(&executors->lock);
	if (prepared)
		journal_give(engine->journal, executor->slot);
	callers_release(&executor->callers);
	free(executor->gather);
	free(executor);
	return NULL;
}

/* ---- All of them ---- */

void executors_start(struct executors *executors)
{
	memset(executors, 0, sizeof(*executors));
	pthread_mutex_init(&executors->lock, NULL);
	pthread_cond_init(&executors->work, NULL);
	pthread_cond_init(&executors->ended, NULL);
	kick_prepare();
}

void executors_kick_all(struct engine *engine)
{
	struct executors *executors = &engine->executors;

	pthread_mutex_lock(&executors->lock);
	for (unsigned int i = 0; i < EXECUTORS_MAX; i++)
		if (executors->all[i] && atomic_load(&executors->all[i]->listener))
			executor_kick(executors->all[i]);
	pthread_mutex_unlock(&executors->lock);
}

void executors_stop(struct engine *engine)
{
	struct executors *executors = &engine->executors;
	struct timespec until;

	pthread_mutex_lock(&executors->lock);
	executors->stopping = true;
	pthread_cond_broadcast(&executors->work);
	while (executors->started) {
		pthread_mutex_unlock(&executors->lock);
		executors_kick_all(engine);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 5000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&executors->lock);
		if (executors->started)
			pthread_cond_timedwait(&executors->ended, &executors->lock, &until);
	}
	pthread_mutex_unlock(&executors->lock);
	pthread_cond_destroy(&executors->ended);
	pthread_cond_destroy(&executors->work);
	pthread_mutex_destroy(&executors->lock);
}
