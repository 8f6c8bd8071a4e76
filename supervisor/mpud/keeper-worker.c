/* The worker's life, seen from its keeper. */
#include "supervisor/mpud/keeper.h"

#include "base/log.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/mpud/channel.h"
#include "supervisor/target.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STOP_MS = 2000, END_MS = 20 };

/* When a worker does not get as far as being ready, the next one starts after so long, then twice as
 * long and so on: calls wait meanwhile, and the log tells of each. */
enum { AGAIN_MS = 200, AGAIN_MAX_MS = 5000 };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct journal_process process(pid_t pid)
{
	return (struct journal_process){.pid = pid, .start = task_start_ticks(pid)};
}

/* In the child: what is not a worker's. */
static void close_keepers_own(struct keeper *keeper)
{
	while (keeper->parcels.first)
		parcels_drop(&keeper->parcels, keeper->parcels.first);
	close(keeper->socket.fd);
	close(keeper->successors);
	close(keeper->signals);
}

static _Noreturn void be_worker(struct keeper *keeper, int channel)
{
	const struct worker_start start = {.options = keeper->options,
					   .sandbox = keeper->has_sandbox ? &keeper->sandbox : NULL,
					   .journal = keeper->journal,
					   .listener = keeper->listener,
					   .channel = channel,
					   .control = keeper->control,
					   .socket = keeper->socket.path,
					   .metrics = keeper->metrics.fd,
					   .nursery = keeper->nursery,
					   .lxc_socket = keeper->lxc_socket.fd};
	sigset_t none;

	/* Whether to end is for the keeper to say, also where a whole group is signalled. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_keepers_own(keeper);
	_exit(worker_run(&start));
}

/* A worker whose end could not be seen would never be replaced. */
static int give_up(pid_t pid, int pidfd, struct mpu_error *error)
{
	siginfo_t info;

	kill(pid, SIGKILL);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
	return mpu_fail(error, pidfd < 0 ? -pidfd : EMFILE,
			"cannot look after a worker: no descriptor, or no memory, left");
}

int keeper_start_worker(struct keeper *keeper, struct mpu_error *error)
{
	struct keeper_worker *worker = &keeper->worker;
	const struct channel_message begin = {.kind = CHANNEL_BEGIN};
	struct journal_header *header = journal_header(keeper->journal);
	bool was_ready = worker->was_ready;
	unsigned int again_ms = worker->again_ms;
	int channel[2], pidfd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel))
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(channel[0]);
		be_worker(keeper, channel[1]);
	}
	close(channel[1]);
	if (pid < 0) {
		close(channel[0]);
		return mpu_fail(error, errno, "cannot start a worker: %s", strerror(errno));
	}
	pidfd = pidfd_of_thread(pid);
	header->worker = process(pid);
	if (pidfd < 0 || !header->worker.start) {
		header->worker = (struct journal_process){0};
		close(channel[0]);
		return give_up(pid, pidfd, error);
	}
	*worker = (struct keeper_worker){.pid = pid,
					 .pidfd = pidfd,
					 .channel = channel[0],
					 .was_ready = was_ready,
					 .again_ms = again_ms,
					 .started_ns = now_ns(),
					 .sign_of_life_ns = now_ns(),
					 .asked_ns = now_ns()};
	header->workers++;
	channel_send(worker->channel, &begin, NULL, 0, MSG_DONTWAIT);
	return 0;
}

/* ---- Its messages ---- */

static void send_parcel(struct keeper *keeper, struct parcel *parcel)
{
	const struct channel_message message = {.kind = CHANNEL_PARCEL,
						.parcel = parcel->number,
						.index = (uint32_t)parcel->length,
						.which = parcel->ended};
	int fds[PARCEL_FDS + 2] = {parcel->memory, parcel->connection};

	memcpy(fds + 2, parcel->fd, parcel->fd_count * sizeof(int));
	parcel->sent = !channel_send(keeper->worker.channel, &message, fds, parcel->fd_count + 2,
				     MSG_DONTWAIT);
	parcel->fresh = !parcel->sent;
	keeper_expect_life(keeper);
}

