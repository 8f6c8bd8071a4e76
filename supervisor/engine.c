#include "supervisor/engine-private.h"

#include "base/cleanup.h"
#include "supervisor/execute.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_WORKERS = 16 };

uint64_t engine_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

enum pidmap_method engine_best_pid_lookup(void)
{
	return nsfs_translates() ? PIDMAP_NSFS : PIDMAP_NSPID;
}

int engine_check_namespace(struct mpu_error *error)
{
	uint64_t ns = nsfs_id_of(getpid(), "pid");

	if (ns == NSFS_INIT_PID)
		return 0;
	if (!ns)
		return mpu_fail(error, ENOENT, "cannot read /proc/%d/ns/pid: is /proc mounted?",
				getpid());
	return mpu_fail(error, EPERM,
			"not in the initial PID namespace: host PIDs cannot be seen from inside a "
			"container (run it on the host, or in a container with --pid=host)");
}

struct listener *listener_reference(struct listener *listener)
{
	atomic_fetch_add(&listener->references, 1);
	return listener;
}

void listener_release(struct listener *listener)
{
	if (atomic_fetch_sub(&listener->references, 1) != 1)
		return;
	close(listener->fd);
	free(listener);
}

static void free_engine(struct engine *engine)
{
	journal_free(engine->journal);
	roster_free(engine->roster);
	free(engine->ring);
	free(engine);
}

/* Signals are the business of the program around us. */
static int start_rings(struct engine *engine, struct mpu_error *error)
{
	sigset_t all, before;
	int result = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; !result && engine->rings < engine->options.rings; engine->rings += !result)
		result = ring_start(&engine->ring[engine->rings], engine, error);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

int engine_start(struct engine **out, const struct engine_options *options,
		 struct mpu_error *error)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	int result;

	if (!engine)
		return mpu_fail(error, ENOMEM, "cannot start the engine: %s", strerror(ENOMEM));
	engine->options = *options;
	if (!engine->options.rings)
		engine->options.rings = 1;
	if (!engine->options.workers)
		engine->options.workers = DEFAULT_WORKERS;
	engine->remembers_threads = options->pids.semantics.kind == NVABI_TID;
	engine->journal = journal_new();
	engine->roster = roster_new();
	engine->ring = calloc(engine->options.rings, sizeof(*engine->ring));
	execute_bad_address();
	if (!engine->journal || !engine->roster || !engine->ring ||
	    pool_start(&engine->pool, engine->options.workers)) {
		free_engine(engine);
		return mpu_fail(error, ENOMEM, "cannot start the engine: %s", strerror(ENOMEM));
	}
	result = start_rings(engine, error);
	if (result) {
		engine_stop(engine);
		return result;
	}
	*out = engine;
	return 0;
}

int engine_add_listener(struct engine *engine, int fd, const struct mpu_settings *settings,
			const char *label, uint64_t cookie)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	unsigned int ring = atomic_fetch_add(&engine->next_ring, 1) % engine->rings;

	if (!listener) {
		close(fd);
		return -ENOMEM;
	}
	listener->fd = fd;
	listener->engine = engine;
	listener->ring = &engine->ring[ring];
	listener->settings = *settings;
	listener->cookie = cookie;
	listener->references = 1;
	snprintf(listener->label, sizeof(listener->label), "%s", label);
	watch_table_build(&listener->watch, &engine->options.pids, settings);
	notify_sync_wake_up(fd);
	ring_add(listener->ring, listener);
	return 0;
}

void engine_stop(struct engine *engine)
{
	atomic_store(&engine->stopping, true);
	pool_stop(&engine->pool);
	for (unsigned int i = 0; i < engine->rings; i++)
		ring_join(&engine->ring[i]);
	free_engine(engine);
}

void engine_stats(struct engine *engine, struct engine_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	for (unsigned int i = 0; i < engine->rings; i++) {
		struct ring *ring = &engine->ring[i];

		stats->received += atomic_load(&ring->counters.received);
		stats->passed += atomic_load(&ring->counters.passed);
		stats->vanished += atomic_load(&ring->counters.vanished);
		stats->unreadable += atomic_load(&ring->counters.unreadable);
		stats->listeners += atomic_load(&ring->listeners);
	}
	stats->handled = atomic_load(&engine->handled);
	stats->retried = atomic_load(&engine->retried);
	stats->refused = atomic_load(&engine->refused);
	stats->control_count = engine->options.pids.control_count;
	for (uint32_t i = 0; i < stats->control_count; i++) {
		stats->control[i].cmd = engine->options.pids.control[i].cmd;
		stats->control[i].name = engine->options.pids.control[i].name;
		stats->control[i].count = atomic_load(&engine->call_count[i]);
		stats->control[i].nanoseconds = atomic_load(&engine->call_ns[i]);
	}
}
