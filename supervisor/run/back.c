/* The process that supervises: parent of the command, home of the engine. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"
#include "supervisor/confine/nursery.h"
#include "supervisor/confine/proxies.h"
#include "supervisor/engine.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/privilege.h"
#include "supervisor/run/message.h"
#include "supervisor/run/stats.h"
#include "supervisor/trace/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* What is to end with the command has so long for it. */
enum { END_MS = 1000 };

struct back {
	struct run_plan *plan;
	pid_t front;
	int front_pidfd;
	int status_fd;
	pid_t child; /* the command, or PID 1 of its namespace */
	int child_pidfd;
	int socket;   /* to the child */
	int listener; /* a copy, for a successor of the engine */
	uint32_t index; /* of the listener, in the journal */
	struct trace *trace;
	struct journal *journal;
	struct engine *engine;
};

static int start_child(struct back *back, struct mpu_error *error)
{
	const struct run_plan *plan = back->plan;
	struct clone_args args = {.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
				  .pidfd = (uint64_t)(uintptr_t)&back->child_pidfd,
				  .exit_signal = SIGCHLD};
	int sockets[2];
	long pid;

	if (plan->options.pid_ns)
		args.flags |= CLONE_NEWPID | CLONE_NEWNS;
	if (plan->user_ns)
		args.flags |= CLONE_NEWUSER;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		close(sockets[0]);
		run_child(plan, sockets[1]);
	}
	close(sockets[1]);
	back->socket = sockets[0];
	if (pid < 0 && plan->user_ns)
		return mpu_fail(error, errno,
				"cannot make a user namespace for --pid-ns: %s (run as root, or "
				"allow them: sysctl user.max_user_namespaces, "
				"kernel.unprivileged_userns_clone, "
				"kernel.apparmor_restrict_unprivileged_userns)",
				strerror(errno));
	if (pid < 0)
		return mpu_fail(error, errno, "cannot start a process: %s", strerror(errno));
	back->child = (pid_t)pid;
	return 0;
}

/* 0 with the listener, or the child's own words in ERROR. */
static int receive_listener(struct back *back, struct mpu_error *error)
{
	struct run_child_report report;

	if (message_receive(back->socket, &report, sizeof(report), &back->listener))
		return mpu_fail(error, ECHILD, "the command's process died before it could start");
	if (report.step == RUN_CHILD_LISTENER && back->listener >= 0)
		return 0;
	*error = report.error;
	return -error->code;
}

/* What the command asked for, where the engine looks for it. */
static int describe_listener(struct back *back, uint32_t *index)
{
	struct journal_listener *entry;

	if (!back->journal)
		back->journal = journal_new(false);
	if (!back->journal)
		return -errno;
	journal_begin(back->journal);
	entry = journal_take_listener(back->journal, index);
	if (!entry)
		return -ENOSPC;
	entry->settings = back->plan->options.settings;
	entry->pid = back->child;
	strcpy(entry->label, "mpu-run");
	atomic_store(&entry->state, JOURNAL_LISTENER_HELD);
	return 0;
}

static int start_engine(struct back *back, struct mpu_error *error)
{
	const struct run_options *options = &back->plan->options;
	int result = describe_listener(back, &back->index);
	struct engine_options engine = {.driver = back->plan->driver,
					.pids = back->plan->pids,
					.pid_lookup = options->pid_lookup,
					.use_pidfd_thread = options->use_pidfd_thread,
					.journal = back->journal,
					.allow = back->plan->allow,
					.nursery = back->plan->nursery,
					.trace = back->trace ? trace_hooks(back->trace) : NULL};

	if (result)
		return mpu_fail(error, -result, "cannot start the engine: %s", strerror(-result));
	return engine_start(&back->engine, &engine, error);
}

static int give_listener(struct back *back, struct mpu_error *error)
{
	int result, listener = fcntl(back->listener, F_DUPFD_CLOEXEC, 3);

	if (listener < 0)
		return mpu_fail(error, errno, "cannot keep the listener: %s", strerror(errno));
	result = engine_add_listener(back->engine, listener, back->index, true);
	return result ? mpu_fail(error, -result, "cannot start the engine: %s", strerror(-result))
		      : 0;
}

/* The child goes on. It closes its socket by executing the command, or says why it could not. */
static int let_go(struct back *back, struct mpu_error *error)
{
	struct run_child_report report;
	int fd;

	if (send(back->socket, "g", 1, MSG_NOSIGNAL) != 1)
		return mpu_fail(error, ECHILD, "the command's process died before it could start");
	if (message_receive(back->socket, &report, sizeof(report), &fd))
		return 0;
	*error = report.error;
	return report.step == RUN_CHILD_EXEC_FAILED ? 1 : -error->code;
}

static void forward(const struct back *back, int signal_fd)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) == sizeof(info) &&
	    (pid_t)info.ssi_pid == back->front && info.ssi_signo != SIGCHLD)
		pidfd_signal(back->child_pidfd, (int)info.ssi_signo);
}

/* Buries who has ended. Returns true when the command is among them, with its STATUS. */
static bool reap(const struct back *back, int *status)
{
	bool ended = false;
	int one;
	pid_t pid;

	while ((pid = waitpid(-1, &one, WNOHANG)) > 0)
		if (pid == back->child) {
			*status = WIFSIGNALED(one) ? 128 + WTERMSIG(one) : WEXITSTATUS(one);
			ended = true;
		}
	return ended;
}

/* Until the command has ended. Returns its exit status, or -1 when the front has died. */
static int serve(const struct back *back, int signal_fd)
{
	int status = 0;

	while (!reap(back, &status)) {
		struct pollfd ready[] = {{.fd = signal_fd, .events = POLLIN},
					 {.fd = back->front_pidfd, .events = POLLIN}};

		if (poll(ready, 2, -1) < 0)
			continue;
		if (ready[1].revents)
			return -1;
		if (ready[0].revents)
			forward(back, signal_fd);
	}
	return status;
}

