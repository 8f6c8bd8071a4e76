/* The process that the user's shell waits for. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

/* The terminal sends its signals to the command itself. */
static void forward(int signal_fd, pid_t back)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) == sizeof(info) && info.ssi_code != SI_KERNEL)
		kill(back, (int)info.ssi_signo);
}

/* The back is gone and has not said how the command ended. Its processes are ours now, and must not
 * live on with GPU calls that nobody answers. */
static int back_died(pid_t back)
{
	int status = 0;

	waitpid(back, &status, 0);
	run_tree_end();
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status); /* it has said why */
	fprintf(stderr, "mpu-run: the supervising process died (%s %d), so the command was ended: "
			"without it its GPU calls would fail\n",
		WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return RUN_EXIT_OWN;
}

/* What could not be ended by a signal shall not begin. */
static int give_up(pid_t back, const char *why)
{
	fprintf(stderr, "mpu-run: %s: %s\n", why, strerror(errno));
	kill(back, SIGKILL);
	waitpid(back, NULL, 0);
	run_tree_end();
	return RUN_EXIT_OWN;
}

int run_front(pid_t back, int status_fd)
{
	sigset_t signals;
	cleanup_close int signal_fd = -1;
	struct run_status status;
	ssize_t length;

	run_forwarded_signals(&signals);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (signal_fd < 0)
		return give_up(back, "cannot forward signals to the command");
	for (;;) {
		struct pollfd ready[] = {{.fd = status_fd, .events = POLLIN},
					 {.fd = signal_fd, .events = POLLIN}};

		if (poll(ready, 2, -1) < 0)
			continue;
		if (ready[1].revents)
			forward(signal_fd, back);
		if (ready[0].revents)
			break;
	}
	length = TEMP_FAILURE_RETRY(read(status_fd, &status, sizeof(status)));
	if (length != sizeof(status))
		return back_died(back);
	if (!status.left_behind)
		waitpid(back, NULL, 0);
	return status.exit_status;
}