static void send_parcels(struct keeper *keeper)
{
	for (struct parcel *one = keeper->parcels.first; one && keeper->worker.ready;
	     one = one->next)
		if (parcel_is_due(one))
			send_parcel(keeper, one);
}

static void hold_listener(struct keeper *keeper, const struct channel_message *message)
{
	struct parcel *parcel = parcels_find(&keeper->parcels, message->parcel);
	struct journal_listener *entry;
	uint32_t pending = JOURNAL_LISTENER_PENDING;

	if (!parcel || message->index >= JOURNAL_LISTENERS || message->which >= parcel->fd_count ||
	    parcel->fd[message->which] < 0)
		return;
	entry = journal_listener(keeper->journal, message->index);
	keeper_hold(keeper, message->index, parcel->fd[message->which]);
	parcel->fd[message->which] = -1;
	parcel->taken = true;
	parcel->confine = entry->settings.confine;
	atomic_compare_exchange_strong(&entry->state, &pending, JOURNAL_LISTENER_HELD);
	store_put_listener(keeper, message->index);
	/* It may have closed before we had it. */
	keeper_let_go(keeper, message->index);
}

static void greet(struct keeper *keeper, uint32_t taken_up)
{
	struct keeper_worker *worker = &keeper->worker;
	double ms = (double)(now_ns() - worker->started_ns) / 1e6;

	worker->ready = true;
	worker->again_ms = 0;
	if (worker->was_ready) {
		log_info("a new worker goes on", "pid=%d calls=%u after_ms=%.1f", worker->pid,
			 taken_up, ms);
	} else {
		mpud_notify("READY=1", NULL, 0);
		log_info("ready", "socket=%s worker=%d calls=%u", keeper->socket.path, worker->pid,
			 taken_up);
	}
	worker->was_ready = true;
}

static void heed(struct keeper *keeper, const struct channel_message *message)
{
	struct parcel *parcel = parcels_find(&keeper->parcels, message->parcel);

	keeper->worker.sign_of_life_ns = now_ns();
	if (message->kind == CHANNEL_PONG && message->which)
		keeper->worker.at_rest++;
	else
		keeper_expect_life(keeper);
	switch (message->kind) {
	case CHANNEL_READY:
		greet(keeper, message->index);
		break;
	case CHANNEL_TAKEN:
		hold_listener(keeper, message);
		break;
	case CHANNEL_DONE:
		if (parcel)
			parcels_drop(&keeper->parcels, parcel);
		break;
	case CHANNEL_HALF:
		if (parcel)
			parcel->sent = false;
		break;
	case CHANNEL_CLOSED:
		if (message->index < JOURNAL_LISTENERS)
			keeper_let_go(keeper, message->index);
		break;
	}
}

static void read_messages(struct keeper *keeper)
{
	struct channel_mail mail;

	while (channel_receive(keeper->worker.channel, &mail, MSG_DONTWAIT) == 0) {
		channel_drop(&mail);
		heed(keeper, &mail.message);
	}
}

/* ---- Its end ---- */

/* A thread that the driver holds keeps a dead process from going. It has nothing of ours any more. */
static void remember_undead(struct journal_header *header, struct journal_process dead)
{
	for (uint32_t i = 0; i < JOURNAL_UNDEAD; i++)
		if (!header->undead[i].pid ||
		    !task_may_be_there(header->undead[i].pid, header->undead[i].start)) {
			header->undead[i] = dead;
			return;
		}
	log_error("too many dead workers hang in the driver", "pid=%d", dead.pid);
}

