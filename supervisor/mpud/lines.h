/* Lines on their way to somebody who may be slow: a buffer of fixed size between those who write, who
 * never wait, and the one thread that sends. */
#ifndef SUPERVISOR_MPUD_LINES_H
#define SUPERVISOR_MPUD_LINES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lines {
	pthread_mutex_t lock;
	char *bytes; /* written and not taken yet */
	size_t length, room;
	uint64_t dropped; /* lines, behind those that are there */
	_Atomic bool full;
};

/* SIZE: bytes. Returns 0 or -ENOMEM. */
int lines_begin(struct lines *lines, size_t size);
void lines_end(struct lines *lines);

/* Whether a line would be taken. From any thread; costs nothing. */
bool lines_have_room(const struct lines *lines);

/* Puts each of the whole lines in BYTES down, MARK before it; or counts them where there is no room
 * for all. With KEEPS room is made. */
void lines_put(struct lines *lines, char mark, const char *bytes, size_t length, bool keeps);

/* Counts a line that was not even made. */
void lines_drop(struct lines *lines);

/* Takes what is there, and behind it a line '!{"dropped":N}' where lines are missing. The buffer is
 * empty then. Returns the length, with *BYTES the caller's to free; 0 when there is nothing. */
size_t lines_take(struct lines *lines, char **bytes);

#endif
