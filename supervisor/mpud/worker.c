/* The worker: the process that reads what others wrote, looks into targets and calls the driver. It
 * may die at any moment; all that its successor needs is with the keeper and in the journal. */
#include "supervisor/mpud/mpud.h"

#include "base/log.h"
#include "supervisor/engine.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/mpud/channel.h"
#include "supervisor/mpud/control.h"
#include "supervisor/mpud/lxc.h"
#include "supervisor/mpud/metrics.h"
#include "supervisor/privilege.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DRAIN_MS = 1000 };

struct worker {
	const struct worker_start *start;
	struct engine_options options;
	struct engine *engine;
	struct lxc_proxy *lxc; /* or NULL */
};

static struct journal_header *header; /* for the signal handler */

/* Leaves word which thread it was, and dies of the same signal. */
static void on_crash(int number)
{
	atomic_store(&header->crashed_thread, gettid());
	signal(number, SIG_DFL);
	raise(number);
}

static void watch_for_crashes(struct journal *journal)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_NODEFER};

	header = journal_header(journal);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &action, NULL);
}

/* On the engine's idle thread. Where the keeper does not get to reading, a cue stands in the journal. */
static void listener_closed(void *context, uint32_t index)
{
	const struct worker *worker = context;
	const struct channel_message closed = {.kind = CHANNEL_CLOSED, .index = index};

	if (channel_send(worker->start->channel, &closed, NULL, 0, MSG_DONTWAIT))
		atomic_store(&journal_header(worker->start->journal)->closed_cue, 1);
}

/* On the engine's watch. Where the keeper does not get to reading, it does not rest. */
static void stirs(void *context)
{
	const struct worker *worker = context;
	const struct channel_message message = {.kind = CHANNEL_STIRS};

	channel_send(worker->start->channel, &message, NULL, 0, MSG_DONTWAIT);
}

static int find_driver(struct worker *worker, struct mpu_error *error)
{
	const struct mpud_options *options = worker->start->options;
	struct driver *driver = &worker->options.driver;
	struct mpu_error unknown = {0};
	int result = driver_find(driver, options->dev_root, options->driver_version, error);

	if (!result)
		result = driver_compose(driver, &worker->options.pids, error);
	if (!result && driver_check_confine(&driver->version, options->settings.confine, &unknown))
		log_error("no container is taken", "error=\"%s\"", unknown.text);
	return result;
}

static int start_engine(struct worker *worker, struct mpu_error *error)
{
	const struct worker_start *start = worker->start;
	int result = find_driver(worker, error);

	if (result)
		return result;
	journal_begin(start->journal);
	worker->options.pid_lookup = engine_best_pid_lookup();
	worker->options.use_pidfd_thread = pidfd_has_thread();
	worker->options.journal = start->journal;
	worker->options.allow = start->options->allowed;
	worker->options.nursery = start->nursery;
	worker->options.sandbox = start->sandbox;
	worker->options.listener_closed = listener_closed;
	worker->options.stirs = stirs;
	worker->options.context = worker;
	return engine_start(&worker->engine, &worker->options, error);
}

/* The former worker's listeners, then its records. */
static unsigned int take_up(struct worker *worker)
{
	const struct worker_start *start = worker->start;

	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		struct journal_listener *entry = journal_listener(start->journal, i);

		if (start->listener[i] < 0)
			continue;
		if (engine_add_listener(worker->engine, start->listener[i], i, false))
			log_error("cannot take a container's listener", "container=%s",
				  entry->label);
	}
	return engine_take_up(worker->engine);
}

/* Containers depend on us alone now. */
static void go_on_without_keeper(struct worker *worker)
{
	struct engine_stats stats;

	log_error("mpud's keeper has ended: the containers that are there are served on, no others "
		  "are taken (start mpud again)",
		  "pid=%d", getpid());
	do {
		sleep(1);
		engine_stats(worker->engine, &stats);
	} while (stats.listeners);
}

static bool heed(struct worker *worker, struct channel_mail *mail)
{
	const struct worker_start *start = worker->start;
	struct channel_message pong = {.kind = CHANNEL_PONG};

	switch (mail->message.kind) {
	case CHANNEL_PARCEL:
		worker_take_parcel(worker->engine, start->journal, start->channel, start->options,
				   mail);
		break;
	case CHANNEL_PING:
		pong.which = engine_rests(worker->engine);
		if (engine_is_alive(worker->engine))
			channel_send(start->channel, &pong, NULL, 0, 0);
		break;
	case CHANNEL_STOP:
		if (worker->lxc)
			lxc_drain(worker->lxc);
		engine_drain(worker->engine, DRAIN_MS);
		return false;
	}
	return true;
}

static void serve(struct worker *worker)
{
	struct channel_mail mail;
	bool goes_on = true;

	while (goes_on) {
		int result = channel_receive(worker->start->channel, &mail, 0);

		if (result == -EPIPE || result == -ECONNRESET) {
			go_on_without_keeper(worker);
			return;
		}
		if (result)
			continue;
		goes_on = heed(worker, &mail);
		channel_drop(&mail);
	}
}

/* Should the keeper die before it has put this worker down in the journal, the next keeper could not
 * know that there is one. */
static bool may_begin(int channel)
{
	struct channel_mail mail;
	bool may = channel_receive(channel, &mail, 0) == 0 && mail.message.kind == CHANNEL_BEGIN;

	channel_drop(&mail);
	return may;
}

int worker_run(const struct worker_start *start)
{
	struct worker worker = {.start = start};
	struct channel_message ready = {.kind = CHANNEL_READY};
	struct mpu_error error = {0};

	prctl(PR_SET_NAME, "mpud-worker");
	if (!may_begin(start->channel))
		return 0;
	watch_for_crashes(start->journal);
	if (privilege_drop(PRIVILEGE_WORKER, &error) ||
	    sandbox_enter(start->sandbox, SANDBOX_WORKER, &error) ||
	    start_engine(&worker, &error)) {
		log_error(error.text, "error=%d", error.code);
		return 1;
	}
	ready.index = take_up(&worker);
	if (start->lxc_socket >= 0 && worker_open_lxc(start, worker.engine, &worker.lxc))
		log_error("cannot serve LXC's monitors", "error=\"%s\"", strerror(ENOMEM));
	if (start->control >= 0)
		control_start(start, worker.engine, &worker.options);
	if (start->metrics >= 0)
		metrics_start(start, worker.engine, &worker.options);
	if (channel_send(start->channel, &ready, NULL, 0, 0) == 0)
		serve(&worker);
	/* No word to the listeners: the keeper has copies. */
	return 0;
}
