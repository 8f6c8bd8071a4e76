#include "nvabi/version.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PARTS = 3 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads one decimal number of at most 16 bits from TEXT[*AT..LENGTH). */
static bool take_number(const char *text, size_t length, size_t *at, uint16_t *number)
{
	uint32_t value = 0;
	size_t start = *at;

	while (*at < length && is_digit(text[*at])) {
		value = value * 10 + (uint32_t)(text[*at] - '0');
		if (value > UINT16_MAX)
			return false;
		(*at)++;
	}
	*number = (uint16_t)value;
	return *at > start;
}

/* Reads the longest dotted number at TEXT[*AT..LENGTH); *AT is left behind it. */
static bool take_version(const char *text, size_t length, size_t *at, struct nvabi_version *version)
{
	uint16_t number[MAX_PARTS] = {0};
	uint8_t parts = 0;

	for (;;) {
		if (parts == MAX_PARTS || !take_number(text, length, at, &number[parts]))
			return false;
		parts++;
		if (*at + 1 >= length || text[*at] != '.' || !is_digit(text[*at + 1]))
			break;
		(*at)++;
	}
	*version = (struct nvabi_version){number[0], number[1], number[2], parts};
	return true;
}

int nvabi_version_parse(const char *text, struct nvabi_version *version)
{
	size_t at = 0, length = strlen(text);
	struct nvabi_version found;

	if (!take_version(text, length, &at, &found) || at != length)
		return -EINVAL;
	*version = found;
	return 0;
}

/* A word that is nothing but a dotted number of two or three parts. */
static bool word_is_version(const char *word, size_t length, struct nvabi_version *version)
{
	struct nvabi_version found;
	size_t at = 0;

	if (!take_version(word, length, &at, &found) || at != length || found.parts < 2)
		return false;
	*version = found;
	return true;
}

static size_t word_length(const char *text, size_t length)
{
	size_t n = 0;

	while (n < length && text[n] != ' ' && text[n] != '\t' && text[n] != '\n' && text[n])
		n++;
	return n;
}

static int find_in_line(const char *line, size_t length, struct nvabi_version *version)
{
	size_t at = 0;

	while (at < length) {
		size_t n = word_length(line + at, length - at);

		if (n && word_is_version(line + at, n, version))
			return 0;
		at += n + 1;
	}
	return -EINVAL;
}

int nvabi_version_find(const char *text, size_t length, struct nvabi_version *version)
{
	static const char prefix[] = "NVRM version:";
	const size_t prefix_length = sizeof(prefix) - 1;
	size_t at = 0;

	while (at < length) {
		const char *line = text + at;
		const char *end = memchr(line, '\n', length - at);
		size_t n = end ? (size_t)(end - line) : length - at;

		if (n > prefix_length && !memcmp(line, prefix, prefix_length))
			return find_in_line(line + prefix_length, n - prefix_length, version);
		at += n + 1;
	}
	return -EINVAL;
}

const char *nvabi_version_format(const struct nvabi_version *version, char out[NVABI_VERSION_TEXT])
{
	int n = snprintf(out, NVABI_VERSION_TEXT, "%u", version->major);

	if (version->parts >= 2)
		n += snprintf(out + n, NVABI_VERSION_TEXT - (size_t)n, ".%02u", version->minor);
	if (version->parts >= 3)
		snprintf(out + n, NVABI_VERSION_TEXT - (size_t)n, ".%02u", version->patch);
	return out;
}

int nvabi_version_compare(const struct nvabi_version *a, const struct nvabi_version *b)
{
	if (a->major != b->major)
		return a->major < b->major ? -1 : 1;
	if (a->minor != b->minor)
		return a->minor < b->minor ? -1 : 1;
	if (a->patch != b->patch)
		return a->patch < b->patch ? -1 : 1;
	return (a->parts > b->parts) - (a->parts < b->parts);
}
