#include "supervisor/mpud/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For the line that says how many are missing. */
enum { NOTE = 48 };

int lines_begin(struct lines *lines, size_t size)
{
	*lines = (struct lines){.room = size};
	lines->bytes = malloc(size + NOTE);
	if (!lines->bytes)
		return -ENOMEM;
	pthread_mutex_init(&lines->lock, NULL);
	return 0;
}

void lines_end(struct lines *lines)
{
	pthread_mutex_destroy(&lines->lock);
	free(lines->bytes);
	lines->bytes = NULL;
}

bool lines_have_room(const struct lines *lines)
{
	return !atomic_load_explicit(&lines->full, memory_order_relaxed);
}

static size_t count_lines(const char *bytes, size_t length)
{
	size_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += bytes[i] == '\n';
	return count;
}

/* Once a line is missing, all are until the next time that the buffer is taken: the gap is one, and
 * stands where it was. */
static void drop(struct lines *lines, size_t count)
{
	lines->dropped += count;
	atomic_store_explicit(&lines->full, true, memory_order_relaxed);
}

static bool make_room(struct lines *lines, size_t length)
{
	char *grown;

	if (lines->length + length <= lines->room)
		return true;
	grown = realloc(lines->bytes, lines->length + length + NOTE);
	if (!grown)
		return false;
	lines->bytes = grown;
	lines->room = lines->length + length;
	return true;
}

static void put_marked(struct lines *lines, char mark, const char *bytes, size_t length)
{
	while (length) {
		const char *end = memchr(bytes, '\n', length);
		size_t line = end ? (size_t)(end - bytes) + 1 : length;

		lines->bytes[lines->length++] = mark;
		memcpy(lines->bytes + lines->length, bytes, line);
		lines->length += line;
		bytes += line;
		length -= line;
	}
}

/* Where lines are missing, this is said behind those that are there. */
static void put_note(struct lines *lines)
{
	if (lines->dropped)
		lines->length += (size_t)snprintf(lines->bytes + lines->length, NOTE,
						  "!{\"dropped\":%" PRIu64 "}\n", lines->dropped);
	lines->dropped = 0;
}

void lines_put(struct lines *lines, char mark, const char *bytes, size_t length, bool keeps)
{
	size_t count = count_lines(bytes, length);

	pthread_mutex_lock(&lines->lock);
	if (keeps && make_room(lines, NOTE))
		put_note(lines);
	if (keeps ? make_room(lines, length + count)
		  : !lines->dropped && lines->length + length + count <= lines->room)
		put_marked(lines, mark, bytes, length);
	else
		drop(lines, count);
	pthread_mutex_unlock(&lines->lock);
}

void lines_drop(struct lines *lines)
{
	pthread_mutex_lock(&lines->lock);
	drop(lines, 1);
	pthread_mutex_unlock(&lines->lock);
}

size_t lines_take(struct lines *lines, char **bytes)
{
	char *empty = NULL;
	size_t length = 0;

	pthread_mutex_lock(&lines->lock);
	if (lines->length || lines->dropped)
		empty = malloc(lines->room + NOTE);
	if (empty) {
		put_note(lines);
		length = lines->length;
		*bytes = lines->bytes;
		lines->bytes = empty;
		lines->length = 0;
		atomic_store_explicit(&lines->full, false, memory_order_relaxed);
	}
	pthread_mutex_unlock(&lines->lock);
	return length;
}
