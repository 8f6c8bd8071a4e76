#include "supervisor/confine/nursery.h"

#include "base/cleanup.h"
#include "supervisor/confine/cgroup.h"
#include "supervisor/confine/proxy.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NAME  "mpu-nursery"
#define GUARD "mpu-guard"

enum { SOCKET = 3, PATIENCE_MS = 5000, RESTART_US = 50000, WORD = 48 };

/* The words of --sandbox. */
static const char *const modes[] = {"on", "log", "off"};

static struct {
	struct sandbox sandbox;
	bool has_sandbox;
	bool privileged;
	char *title; /* the memory that /proc/self/cmdline shows */
	size_t title_size;
} nursery;

/* ---- A proxy ---- */

/* All that it is made of. */
struct cradle {
	int memory;
	int own_end[PROXY_LANES], workers_end[PROXY_LANES];
};

static void empty(struct cradle *cradle)
{
	cleanup_close_fd(&cradle->memory);
	for (int i = 0; i < PROXY_LANES; i++) {
		cleanup_close_fd(&cradle->own_end[i]);
		cleanup_close_fd(&cradle->workers_end[i]);
	}
}

/* Sealed: nobody can take memory away from under who has it mapped. */
static int furnish(struct cradle *cradle)
{
	int ends[2];

	for (int i = 0; i < PROXY_LANES; i++)
		cradle->own_end[i] = cradle->workers_end[i] = -1;
	cradle->memory = memfd_create("mpu-proxy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (cradle->memory < 0 || ftruncate(cradle->memory, sizeof(struct proxy_memory)) ||
	    fcntl(cradle->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	for (int i = 0; i < PROXY_LANES; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
			return -errno;
		cradle->own_end[i] = ends[0];
		cradle->workers_end[i] = ends[1];
	}
	return 0;
}

static pid_t fork_into(int cgroup, int *pidfd)
{
	struct clone_args args = {.flags = CLONE_PIDFD,
				  .pidfd = (uint64_t)(uintptr_t)pidfd,
				  .exit_signal = SIGCHLD,
				  .cgroup = (uint64_t)cgroup};

	if (cgroup < 0)
		return -1;
	args.flags |= CLONE_INTO_CGROUP;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Without clone3, which systemd's RestrictNamespaces= takes away. The child may have ended by the time
 * that its pidfd could be asked for. */
static pid_t fork_plain(int *pidfd)
{
	return (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, pidfd, NULL, NULL);
}

/* Into the unified cgroup by its birth, where that can be; into all others afterwards. Returns as
 * fork(2), STRAY says what went wrong with the cgroups. */
static pid_t fork_beside(pid_t target, int *pidfd, int *stray)
{
	struct cgroup_paths own, targets;
	cleanup_close int cgroup = -1;
	pid_t pid;
	int result = cgroup_read(target, &targets);

	if (!result)
		result = cgroup_read(getpid(), &own);
	if (!result && strcmp(own.text, targets.text) == 0) {
		*stray = 0;
		return fork_plain(pidfd);
	}
	cgroup = result ? result : cgroup_open(&targets);
	pid = fork_into(cgroup, pidfd);
	if (pid < 0)
		pid = fork_plain(pidfd);
	if (pid > 0 && !result)
		result = cgroup_read(pid, &own);
	if (pid > 0 && !result)
		result = cgroup_move(pid, &own, &targets);
	*stray = result;
	return pid;
}

static int start_proxy(const struct nursery_request *request, int target, struct cradle *cradle,
		       int *pidfd, struct nursery_answer *answer)
{
	struct proxy_start start = {.request = request,
				    .sandbox = nursery.has_sandbox ? &nursery.sandbox : NULL,
				    .target = target,
				    .privileged = nursery.privileged,
				    .title = nursery.title,
				    .title_size = nursery.title_size};
	int result = furnish(cradle);

	if (result)
		return result;
	start.memory = cradle->memory;
	memcpy(start.own_end, cradle->own_end, sizeof(start.own_end));
	memcpy(start.workers_end, cradle->workers_end, sizeof(start.workers_end));
	answer->proxy = fork_beside(request->target, pidfd, &answer->stray);
	if (answer->proxy == 0)
		proxy_run(&start);
	return answer->proxy < 0 ? -errno : 0;
}

/* The proxy's own ends are nobody else's when the worker hears of it: that they close is the sign of its
 * death. */
static void let_go_of_own_ends(struct cradle *cradle)
{
	for (int i = 0; i < PROXY_LANES; i++) {
		cleanup_close_fd(&cradle->own_end[i]);
		cradle->own_end[i] = -1;
	}
}

static void answer_request(int socket, const struct nursery_request *request, int target)
{
	struct nursery_answer answer = {.token = request->token};
	struct cradle cradle __attribute__((cleanup(empty))) = {.memory = -1};
	cleanup_close int pidfd = -1;

	answer.error = start_proxy(request, target, &cradle, &pidfd, &answer);
	let_go_of_own_ends(&cradle);
	post_send(socket, &answer, sizeof(answer),
		  (int[]){pidfd, cradle.memory, cradle.workers_end[0]}, answer.error ? 0 : 3);
}

/* ---- The nursery and its guard ---- */

/* Until nobody can ask any more: then it ends; or the guard has died: then it returns. */
static void serve(int guard)
{
	struct pollfd polls[] = {{.fd = SOCKET, .events = POLLIN}, {.fd = guard, .events = POLLIN}};

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		struct nursery_request request;
		int fds[POST_FDS], result;
		size_t count;

		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[1].revents)
			return;
		result = post_receive(SOCKET, &request, sizeof(request), fds, &count, MSG_DONTWAIT);
		if (result == -EPIPE)
			_exit(0);
		if (result)
			continue;
		if (count == 1)
			answer_request(SOCKET, &request, fds[0]);
		while (count)
			close(fds[--count]);
	}
}

/* Buries others, too: former nurseries' proxies. Returns whether CHILD came to its end as it
 * should. */
static bool wait_for(pid_t child)
{
	int status = 1;
	pid_t ended;

	do
		ended = waitpid(-1, &status, 0);
	while (ended != child && (ended > 0 || errno == EINTR));
	return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Two that look after each other: should the one that serves die, its guard makes another one;
 * should the guard die, it becomes the guard of a new one. */
static _Noreturn void guard_and_serve(void)
{
	for (;;) {
		cleanup_close int self = pidfd_of_process(getpid());
		pid_t child;

		signal(SIGCHLD, SIG_DFL);
		child = self < 0 ? -1 : fork();
		prctl(PR_SET_NAME, child == 0 ? NAME : GUARD);
		if (child == 0)
			serve(self);
		else if (child > 0 && wait_for(child))
			_exit(0);
		else
			usleep(RESTART_US);
	}
}

bool nursery_is_meant(int argc, char **argv)
{
	return argc == 2 && strncmp(argv[0], NAME " ", sizeof(NAME)) == 0;
}

static void take_title(int argc, char **argv)
{
	nursery.title = argv[0];
	nursery.title_size = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) + 1 - argv[0]);
	memset(nursery.title, 0, nursery.title_size);
	memcpy(nursery.title, NAME, sizeof(NAME));
}

