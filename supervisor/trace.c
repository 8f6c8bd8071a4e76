#include "supervisor/trace.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

struct trace {
	int fd;
};

struct trace *trace_open(const char *path, struct mpu_error *error)
{
	cleanup_free struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace) {
		mpu_fail(error, ENOMEM, "cannot trace: %s", strerror(ENOMEM));
		return NULL;
	}
	trace->fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644)
			 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (trace->fd < 0) {
		mpu_fail(error, errno, "cannot write the trace to %s: %s",
			 path ? path : "standard error", strerror(errno));
		return NULL;
	}
	return steal_ptr(trace);
}

void trace_close(struct trace *trace)
{
	if (!trace)
		return;
	close(trace->fd);
	free(trace);
}

void trace_control(struct trace *trace, pid_t tid, uint32_t cmd, const char *name,
		   const char *decision, uint32_t status, int errnum, uint64_t nanoseconds)
{
	struct timespec now;
	struct tm local;
	char line[256];
	int used;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	used = snprintf(line, sizeof(line), "%02d:%02d:%02d.%06ld %d ioctl(RM_CONTROL, 0x%08x%s%s) %s",
			local.tm_hour, local.tm_min, local.tm_sec, now.tv_nsec / 1000, tid, cmd,
			name ? " " : "", name ? name : "", decision);
	if (errnum)
		used += snprintf(line + used, sizeof(line) - (size_t)used, " errno=%s",
				 strerrorname_np(errnum));
	else if (nanoseconds)
		used += snprintf(line + used, sizeof(line) - (size_t)used, " status=0x%x", status);
	if (nanoseconds)
		used += snprintf(line + used, sizeof(line) - (size_t)used, " <%.6f>",
				 (double)nanoseconds / 1e9);
	if ((size_t)used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	if (write(trace->fd, line, (size_t)used) < 0)
		return;
}