static enum journal_death judge(const struct keeper_worker *worker, const siginfo_t *info,
				bool crashed)
{
	if (worker->hung)
		return JOURNAL_HUNG;
	if (worker->stopped && info->si_code == CLD_EXITED && !info->si_status)
		return JOURNAL_KILLED;
	if (crashed || (info->si_pid && (info->si_code == CLD_EXITED || info->si_status != SIGKILL)))
		return JOURNAL_CRASHED;
	return JOURNAL_KILLED;
}

static void count_death(struct journal_header *header, enum journal_death death)
{
	header->death = death;
	header->replacements++;
	header->crashes += death == JOURNAL_CRASHED;
	header->hangs += death == JOURNAL_HUNG;
}

/* What it had and did not finish goes to the next one. */
static void take_parcels_back(struct parcels *parcels)
{
	struct parcel *next;

	for (struct parcel *one = parcels->first; one; one = next) {
		next = one->next;
		one->fresh |= one->sent;
		one->sent = false;
		if (!one->taken)
			continue;
		mpud_socket_answer(one->connection, NULL, one->confine);
		parcels_drop(parcels, one);
	}
}

/* 1. No thread of it shall go on. 2. Its last messages. 3. Why. 4. What it left unfinished. */
static void bury_worker(struct keeper *keeper)
{
	struct keeper_worker *worker = &keeper->worker;
	struct journal_header *header = journal_header(keeper->journal);
	struct pollfd end = {.fd = pidfd_of_process(worker->pid), .events = POLLIN};
	siginfo_t info = {0};

	kill(worker->pid, SIGKILL);
	read_messages(keeper);
	if (end.fd >= 0) {
		poll(&end, 1, END_MS);
		close(end.fd);
	}
	if (waitid(P_PID, (id_t)worker->pid, &info, WEXITED | WNOHANG) || !info.si_pid)
		remember_undead(header, header->worker);
	header->former = header->worker;
	header->worker = (struct journal_process){0};
	count_death(header, judge(worker, &info, atomic_load(&header->crashed_thread) != 0));
	close(worker->pidfd);
	close(worker->channel);
	*worker = (struct keeper_worker){.pidfd = -1,
					 .channel = -1,
					 .was_ready = worker->was_ready,
					 .ready = worker->ready,
					 .again_ms = worker->again_ms};
	take_parcels_back(&keeper->parcels);
	keeper_settle(keeper);
}

static void start_later(struct keeper_worker *worker)
{
	unsigned int wait_ms = worker->again_ms ? worker->again_ms * 2 : AGAIN_MS;

	worker->again_ms = wait_ms < AGAIN_MAX_MS ? wait_ms : AGAIN_MAX_MS;
	worker->again_ns = now_ns() + worker->again_ms * UINT64_C(1000000);
}

/* At once; but a worker that ends by itself before it is ready is not started over and over. */
static void replace_worker(struct keeper *keeper)
{
	static const char *const reasons[] = {"ended", "was killed", "crashed", "hung"};
	struct keeper_worker *worker = &keeper->worker;
	struct mpu_error error = {0};
	pid_t pid = worker->pid;
	bool at_once;

	bury_worker(keeper);
	at_once = worker->ready || journal_header(keeper->journal)->death == JOURNAL_KILLED;
	worker->ready = false;
	if (!worker->was_ready)
		return;
	log_warning("mpud's worker is replaced", "pid=%d reason=\"%s\"", pid,
		    reasons[journal_header(keeper->journal)->death]);
	if (!at_once || keeper_start_worker(keeper, &error))
		start_later(worker);
}

static void start_again(struct keeper *keeper)
{
	struct mpu_error error = {0};

	if (!keeper_start_worker(keeper, &error))
		return;
	log_error(error.text, "error=%d", error.code);
	start_later(&keeper->worker);
}

/* ---- Its silence ---- */

/* Twice within its patience, and not more often, as each wakes three threads. A worker that rests,
 * which two signs in a row make sure of, says of itself when it stirs, and is asked once in a while. */
enum { RESTS = 2, REST_MS = 60000 };

