#include "supervisor/mpud/keeper.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/confine/nursery.h"
#include "supervisor/engine.h"
#include "supervisor/mpud/metrics.h"
#include "supervisor/privilege.h"
#include "supervisor/target.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

/* Each listener is a descriptor, and so is each call in flight. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* A worker that does not get as far is told by its end, not by a signal that nobody waits for. */
static int watch_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int make_journal(struct keeper *keeper, struct mpu_error *error)
{
	keeper->journal = journal_new(true);
	if (!keeper->journal)
		return mpu_fail(error, errno, "cannot make the journal: %s", strerror(errno));
	store_put_journal(keeper);
	return 0;
}

/* From systemd, from the mpud that runs, or anew. */
static int find_house(struct keeper *keeper, struct mpu_error *error)
{
	int result = store_take(keeper, error);

	if (!result && keeper->options->replace && !keeper->journal) {
		result = handover_take(keeper, error);
		if (result == -ENOENT)
			result = 0;
	}
	if (!result && keeper->socket.fd < 0)
		result = mpud_socket_open(&keeper->socket, error);
	if (!result && keeper->options->lxc_socket && keeper->lxc_socket.fd < 0)
		result = mpud_socket_open(&keeper->lxc_socket, error);
	if (!result && keeper->options->metrics && keeper->metrics.fd < 0)
		result = metrics_socket_open(&keeper->metrics, keeper->options->metrics, error);
	if (!result && !keeper->journal)
		result = make_journal(keeper, error);
	if (!result)
		beside_open(keeper);
	return result;
}

/* Before there is a worker, which is under it too. */
static int enter_sandbox(struct keeper *keeper, struct mpu_error *error)
{
	const struct mpud_options *options = keeper->options;
	const char *excuse = sandbox_excuse();
	int result;

	if (options->sandbox == SANDBOX_OFF || excuse) {
		log_warning("mpud runs without a sandbox", "reason=\"%s\"",
			    excuse ? excuse : "--sandbox=off");
		return 0;
	}
	sandbox_prepare(&keeper->sandbox, options->sandbox == SANDBOX_LOG, options->metrics != NULL);
	result = sandbox_enter(&keeper->sandbox, SANDBOX_KEEPER, error);
	keeper->has_sandbox = !result;
	return result;
}

/* Sockets are made and former workers ended by who we are at first. */
static int drop_privilege(const struct mpud_options *options, struct mpu_error *error)
{
	struct privilege_user user;
	int result = 0;

	if (options->user)
		result = privilege_find_user(options->user, &user, error);
	if (options->user && !result)
		result = privilege_become(PRIVILEGE_KEEPER, &user, error);
	return result ? result : privilege_drop(PRIVILEGE_KEEPER, error);
}

/* While this process has one thread, all its privilege and no sandbox. Without it all goes on but
 * for confined containers, whose GPU calls fail. */
static void start_nursery(struct keeper *keeper)
{
	const struct mpud_options *options = keeper->options;
	struct mpu_error error = {0};
	struct privilege_user user;

	if (options->user && privilege_find_user(options->user, &user, NULL))
		return; /* which drop_privilege() tells */
	keeper->nursery = nursery_start(options->sandbox, options->user ? &user : NULL, &error);
	if (keeper->nursery >= 0 && !nursery_await(keeper->nursery, &error))
		return;
	log_error(error.text, "error=%d", error.code);
	if (keeper->nursery >= 0)
		close(keeper->nursery);
	keeper->nursery = -1;
}

static int start(struct keeper *keeper, struct mpu_error *error)
{
	const struct mpud_options *options = keeper->options;
	int result = engine_check_namespace(error);

	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		keeper->listener[i] = -1;
	raise_file_limit();
	if (!result)
		result = mpud_socket_prepare(&keeper->socket, options->socket,
					     options->socket_group, error);
	if (!result && options->lxc_socket)
		result = mpud_socket_prepare_lxc(&keeper->lxc_socket, options->lxc_socket, error);
	if (!result)
		result = find_house(keeper, error);
	if (result)
		return result;
	result = keeper_end_former(keeper->journal, error);
	if (!result)
		start_nursery(keeper);
	if (!result)
		result = drop_privilege(options, error);
	if (result)
		return result;
	keeper_settle(keeper);
	journal_header(keeper->journal)->keeper = (struct journal_process){
	    .pid = getpid(), .start = task_start_ticks(getpid())};
	result = enter_sandbox(keeper, error);
	return result ? result : keeper_start_worker(keeper, error);
}

