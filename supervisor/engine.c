#include "supervisor/engine-private.h"

#include "base/cleanup.h"
#include "nvabi/allow.h"
#include "supervisor/confine/proxies.h"
#include "supervisor/execute.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

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

/* ---- Containers and listeners ---- */

static struct container *container_get(struct engine *engine, const char *label)
{
	struct container *container;

	pthread_mutex_lock(&engine->lock);
	container = engine->containers;
	while (container && strcmp(container->label, label) != 0)
		container = container->next;
	if (!container && (container = calloc(1, sizeof(*container)))) {
		snprintf(container->label, sizeof(container->label), "%s", label);
		container->next = engine->containers;
		atomic_store(&container->tracer, tracer_for(engine, label));
		engine->containers = container;
	}
	if (container)
		container->references++;
	pthread_mutex_unlock(&engine->lock);
	return container;
}

static void container_put(struct engine *engine, struct container *container)
{
	struct container **link = &engine->containers;

	pthread_mutex_lock(&engine->lock);
	if (--container->references == 0) {
		while (*link != container)
			link = &(*link)->next;
		*link = container->next;
		free(container);
	}
	pthread_mutex_unlock(&engine->lock);
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
	if (listener->source)
		forward_end(listener);
	else
		close(listener->fd);
	container_put(listener->engine, listener->container);
	free(listener);
}

void listener_end(struct listener *listener)
{
	struct engine *engine = listener->engine;
	const struct engine_options *options = &engine->options;
	uint32_t index = listener->index;

	pthread_mutex_lock(&engine->lock);
	engine->open[index] = NULL;
	pthread_mutex_unlock(&engine->lock);
	atomic_fetch_sub(&engine->listeners, 1);
	atomic_store(&listener->entry->state, options->listener_closed ? JOURNAL_LISTENER_CLOSED
								       : JOURNAL_LISTENER_FREE);
	if (options->listener_closed)
		options->listener_closed(options->context, index);
	listener_release(listener);
}

int engine_check_confine(const struct engine *engine, const struct driver *now, uint32_t confine,
			 struct mpu_error *error)
{
	const struct nvabi_version *ours = &engine->options.pids.running;
	char before[NVABI_VERSION_TEXT], text[NVABI_VERSION_TEXT];

	if (nvabi_version_compare(&now->version, ours))
		return mpu_fail(error, ESTALE,
				"cannot confine: driver %s was loaded after mpud had begun with %s "
				"(restart mpud: systemctl restart mpud)",
				nvabi_version_format(&now->version, text),
				nvabi_version_format(ours, before));
	return driver_check_confine(ours, confine, error);
}

/* For the first confined container; what a release has no policy for is said where it is missed. */
static void open_policy(struct engine *engine)
{
	struct nvabi_policy *policy = NULL;

	pthread_mutex_lock(&engine->lock);
	if (!atomic_load(&engine->policy) &&
	    !nvabi_policy_open_with(&engine->options.pids.running, engine->options.allow, &policy))
		atomic_store(&engine->policy, policy);
	pthread_mutex_unlock(&engine->lock);
}

struct listener *listener_new(struct engine *engine, int fd, uint32_t index)
{
	struct journal_listener *entry = journal_listener(engine->journal, index);
	struct listener *listener = calloc(1, sizeof(*listener));
	struct container *container;

	/* A former worker may have written anything. */
	entry->label[sizeof(entry->label) - 1] = entry->about[sizeof(entry->about) - 1] = '\0';
	container = container_get(engine, entry->label);
	if (!listener || !container) {
		free(listener);
		if (container)
			container_put(engine, container);
		return NULL;
	}
	listener->fd = fd;
	listener->index = index;
	listener->entry = entry;
	listener->engine = engine;
	listener->container = container;
	listener->references = 1;
	listener->work.listener = listener;
	listener->confined = entry->settings.confine;
	if (listener->confined)
		open_policy(engine);
	watch_table_build(&listener->watch, &engine->options.pids, &entry->settings);
	return listener;
}

int engine_add_listener(struct engine *engine, int fd, uint32_t index, bool begins)
{
	struct listener *listener = listener_new(engine, fd, index);

	if (!listener) {
		close(fd);
		return -ENOMEM;
	}
	notify_sync_wake_up(fd);
	pthread_mutex_lock(&engine->lock);
	engine->open[index] = listener;
	pthread_mutex_unlock(&engine->lock);
	atomic_fetch_add(&engine->listeners, 1);
	if (begins) {
		listener_reference(listener);
		executors_submit(engine, &listener->work);
	} else {
		idle_put(engine, listener);
	}
	return 0;
}

/* ---- Start and stop ---- */

static void free_engine(struct engine *engine)
{
	tracers_stop(engine);
	pthread_mutex_destroy(&engine->lock);
	proxies_free(engine->proxies);
	nvabi_policy_close(atomic_load(&engine->policy));
	free(engine->open);
	free(engine->left);
	free(engine);
}