/* What comes behind the name. */
struct charge {
	enum sandbox_mode sandbox;
	bool has_user;
	struct privilege_user user;
};

static void write_charge(const struct charge *charge, char word[WORD])
{
	int length = snprintf(word, WORD, "%s", modes[charge->sandbox]);

	if (charge->has_user)
		snprintf(word + length, WORD - (size_t)length, ":%u:%u", charge->user.uid,
			 charge->user.gid);
}

static bool read_charge(const char *word, struct charge *charge)
{
	char mode[WORD];

	snprintf(mode, sizeof(mode), "%.*s", (int)strcspn(word, ":"), word);
	*charge = (struct charge){.has_user = strchr(word, ':') != NULL};
	return sandbox_mode_parse(mode, &charge->sandbox) &&
	       (!charge->has_user ||
		sscanf(strchr(word, ':'), ":%u:%u", &charge->user.uid, &charge->user.gid) == 2);
}

static int enter_sandbox(enum sandbox_mode mode, struct mpu_error *error)
{
	int result;

	if (mode == SANDBOX_OFF || sandbox_excuse())
		return 0;
	sandbox_prepare(&nursery.sandbox, mode == SANDBOX_LOG, false);
	result = sandbox_enter(&nursery.sandbox, SANDBOX_NURSERY, error);
	nursery.has_sandbox = !result;
	return result;
}

