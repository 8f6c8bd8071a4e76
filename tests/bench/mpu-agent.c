/* mpu-agent [--sync] -- COMMAND [ARGUMENT]...: runs COMMAND under mpu's own filter with the
 * smallest agent there can be, which lets every call pass: what an ordinary agent costs, or with
 * --sync the kernel's floor. */
#include "bench.h"

#include "base/cleanup.h"
#include "filter/filter.h"
#include "supervisor/run/message.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

_Noreturn void bench_die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	_exit(125);
}

static _Noreturn void execute(char **command, int socket)
{
	struct filter_program program;
	struct mpu_error error = {0};
	int listener = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!filter_build(filter_native_architectures(), &program, &error))
		listener = filter_install(&program, filter_probe_flags(&error), &error);
	if (listener < 0)
		bench_die("mpu-agent: %s", error.text);
	if (message_send(socket, "l", 1, listener))
		bench_die("mpu-agent: cannot send the listener");
	close(listener);
	execvp(command[0], command);
	bench_die("mpu-agent: cannot execute %s: %s", command[0], strerror(errno));
}

int main(int argc, char **argv)
{
	bool sync = argc > 1 && strcmp(argv[1], "--sync") == 0;
	int sockets[2], listener, status;
	char word;
	pid_t pid;

	argv += 1 + sync;
	if (!argv[0] || strcmp(argv[0], "--") || !argv[1])
		bench_die("usage: mpu-agent [--sync] -- COMMAND [ARGUMENT]...");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		bench_die("mpu-agent: no file descriptors");
	pid = fork();
	if (pid == 0)
		execute(argv + 1, sockets[1]);
	close(sockets[1]);
	if (message_receive(sockets[0], &word, 1, &listener) || listener < 0)
		return 125;
	close(sockets[0]);
	agent_start_floor(listener, sync);
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
