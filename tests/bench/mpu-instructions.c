/* What tests/bench/instructions.sh counts the instructions of:
 *
 *   mpu-instructions pass CALLS        a target makes that many calls, which the engine lets pass
 *   mpu-instructions compose RELEASE   what nvabi knows of a release is put together
 *
 * The target is a program of its own (pass-target), so that it is not counted. */
#include "bench.h"

#include "base/cleanup.h"
#include "filter/filter.h"
#include "nvabi/pids.h"
#include "nvabi/rm.h"
#include "supervisor/run/message.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
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
	_exit(1);
}

static int be_target(unsigned int calls, int socket)
{
	cleanup_filter struct filter_program program = {0};
	struct mpu_error error = {0};
	const char params[32] = {0};
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int listener = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!filter_build(filter_native_architectures(), &program, &error))
		listener = filter_install(&program, filter_probe_flags(&error), &error);
	if (listener < 0 || message_send(socket, "l", 1, listener))
		bench_die("the target cannot begin: %s", error.text);
	close(listener);
	for (unsigned int i = 0; i < calls; i++)
		ioctl(null, NVABI_RM_CONTROL_REQUEST, params);
	return 0;
}

static int pass(const char *program, const char *calls)
{
	int sockets[2], listener, status;
	char word, socket[16];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		bench_die("no file descriptors");
	snprintf(socket, sizeof(socket), "%d", sockets[1]);
	pid = fork();
	if (pid == 0) {
		execl(program, program, "pass-target", calls, socket, NULL);
		bench_die("cannot execute %s", program);
	}
	close(sockets[1]);
	if (message_receive(sockets[0], &word, 1, &listener) || listener < 0)
		bench_die("no listener came");
	agent_give(agent_mpu("580.142", NULL, PIDMAP_NSPID), listener);
	return waitpid(pid, &status, 0) != pid || status;
}

static int compose(const char *release)
{
	struct nvabi_version version;
	static struct nvabi_pids pids;

	return nvabi_version_parse(release, &version) || nvabi_pids_compose(&version, &pids);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "pass") == 0)
		return pass(argv[0], argv[2]);
	if (argc == 4 && strcmp(argv[1], "pass-target") == 0)
		return be_target((unsigned int)atoi(argv[2]), atoi(argv[3]));
	if (argc == 3 && strcmp(argv[1], "compose") == 0)
		return compose(argv[2]);
	bench_die("usage: mpu-instructions pass CALLS | compose RELEASE");
}
