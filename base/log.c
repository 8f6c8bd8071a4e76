#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Warnings and errors a second from one place in the program: what they tell of can be done by
 * others without end. */
enum { PER_SECOND = 10, PLACES = 256 };

static unsigned int max_level = LOG_LEVEL_WARNING;

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

/* No lock: a child that is forked meanwhile would find it held. */
struct place {
	_Atomic uintptr_t caller;
	_Atomic uint64_t count; /* of lines, with the second above it */
	_Atomic unsigned int dropped;
};

static struct place *find_place(uintptr_t caller)
{
	static struct place places[PLACES];

	for (unsigned int i = 0; i < PLACES; i++) {
		struct place *place = &places[(caller / 4 + i) % PLACES];
		uintptr_t known = 0;

		if (atomic_compare_exchange_strong(&place->caller, &known, caller) ||
		    known == caller)
			return place;
	}
	return NULL;
}

/* Whether one more line may come from CALLER now. Stores how many were dropped before it. */
static bool may_come(uintptr_t caller, unsigned int *dropped)
{
	struct place *place = find_place(caller);
	struct timespec now;
	uint64_t count, next;

	*dropped = 0;
	if (!place)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	count = atomic_load(&place->count);
	do {
		next = (uint64_t)now.tv_sec << 32;
		if (count >= next)
			next = count + 1;
	} while (!atomic_compare_exchange_weak(&place->count, &count, next));
	if ((uint32_t)next >= PER_SECOND) {
		atomic_fetch_add(&place->dropped, 1);
		return false;
	}
	*dropped = atomic_exchange(&place->dropped, 0);
	return true;
}

static void write_line(char *line, int length, size_t room)
{
	if (length < 0)
		return;
	if ((size_t)length > room - 1)
		length = (int)room - 1;
	line[length++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)length);
}

void log_line(unsigned int said, const char *message, const char *fields, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char line[1024], text[768], more[768];
	const unsigned int level = said & ~(unsigned int)LOG_FEW;
	unsigned int dropped = 0;
	va_list args;

	if (level > max_level || (said <= LOG_LEVEL_WARNING &&
				  !may_come((uintptr_t)__builtin_return_address(0), &dropped)))
		return;
	if (dropped)
		write_line(line,
			   snprintf(line, sizeof(line),
				    "level=warning msg=\"so many lines like the next were left "
				    "out\" count=%u",
				    dropped),
			   sizeof(line));
	snprintf(text, sizeof(text), "%s", message);
	disarm(text, true);
	va_start(args, fields);
	vsnprintf(more, sizeof(more), fields, args);
	va_end(args);
	disarm(more, false);
	write_line(line,
		   snprintf(line, sizeof(line), "level=%s msg=\"%s\"%s%s", names[level], text,
			    fields[0] ? " " : "", more),
		   sizeof(line));
}