/* Another driver has other controls. */
static void begin_counters(struct engine *engine)
{
	engine->counters = journal_counters(engine->journal);
	for (uint32_t i = 0; i < engine->options.pids.control_count; i++) {
		uint32_t cmd = engine->options.pids.control[i].cmd;

		if (engine->counters->control[i].cmd == cmd)
			continue;
		engine->counters->control[i].cmd = cmd;
		atomic_store(&engine->counters->control[i].count, 0);
		atomic_store(&engine->counters->control[i].nanoseconds, 0);
		for (uint32_t j = 0; j < LATENCY_RANGES; j++)
			atomic_store(&engine->counters->control[i].took[j], 0);
	}
}

int engine_start(struct engine **out, const struct engine_options *options,
		 struct mpu_error *error)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	int result;

	if (!engine)
		return mpu_fail(error, ENOMEM, "cannot start the engine: %s", strerror(ENOMEM));
	pthread_mutex_init(&engine->lock, NULL);
	engine->options = *options;
	engine->process = getpid();
	engine->knows_branch = nvabi_policy_knows_branch(&options->pids.running);
	engine->remembers_threads = options->pids.semantics.kind == NVABI_TID;
	engine->journal = options->journal;
	engine->roster = journal_roster(options->journal);
	begin_counters(engine);
	execute_bad_address();
	engine->open = calloc(JOURNAL_LISTENERS, sizeof(*engine->open));
	if (options->nursery >= 0)
		engine->proxies = proxies_new(engine->journal, options->nursery);
	if (!engine->open || succession_begin(engine) || tracers_start(engine) ||
	    (options->nursery >= 0 && !engine->proxies)) {
		free_engine(engine);
		return mpu_fail(error, ENOMEM, "cannot start the engine: %s", strerror(ENOMEM));
	}
	executors_start(&engine->executors);
	result = idle_start(engine, error);
	if (!result)
		result = watch_start(engine, error);
	if (result) {
		engine_stop(engine);
		return result;
	}
	*out = engine;
	return 0;
}

bool engine_is_alive(struct engine *engine)
{
	uint64_t turns = atomic_load(&engine->idle.turns);
	bool alive = turns != engine->seen_turns;

	engine->seen_turns = turns;
	idle_wake(engine);
	/* Nobody holds this lock for long; where somebody does, the keeper notices that we hang. */
	pthread_mutex_lock(&engine->executors.lock);
	pthread_mutex_unlock(&engine->executors.lock);
	return alive;
}

bool engine_rests(struct engine *engine)
{
	return watch_rests(&engine->watch);
}

static bool is_drained(struct engine *engine)
{
	for (uint32_t i = 0; i < JOURNAL_SLOTS; i++)
		if (atomic_load(&journal_slot(engine->journal, i)->phase) != JOURNAL_FREE)
			return false;
	return true;
}

bool engine_drain(struct engine *engine, unsigned int timeout_ms)
{
	uint64_t until = engine_now_ns() + (uint64_t)timeout_ms * 1000000;

	atomic_store(&engine->draining, true);
	while (!is_drained(engine)) {
		if (engine_now_ns() > until)
			return false;
		executors_kick_all(engine);
		usleep(200);
	}
	return true;
}

/* 1. Nothing new is begun. 2. What was begun ends. 3. The listeners close. */
void engine_stop(struct engine *engine)
{
	atomic_store(&engine->draining, true);
	atomic_store(&engine->stopping, true);
	idle_stop(engine);
	executors_stop(engine);
	watch_stop(engine);
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		if (engine->open[i])
			listener_release(engine->open[i]);
	idle_close(engine);
	free_engine(engine);
}

void engine_stats(struct engine *engine, struct engine_stats *stats)
{
	struct engine_counters *counters = engine->counters;

	memset(stats, 0, sizeof(*stats));
	for (unsigned int i = 0; i < COUNTERS; i++) {
		stats->received += atomic_load(&counters->thread[i].received);
		stats->passed += atomic_load(&counters->thread[i].passed);
		stats->vanished += atomic_load(&counters->thread[i].vanished);
		stats->unreadable += atomic_load(&counters->thread[i].unreadable);
		stats->executed += atomic_load(&counters->thread[i].executed);
		stats->continued += atomic_load(&counters->thread[i].continued);
	}
	stats->listeners = atomic_load(&engine->listeners);
	stats->handled = atomic_load(&counters->handled);
	stats->retried = atomic_load(&counters->retried);
	stats->refused = atomic_load(&counters->refused);
	stats->taken_up = atomic_load(&counters->taken_up);
	stats->taken_over = atomic_load(&counters->taken_over);
	stats->control_count = engine->options.pids.control_count;
	for (uint32_t i = 0; i < stats->control_count; i++) {
		stats->control[i].cmd = engine->options.pids.control[i].cmd;
		stats->control[i].name = engine->options.pids.control[i].name;
		stats->control[i].count = atomic_load(&counters->control[i].count);
		stats->control[i].nanoseconds = atomic_load(&counters->control[i].nanoseconds);
		for (uint32_t j = 0; j < LATENCY_RANGES; j++)
			stats->control[i].took[j] = atomic_load(&counters->control[i].took[j]);
	}
}