/* Returns true when the time has come to stop. Workers that a driver held back are buried here. */
static bool heed_signals(struct keeper *keeper)
{
	struct signalfd_siginfo info;
	bool stop = false;

	while (read(keeper->signals, &info, sizeof(info)) == sizeof(info))
		stop |= info.ssi_signo != SIGCHLD;
	/* Also one that was stopped tells by SIGCHLD. */
	keeper_expect_life(keeper);
	for (siginfo_t ended = {0};
	     waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid &&
	     ended.si_pid != keeper->worker.pid;
	     ended.si_pid = 0)
		waitid(P_PID, (id_t)ended.si_pid, &ended, WEXITED | WNOHANG);
	return stop;
}

/* Until a signal says to stop (0), the first worker cannot start (1), or another mpud has taken over
 * (-1). */
static int keep(struct keeper *keeper)
{
	enum { SIGNALS, WORKER, CHANNEL, SUCCESSORS, OWN };
	static struct pollfd polls[OWN + PARCELS_MAX + 1];

	for (;;) {
		struct keeper_worker *worker = &keeper->worker;
		int wait_ms = keeper_work(keeper);
		size_t count;

		if (!worker->pid && !worker->was_ready) {
			log_error("the worker ended before it was ready: mpud ends too",
				  "listeners=%u", keeper->listeners);
			return 1;
		}
		count = OWN + parcels_poll(&keeper->parcels, polls + OWN, &wait_ms);
		polls[SIGNALS] = (struct pollfd){.fd = keeper->signals, .events = POLLIN};
		polls[WORKER] = (struct pollfd){.fd = worker->pidfd, .events = POLLIN};
		polls[CHANNEL] = (struct pollfd){.fd = worker->channel, .events = POLLIN};
		polls[SUCCESSORS] = (struct pollfd){.fd = keeper->successors, .events = POLLIN};
		if (poll(polls, (nfds_t)count, wait_ms) < 0)
			continue;
		if (polls[SIGNALS].revents && heed_signals(keeper))
			return 0;
		if (polls[SUCCESSORS].revents && handover_give(keeper))
			return -1;
		parcels_work(&keeper->parcels);
	}
}

static void stop(struct keeper *keeper)
{
	mpud_notify("STOPPING=1", NULL, 0);
	keeper_stop_worker(keeper);
	if (keeper->listeners && !getenv("NOTIFY_SOCKET"))
		log_warning("containers are left behind: their GPU calls fail from now on",
			    "listeners=%u", keeper->listeners);
	beside_close(keeper);
	mpud_socket_close(&keeper->socket);
	mpud_socket_close(&keeper->lxc_socket);
	mpud_socket_close(&keeper->metrics);
}

int keeper_run(const struct mpud_options *options)
{
	static struct keeper keeper = {.socket = {.fd = -1},
				       .lxc_socket = {.fd = -1},
				       .metrics = {.fd = -1},
				       .successors = -1,
				       .control = -1,
				       .nursery = -1,
				       .worker = {.pidfd = -1, .channel = -1}};
	struct mpu_error error = {0};
	int result;

	keeper.options = options;
	keeper.parcels.socket = &keeper.socket;
	keeper.signals = watch_signals();
	result = keeper.signals < 0
		     ? mpu_fail(&error, errno, "cannot see signals: %s", strerror(errno))
		     : start(&keeper, &error);
	if (result) {
		log_error(error.text, "error=%d", error.code);
		beside_close(&keeper);
		if (keeper.socket.fd >= 0)
			mpud_socket_close(&keeper.socket);
		mpud_socket_close(&keeper.lxc_socket);
		mpud_socket_close(&keeper.metrics);
		return 1;
	}
	result = keep(&keeper);
	if (result >= 0)
		stop(&keeper);
	return result > 0;
}
