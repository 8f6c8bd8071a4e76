/* From a fresh process to the command under its filter. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"
#include "supervisor/run/message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static _Noreturn void fail(int socket, enum run_child_step step, const struct mpu_error *error)
{
	struct run_child_report report = {.step = step, .error = *error};

	message_send(socket, &report, sizeof(report), -1);
	_exit(RUN_EXIT_OWN);
}

static int write_file(const char *path, const char *text, struct mpu_error *error)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return mpu_fail(error, errno, "cannot set up a user namespace: %s: %s", path,
				strerror(errno));
	return 0;
}

/* The user stays who he is. */
static int map_own_ids(uid_t uid, gid_t gid, struct mpu_error *error)
{
	char map[64];
	int result = write_file("/proc/self/setgroups", "deny", error);

	snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
	if (!result)
		result = write_file("/proc/self/uid_map", map, error);
	snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
	if (!result)
		result = write_file("/proc/self/gid_map", map, error);
	return result;
}

/* Mounts that the host makes later still arrive, none of ours leaves. */
static int mount_own_proc(struct mpu_error *error)
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		return mpu_fail(
		    error, errno, "cannot make the mounts the command's own: %s%s", strerror(errno),
		    errno == EINVAL ? " (the root directory is no mount point, as in a chroot: "
				      "mount --bind it on itself first)"
				    : "");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return mpu_fail(error, errno, "cannot mount /proc for the new PID namespace: %s%s",
				strerror(errno),
				errno == EPERM
				    ? " (parts of /proc are covered by other mounts here: "
				      "run mpu-run outside of that container)"
				    : "");
	return 0;
}

static int hand_over_listener(const struct run_plan *plan, int socket, struct mpu_error *error)
{
	const struct run_child_report report = {.step = RUN_CHILD_LISTENER};
	cleanup_close int listener = filter_install(plan->filter, plan->filter_flags, error);

	if (listener < 0)
		return listener;
	if (message_send(socket, &report, sizeof(report), listener))
		return mpu_fail(error, EPIPE, "the supervisor went away");
	return 0;
}

static int wait_for_go(int socket)
{
	char go;

	return TEMP_FAILURE_RETRY(read(socket, &go, 1)) == 1 ? 0 : -EPIPE;
}

static _Noreturn void exit_as(int status)
{
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* PID 1 of the new namespace: hands signals from outside on to the command, buries what nobody
 * waits for, and ends with the command; the kernel then ends all that is left. */
static _Noreturn void be_init(pid_t command)
{
	sigset_t signals;
	siginfo_t info;
	pid_t ended;
	int status;

	run_forwarded_signals(&signals);
	sigaddset(&signals, SIGCHLD);
	for (;;) {
		int signal = sigwaitinfo(&signals, &info);

		if (signal > 0 && signal != SIGCHLD && info.si_pid == 0 &&
		    info.si_code != SI_KERNEL)
			kill(command, signal);
		while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
			if (ended == command)
				exit_as(status);
	}
}

const int run_signals_changed[RUN_SIGNALS_CHANGED] = {SIGPIPE, SIGCHLD, SIGTSTP, SIGTTIN, SIGTTOU};

static void restore_signals(const struct run_plan *plan)
{
	for (int i = 0; i < RUN_SIGNALS_CHANGED; i++)
		sigaction(run_signals_changed[i], &plan->inherited[i], NULL);
	sigprocmask(SIG_SETMASK, &plan->signals, NULL);
}

static _Noreturn void execute(const struct run_plan *plan, int socket)
{
	char **command = plan->options.command;
	struct run_child_report report = {.step = RUN_CHILD_EXEC_FAILED};
	int code;

	restore_signals(plan);
	execvp(command[0], command);
	code = errno;
	if (code == ENOENT && strchr(command[0], '/') && access(command[0], F_OK) == 0)
		mpu_fail(&report.error, code,
			 "cannot execute %s: the program that runs it (after #!, or the dynamic "
			 "linker) was not found",
			 command[0]);
	else if (code == ENOENT)
		mpu_fail(&report.error, code, "command not found: %s", command[0]);
	else
		mpu_fail(&report.error, code, "cannot execute %s: %s", command[0], strerror(code));
	message_send(socket, &report, sizeof(report), -1);
	_exit(code == ENOENT ? RUN_EXIT_NOT_FOUND : RUN_EXIT_CANNOT_EXECUTE);
}

/* 1. Die with the back, should it die before it can end us. 2. Who we are in a new user namespace,
 * before anything that needs its privilege. 3. Our own /proc, while mounts are still allowed.
 * 4. no_new_privs, without which an ordinary user may not install a filter. 5. The filter: from
 * here on our RM controls would wait for the listener. 6. The listener goes to the back. 7. Nothing
 * of the command runs before the back is ready. 8. The command is not PID 1, which could not be
 * ended by signals. 9. Signals as mpu-run found them. 10. The command. */
_Noreturn void run_child(const struct run_plan *plan, int socket)
{
	struct mpu_error error = {0};
	int result = 0;
	pid_t command;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (plan->user_ns)
		result = map_own_ids(plan->uid, plan->gid, &error);
	if (!result && plan->options.pid_ns)
		result = mount_own_proc(&error);
	if (!result && plan->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		result = mpu_fail(&error, errno, "cannot set no_new_privs: %s", strerror(errno));
	if (!result)
		result = hand_over_listener(plan, socket, &error);
	if (result)
		fail(socket, RUN_CHILD_FAILED, &error);
	if (wait_for_go(socket))
		_exit(RUN_EXIT_OWN);
	if (!plan->options.pid_ns)
		execute(plan, socket);
	/* It executes at once: a copy of our memory would be made for nothing. */
	command = vfork();
	if (command == 0)
		execute(plan, socket);
	if (command < 0) {
		mpu_fail(&error, errno, "cannot start a process: %s", strerror(errno));
		fail(socket, RUN_CHILD_FAILED, &error);
	}
	close(socket);
	be_init(command);
}
