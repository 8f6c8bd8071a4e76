#include "supervisor/trace/values.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void values_open(struct values *values, char bracket)
{
	text_put(values->out, &bracket, 1);
	values->follows = false;
}

void values_close(struct values *values, char bracket)
{
	text_put(values->out, &bracket, 1);
	values->follows = true;
}

void values_item(struct values *values)
{
	if (values->follows)
		text_add(values->out, values->json ? "," : ", ");
	values->follows = true;
}

void values_name(struct values *values, const char *name)
{
	values_item(values);
	if (values->json)
		text_format(values->out, "\"%s\":", name);
	else
		text_format(values->out, "%s=", name);
}

void values_number(struct values *values, uint64_t number)
{
	text_format(values->out, "%" PRIu64, number);
}

void values_signed(struct values *values, int64_t number)
{
	text_format(values->out, "%" PRId64, number);
}

/* JSON has no words for what is no number. */
void values_real(struct values *values, double number)
{
	if (isfinite(number))
		text_format(values->out, "%.9g", number);
	else
		values_word(values, isnan(number) ? "nan" : "inf");
}

void values_bool(struct values *values, bool value)
{
	text_add(values->out, value ? "true" : "false");
}

void values_hex(struct values *values, uint64_t number, int digits)
{
	const char *quote = values->json ? "\"" : "";

	text_format(values->out, "%s0x%0*" PRIx64 "%s", quote, digits, number, quote);
}

void values_word(struct values *values, const char *word)
{
	if (values->json)
		values_string(values, word, strlen(word));
	else
		text_add(values->out, word);
}

/* What is not ASCII is written as a code point of its own, so that the line is valid UTF-8 whatever
 * the program put there. */
void values_string(struct values *values, const char *bytes, size_t length)
{
	struct text *out = values->out;

	text_put(out, "\"", 1);
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte == '"' || byte == '\\')
			text_format(out, "\\%c", byte);
		else if (byte >= ' ' && byte < 0x7f)
			text_put(out, &bytes[i], 1);
		else
			text_format(out, values->json ? "\\u%04x" : "\\x%02x", byte);
	}
	text_put(out, "\"", 1);
}

void values_bytes(struct values *values, const uint8_t *bytes, size_t length, bool more)
{
	const char *quote = values->json ? "\"" : "";

	text_format(values->out, "%s0x", quote);
	for (size_t i = 0; i < length; i++)
		text_format(values->out, "%02x", bytes[i]);
	text_format(values->out, "%s%s", more ? "..." : "", quote);
}

void values_more(struct values *values, bool structure)
{
	values_item(values);
	if (!values->json)
		text_add(values->out, "...");
	else
		text_add(values->out, structure ? "\"...\":true" : "\"...\"");
}