static bool rests(const struct keeper_worker *worker)
{
	return worker->at_rest >= RESTS;
}

static uint64_t asked_every_ms(const struct keeper *keeper)
{
	uint64_t every_ms = keeper->options->watchdog * UINT64_C(400);

	return rests(&keeper->worker) && every_ms < REST_MS ? REST_MS : every_ms;
}

void keeper_expect_life(struct keeper *keeper)
{
	/* It was not asked meanwhile. */
	if (rests(&keeper->worker))
		keeper->worker.sign_of_life_ns = now_ns();
	keeper->worker.at_rest = 0;
}

static void look_after(struct keeper *keeper)
{
	const struct channel_message ping = {.kind = CHANNEL_PING};
	struct keeper_worker *worker = &keeper->worker;
	uint64_t patience = keeper->options->watchdog * UINT64_C(1000000000);

	if (rests(worker))
		keeper_expect_life(keeper);
	worker->asked_ns = now_ns();
	if (worker->asked_ns - worker->sign_of_life_ns > patience && !worker->hung) {
		log_error("mpud's worker gives no sign of life and is killed", "pid=%d",
			  worker->pid);
		worker->hung = true;
		kill(worker->pid, SIGKILL);
	}
	channel_send(worker->channel, &ping, NULL, 0, MSG_DONTWAIT);
}

/* Returns after how many milliseconds to come again. */
static int ask_when_due(struct keeper *keeper)
{
	uint64_t since_ms = (now_ns() - keeper->worker.asked_ns) / 1000000;

	if (since_ms >= asked_every_ms(keeper)) {
		look_after(keeper);
		since_ms = 0;
	}
	return (int)(asked_every_ms(keeper) - since_ms);
}

static bool has_ended(const struct keeper_worker *worker)
{
	struct pollfd end = {.fd = worker->pidfd, .events = POLLIN};

	return poll(&end, 1, 0) == 1;
}

int keeper_work(struct keeper *keeper)
{
	struct keeper_worker *worker = &keeper->worker;

	if (!worker->pid) {
		if (now_ns() >= worker->again_ns)
			start_again(keeper);
		return AGAIN_MS;
	}
	read_messages(keeper);
	if (has_ended(worker)) {
		replace_worker(keeper);
		return 0;
	}
	send_parcels(keeper);
	if (atomic_load(&journal_header(keeper->journal)->closed_cue))
		keeper_let_go_all_closed(keeper);
	return ask_when_due(keeper);
}

void keeper_stop_worker(struct keeper *keeper)
{
	const struct channel_message stop = {.kind = CHANNEL_STOP};
	struct keeper_worker *worker = &keeper->worker;
	struct pollfd end = {.fd = worker->pidfd, .events = POLLIN};

	if (!worker->pid)
		return;
	worker->stopped = true;
	if (channel_send(worker->channel, &stop, NULL, 0, MSG_DONTWAIT) == 0)
		poll(&end, 1, STOP_MS);
	bury_worker(keeper);
}

int keeper_end_former(struct journal *journal, struct mpu_error *error)
{
	struct journal_header *header = journal_header(journal);
	struct journal_process former = header->worker;
	struct pollfd end = {.events = POLLIN};

	if (!former.pid || !task_may_be_there(former.pid, former.start))
		return 0;
	if (task_start_ticks(former.pid) != former.start)
		return mpu_fail(error, EAGAIN,
				"cannot tell whether the worker of the mpud before (pid %d) is there "
				"still: no descriptor, or no memory, left",
				former.pid);
	kill(former.pid, SIGKILL);
	end.fd = pidfd_of_process(former.pid);
	if (end.fd < 0 || poll(&end, 1, END_MS) != 1)
		remember_undead(header, former);
	if (end.fd >= 0)
		close(end.fd);
	header->former = former;
	header->worker = (struct journal_process){0};
	count_death(header, JOURNAL_KILLED);
	return 0;
}