_Noreturn void nursery_main(int argc, char **argv)
{
	struct charge charge;
	struct nursery_answer greeting = {0};
	sigset_t none;

	if (!read_charge(argv[1], &charge))
		_exit(1);
	take_title(argc, argv);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* As workers are: what they may look into and what not decides what proxies hide. */
	nursery.privileged = privilege_may(CAP_SYS_PTRACE);
	if (charge.has_user)
		greeting.error = privilege_become(PRIVILEGE_NURSERY, &charge.user, NULL);
	if (!greeting.error)
		greeting.error = privilege_drop(PRIVILEGE_NURSERY, NULL);
	if (nursery.privileged)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (!greeting.error)
		greeting.error = enter_sandbox(charge.sandbox, NULL);
	if (post_send(SOCKET, &greeting, sizeof(greeting), NULL, 0) || greeting.error)
		_exit(1);
	guard_and_serve();
}

/* ---- Its start ---- */

/* The name leaves room for a proxy's. Standard error is not kept: whoever waits for all who have it
 * to close it waits for mpu-run, not for us. */
static _Noreturn void execute(int socket, const struct charge *charge)
{
	char title[PROXY_NAME], word[WORD];
	char *argv[] = {title, word, NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(title, sizeof(title), "%-*s", PROXY_NAME - 1, NAME);
	write_charge(charge, word);
	/* Out of the way first, where there was no standard input or output. */
	null = fcntl(null, F_DUPFD_CLOEXEC, SOCKET + 1);
	socket = fcntl(socket, F_DUPFD_CLOEXEC, SOCKET + 1);
	if (null < 0 || socket < 0 || chdir("/"))
		_exit(1);
	for (int fd = 0; fd < SOCKET; fd++)
		dup2(null, fd);
	dup2(socket, SOCKET);
	close_range(SOCKET + 1, ~0u, 0);
	execv("/proc/self/exe", argv);
	_exit(1);
}

/* Out of the caller's tree of processes and its terminal. */
static int detach(int socket, const struct charge *charge)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		setsid();
		child = fork();
		if (child == 0)
			execute(socket, charge);
		_exit(child < 0);
	}
	if (child < 0)
		return -errno;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

int nursery_start(enum sandbox_mode sandbox, const struct privilege_user *user,
		  struct mpu_error *error)
{
	struct charge charge = {.sandbox = sandbox, .has_user = user != NULL};
	int ends[2], result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	if (user)
		charge.user = *user;
	result = detach(ends[1], &charge);
	close(ends[1]);
	if (!result)
		return ends[0];
	close(ends[0]);
	return mpu_fail(error, -result,
			"cannot start the process that makes proxies for confined containers: %s",
			strerror(-result));
}

int nursery_await(int socket, struct mpu_error *error)
{
	struct pollfd ready = {.fd = socket, .events = POLLIN};
	struct nursery_answer greeting;
	int fds[POST_FDS], result = -ETIMEDOUT;
	size_t count;

	if (poll(&ready, 1, PATIENCE_MS) == 1)
		result = post_receive(socket, &greeting, sizeof(greeting), fds, &count, 0);
	if (!result)
		result = greeting.error;
	if (!result)
		return 0;
	return mpu_fail(error, -result,
			"the process that makes proxies for confined containers did not start: %s",
			result == -EPIPE ? "it ended at once (is this program's own file still "
					   "there to be executed?)"
					 : strerror(-result));
}

void nursery_end(int socket, int timeout_ms)
{
	struct pollfd end = {.fd = socket};

	shutdown(socket, SHUT_WR);
	poll(&end, 1, timeout_ms);
}
