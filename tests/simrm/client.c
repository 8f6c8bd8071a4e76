#include "tests/simrm/client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"

enum { MAX_OPTIONS = 8, SETTLE_MS = 5000 };

static void run_simrm(const struct sim *sim, const char *program, const char *version,
		      const char *const *options, int out)
{
	char version_option[64];
	char foreground[] = "--foreground";
	char *arguments[MAX_OPTIONS + 5] = {(char *)(uintptr_t)program, version_option, foreground};
	unsigned count = 3;

	snprintf(version_option, sizeof(version_option), "--driver-version=%s", version);
	for (unsigned i = 0; options && options[i] && i < MAX_OPTIONS; i++)
		arguments[count++] = (char *)(uintptr_t)options[i];
	arguments[count] = (char *)(uintptr_t)sim->directory;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(out, STDOUT_FILENO);
	execv(program, arguments);
	perror(program);
	_exit(127);
}

int sim_start(struct sim *sim, const char *program, const char *version, const char *const *options)
{
	cleanup_close int read_end = -1;
	int ends[2];
	char line[16];

	strcpy(sim->directory, "/tmp/simrm-XXXXXX");
	if (!mkdtemp(sim->directory) || pipe2(ends, O_CLOEXEC))
		return -errno;
	read_end = ends[0];
	sim->pid = fork();
	if (sim->pid == 0)
		run_simrm(sim, program, version, options, ends[1]);
	close(ends[1]);
	if (sim->pid < 0)
		return -errno;
	if (read(read_end, line, sizeof(line)) <= 0) {
		waitpid(sim->pid, NULL, 0);
		rmdir(sim->directory);
		return -EIO;
	}
	return 0;
}

int sim_stop(struct sim *sim)
{
	int status;

	kill(sim->pid, SIGTERM);
	if (waitpid(sim->pid, &status, 0) != sim->pid)
		return -1;
	if (status)
		umount2(sim->directory, MNT_DETACH); /* a crash leaves the mount behind */
	rmdir(sim->directory);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int sim_open(const struct sim *sim, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", sim->directory, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sim_command(const struct sim *sim, const char *format, ...)
{
	char path[128], line[256];
	cleanup_close int fd = -1;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	snprintf(path, sizeof(path), "%s/simrm-control", sim->directory);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, line, strlen(line)) < 0 ? -errno : 0;
}

char *sim_read(const struct sim *sim, const char *name)
{
	char path[128], part[4096];
	cleanup_file FILE *file = NULL;
	char *text = NULL;
	size_t size = 0, length;
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", sim->directory, name);
	file = fopen(path, "re");
	out = file ? open_memstream(&text, &size) : NULL;
	if (!out)
		return NULL;
	while ((length = fread(part, 1, sizeof(part), file)))
		fwrite(part, 1, length, out);
	fclose(out);
	return text;
}

int sim_settle(const struct sim *sim, unsigned left)
{
	for (unsigned waited = 0; waited < SETTLE_MS; waited += 5) {
		cleanup_free char *state = sim_read(sim, "simrm-state");
		const char *opens = state ? strstr(state, "\"opens\":") : NULL;
		const char *releases = state ? strstr(state, "\"releases\":") : NULL;

		if (opens && releases &&
		    strtoul(opens + strlen("\"opens\":"), NULL, 10) ==
			strtoul(releases + strlen("\"releases\":"), NULL, 10) + left)
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return -ETIMEDOUT;
}

int sim_control_by(int fd, unsigned long request, struct nvos54_parameters *api)
{
	return ioctl(fd, request, api) ? -errno : 0;
}

int sim_control_compat(int fd, unsigned request, struct nvos54_parameters *api)
{
#ifdef __x86_64__
	enum { IOCTL_32 = 54 };
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(IOCTL_32), "b"(fd), "c"(request), "d"(api)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
#else
	(void)fd;
	(void)request;
	(void)api;
	return -ENOSYS;
#endif
}

int sim_control_xfer(int fd, uint32_t cmd, uint32_t size, struct nvos54_parameters *api)
{
	struct nv_ioctl_xfer xfer = {.cmd = cmd, .size = size, .ptr = (uint64_t)(uintptr_t)api};

	return ioctl(fd, _IOWR('F', NV_ESC_IOCTL_XFER_CMD, struct nv_ioctl_xfer), &xfer) ? -errno
											 : 0;
}