static bool has_children(void)
{
	return waitpid(-1, NULL, WNOHANG) == 0;
}

static void leave_terminal(void)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
}

/* The engine moves to a child of ours, so that there are two again: should the child die, we end the
 * processes that are left; should we die, it goes on answering their calls. */
static _Noreturn void guard_left_behind(struct back *back)
{
	struct mpu_error error = {0};
	struct pollfd closed = {.fd = back->listener, .events = POLLIN};
	pid_t successor;
	int status;

	engine_stop(back->engine);
	leave_terminal();
	successor = fork();
	if (successor == 0) {
		if (start_engine(back, &error) || give_listener(back, &error))
			_exit(RUN_EXIT_OWN);
		closed.events = 0; /* only the hang-up */
		while (poll(&closed, 1, -1) < 0 || !(closed.revents & POLLHUP))
			;
		_exit(0);
	}
	close(back->listener);
	for (;;) {
		pid_t ended = waitpid(-1, &status, 0);

		if (ended < 0 && errno == ECHILD)
			_exit(0);
		if (ended == successor && status)
			break;
	}
	run_tree_end();
	_exit(0);
}

/* They follow their targets, but whoever waits for mpu-run shall find nothing of it. */
static void end_proxies(const struct back *back)
{
	if (back->plan->nursery < 0)
		return;
	nursery_end(back->plan->nursery, END_MS);
	if (back->journal)
		proxies_await_end(back->journal, END_MS);
}

static int finish(struct back *back, int exit_status)
{
	struct run_status status = {.exit_status = exit_status, .left_behind = has_children()};

	if (back->trace)
		trace_finish(back->trace);
	if (back->engine && back->plan->options.stats != RUN_STATS_NONE)
		run_stats_print(back->engine, back->journal, &back->plan->pids,
				back->plan->options.stats);
	if (write(back->status_fd, &status, sizeof(status)) != sizeof(status))
		status.left_behind = false;
	close(back->status_fd);
	if (!status.left_behind) {
		end_proxies(back);
		return exit_status;
	}
	if (!back->engine)
		return exit_status; /* mpud goes on answering them */
	guard_left_behind(back);
}

static int fail(struct back *back, const struct mpu_error *error, int exit_status)
{
	fprintf(stderr, "mpu-run: %s\n", error->text);
	if (back->child > 0)
		kill(back->child, SIGKILL);
	back->plan->options.stats = RUN_STATS_NONE;
	run_tree_end();
	return finish(back, exit_status);
}

/* The engine starts while the child makes its namespaces and its filter; its threads have no more
 * privilege than they need. */
static int start(struct back *back, struct mpu_error *error)
{
	const bool by_daemon = back->plan->options.socket;
	int result = start_child(back, error);

	if (!result)
		result = privilege_drop(PRIVILEGE_RUN, error);
	if (!result && !by_daemon)
		result = start_engine(back, error);
	if (!result)
		result = receive_listener(back, error);
	if (!result)
		result = by_daemon ? run_hand_to_daemon(&back->plan->options, back->child,
							back->listener, error)
				   : give_listener(back, error);
	if (!result && back->plan->nursery >= 0)
		result = nursery_await(back->plan->nursery, error);
	if (!result)
		result = let_go(back, error);
	return result;
}

static int open_trace(struct back *back, struct mpu_error *error)
{
	const struct run_options *options = &back->plan->options;
	const struct trace_options trace = {.lines = options->trace,
					    .summary = options->trace_summary,
					    .json = options->trace_json,
					    .execute = options->trace_execute,
					    .path = options->trace_path,
					    .selection = options->trace_selection,
					    .driver = back->plan->driver,
					    .dev_root = options->dev_root,
					    .pid_lookup = options->pid_lookup};

	if (!trace.lines && !trace.summary)
		return 0;
	back->trace = trace_open(&trace, error);
	return back->trace ? 0 : -error->code;
}

int run_back(struct run_plan *plan, pid_t front, int front_pidfd, int status_fd)
{
	struct back back = {.plan = plan,
			    .front = front,
			    .front_pidfd = front_pidfd,
			    .status_fd = status_fd,
			    .child_pidfd = -1,
			    .socket = -1,
			    .listener = -1};
	struct mpu_error error = {0};
	sigset_t signals;
	cleanup_close int signal_fd = -1;
	int result;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "mpu-engine");
	/* Its threads are few, and an arena for each would be mapped at every start. */
	mallopt(M_ARENA_MAX, 1);
	run_forwarded_signals(&signals);
	sigaddset(&signals, SIGCHLD);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (signal_fd < 0) {
		mpu_fail(&error, errno, "cannot see the command's end: %s", strerror(errno));
		return fail(&back, &error, RUN_EXIT_OWN);
	}
	/* The terminal's stop is for the command; it could not be answered by one who stands still. */
	signal(SIGTSTP, SIG_IGN);
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	if (open_trace(&back, &error))
		return fail(&back, &error, RUN_EXIT_OWN);
	result = start(&back, &error);
	if (result > 0)
		return fail(&back, &error,
			    error.code == ENOENT ? RUN_EXIT_NOT_FOUND : RUN_EXIT_CANNOT_EXECUTE);
	if (result < 0)
		return fail(&back, &error, RUN_EXIT_OWN);
	result = serve(&back, signal_fd);
	if (result < 0) {
		run_tree_end();
		return RUN_EXIT_OWN;
	}
	return finish(&back, result);
}
