/* The watch: a target can make a look into its memory take as long as it likes (userfaultfd, FUSE),
 * and the driver can take its time. Nobody else shall wait for that. And an executor that waits in
 * vain shall not be kept from others, nor its listener from being idle. */
#include "supervisor/engine-private.h"

#include "supervisor/kernel/kick.h"

#include "base/signals.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* Every TICK it looks. What works on one notification for a whole tick, and does not wait for a
 * processor, is stuck; who waits for one for so many has waited long enough. */
enum { TICK_NS = 2000000, WAITING_TICKS = 32 };

/* To tell a stuck thread from one that waits for a processor costs a look into /proc: so many a tick,
 * and less often the longer it lasts. */
enum { LOOKS = 2 };

struct seen {
	const struct work *first; /* of the queue */
	unsigned int looks;	  /* that may still be had in this tick */
	struct {
		uint64_t turn;
		unsigned int ticks;
	} executor[EXECUTORS_MAX];
};

static bool is_stuck(const struct executor *executor, struct seen *seen, unsigned int ticks)
{
	if (!ticks || ticks & (ticks - 1) || !seen->looks)
		return false;
	seen->looks--;
	return kick_is_blocked(executor->tid);
}

/* Returns whether it must be looked at again. Its listener lives for as long as the lock is held. */
static bool look_at(struct executor *executor, struct seen *seen, bool crowded)
{
	const struct listener *listener = atomic_load(&executor->listener);
	uint64_t turn = atomic_load(&executor->turn);
	unsigned int *ticks = &seen->executor[executor->number].ticks;
	bool same = turn == seen->executor[executor->number].turn, works = turn & 1;
	bool others_wait = crowded || (listener && listener->container->waiting);

	seen->executor[executor->number].turn = turn;
	*ticks = same ? *ticks + 1 : 0;
	if (!listener || turn & EXECUTOR_ROBBED)
		return false;
	if (works && is_stuck(executor, seen, *ticks))
		executor_rob(executor, turn);
	else if (works && others_wait)
		atomic_store(&executor->kicked, true);
	else if (!works && (others_wait || *ticks >= WAITING_TICKS))
		executor_kick(executor);
	return true;
}

/* Returns whether anything goes on. */
static bool look(struct engine *engine, struct seen *seen)
{
	struct executors *executors = &engine->executors;
	bool active, crowded;

	pthread_mutex_lock(&executors->lock);
	active = executors->queue;
	crowded = active && executors->queue == seen->first;
	seen->first = executors->queue;
	if (crowded)
		executors_help(engine);
	seen->looks = LOOKS;
	for (unsigned int i = 0; i < EXECUTORS_MAX; i++)
		if (executors->all[i])
			active |= look_at(executors->all[i], seen, crowded);
	pthread_mutex_unlock(&executors->lock);
	return active;
}

void watch_wake(struct watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	atomic_store(&watch->asleep, false);
	pthread_cond_signal(&watch->wake);
	pthread_mutex_unlock(&watch->lock);
}

/* Who begins something after we have marked ourselves as asleep sees the mark; what began before, we
 * see. */
static void sleep_until_woken(struct engine *engine, struct seen *seen)
{
	struct watch *watch = &engine->watch;
	bool tells;

	atomic_store(&watch->asleep, true);
	if (look(engine, seen)) {
		atomic_store(&watch->asleep, false);
		return;
	}
	pthread_mutex_lock(&watch->lock);
	while (atomic_load(&watch->asleep) && !watch->stopping) {
		watch->rests = true;
		pthread_cond_wait(&watch->wake, &watch->lock);
	}
	watch->rest += watch->rests;
	tells = watch->rests && watch->tells;
	watch->rests = false;
	watch->tells &= !tells;
	pthread_mutex_unlock(&watch->lock);
	if (tells && engine->options.stirs)
		engine->options.stirs(engine->options.context);
}

bool watch_rests(struct watch *watch)
{
	bool rests;

	pthread_mutex_lock(&watch->lock);
	rests = watch->rests && atomic_load(&watch->asleep) && watch->rest == watch->seen_rest;
	watch->seen_rest = watch->rest;
	watch->tells = true;
	pthread_mutex_unlock(&watch->lock);
	return rests;
}

static bool is_stopping(struct watch *watch)
{
	bool stopping;

	pthread_mutex_lock(&watch->lock);
	stopping = watch->stopping;
	pthread_mutex_unlock(&watch->lock);
	return stopping;
}

static void *watch_thread(void *argument)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	struct engine *engine = argument;
	struct seen seen;

	memset(&seen, 0, sizeof(seen));
	prctl(PR_SET_NAME, "mpu-watch");
	sandbox_enter_thread(engine->options.sandbox, SANDBOX_ENGINE);
	while (!is_stopping(&engine->watch)) {
		if (look(engine, &seen))
			nanosleep(&tick, NULL);
		else
			sleep_until_woken(engine, &seen);
	}
	return NULL;
}

int watch_start(struct engine *engine, struct mpu_error *error)
{
	struct watch *watch = &engine->watch;
	sigset_t all, before;
	int result;

	pthread_mutex_init(&watch->lock, NULL);
	pthread_cond_init(&watch->wake, NULL);
	signals_of_others(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&watch->thread, NULL, watch_thread, engine);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	watch->started = !result;
	return result ? mpu_fail(error, result, "cannot start a thread: %s", strerror(result)) : 0;
}

void watch_stop(struct engine *engine)
{
	struct watch *watch = &engine->watch;

	if (!watch->started)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->stopping = true;
	pthread_cond_signal(&watch->wake);
	pthread_mutex_unlock(&watch->lock);
	pthread_join(watch->thread, NULL);
	pthread_cond_destroy(&watch->wake);
	pthread_mutex_destroy(&watch->lock);
	watch->started = false;
}
