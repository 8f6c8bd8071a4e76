#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_WARNING;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_line(enum log_level level, const char *message, const char *fields, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char line[1024];
	va_list args;
	int used, more = 0;

	if (level > max_level)
		return;
	used = snprintf(line, sizeof(line) - 1, "level=%s msg=\"%s\"%s", names[level], message,
			fields[0] ? " " : "");
	if (used < 0)
		return;
	if ((size_t)used < sizeof(line) - 1) {
		va_start(args, fields);
		more = vsnprintf(line + used, sizeof(line) - 1 - (size_t)used, fields, args);
		va_end(args);
	}
	used += more > 0 ? more : 0;
	if ((size_t)used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)used) < 0)
		return;
}
