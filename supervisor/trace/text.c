#include "supervisor/trace/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){0};
}

static bool make_room(struct text *text, size_t length)
{
	size_t room = text->room ? text->room : 256;
	char *grown;

	while (room < text->length + length + 1)
		room *= 2;
	if (room == text->room)
		return true;
	grown = realloc(text->bytes, room);
	if (!grown) {
		text->failed = true;
		return false;
	}
	text->bytes = grown;
	text->room = room;
	return true;
}

void text_put(struct text *text, const char *bytes, size_t length)
{
	if (!make_room(text, length))
		return;
	memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
	text->bytes[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
	text_put(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...)
{
	char short_text[256];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(short_text, sizeof(short_text), format, args);
	va_end(args);
	if (length < (int)sizeof(short_text)) {
		text_put(text, short_text, length > 0 ? (size_t)length : 0);
		return;
	}
	if (!make_room(text, (size_t)length))
		return;
	va_start(args, format);
	vsnprintf(text->bytes + text->length, (size_t)length + 1, format, args);
	va_end(args);
	text->length += (size_t)length;
}
