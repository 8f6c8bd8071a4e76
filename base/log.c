#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_WARNING;

void log_set_level(enum log_level level)
{
	max_level = level;
}

/* What comes from elsewhere, such as a container's name, shall not end the line, nor the quotes in
 * which QUOTED text stands. */
static void disarm(char *text, bool quoted)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
		else if (quoted && *text == '"')
			*text = '\'';
}

void log_line(enum log_level level, const char *message, const char *fields, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char line[1024], text[768], more[768];
	va_list args;
	int used;

	if (level > max_level)
		return;
	snprintf(text, sizeof(text), "%s", message);
	disarm(text, true);
	va_start(args, fields);
	vsnprintf(more, sizeof(more), fields, args);
	va_end(args);
	disarm(more, false);
	used = snprintf(line, sizeof(line), "level=%s msg=\"%s\"%s%s", names[level], text,
			fields[0] ? " " : "", more);
	if (used < 0)
		return;
	if ((size_t)used > sizeof(line) - 1)
		used = sizeof(line) - 1;
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)used) < 0)
		return;
}
