/* A text that grows. Without memory it stays as it is and is marked. */
#ifndef SUPERVISOR_TRACE_TEXT_H
#define SUPERVISOR_TRACE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
	char *bytes; /* ended by NUL, or NULL */
	size_t length, room;
	bool failed;
};

void text_free(struct text *text);
#define cleanup_text __attribute__((cleanup(text_free)))

void text_put(struct text *text, const char *bytes, size_t length);
void text_add(struct text *text, const char *string);
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
