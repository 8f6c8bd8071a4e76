#include "nvabi/lines.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static int split(char *text, struct table_line *line, struct mpu_error *error)
{
	char *rest = text, *word;

	line->count = 0;
	while ((word = strtok_r(rest, " \t\r\n", &rest)) && *word != '#') {
		if (line->count == TABLE_WORDS)
			return table_refuse(line, error, "more than %d words", TABLE_WORDS);
		line->word[line->count++] = word;
	}
	return 0;
}

int table_read(const char *path, table_line_fn *fn, void *context, struct mpu_error *error)
{
	cleanup_file FILE *file = fopen(path, "re");

	if (!file)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	return table_read_from(file, path, fn, context, error);
}

int table_read_from(FILE *file, const char *path, table_line_fn *fn, void *context,
		    struct mpu_error *error)
{
	cleanup_free char *text = NULL;
	struct table_line line = {.file = path};
	size_t room = 0;
	ssize_t length;
	int rc = 0;

	while (!rc && (length = getline(&text, &room, file)) >= 0) {
		line.number++;
		if (memchr(text, '\0', (size_t)length))
			return table_refuse(&line, error, "a NUL byte in a text table");
		rc = split(text, &line, error);
		if (!rc && line.count)
			rc = fn(&line, context, error);
	}
	if (!rc && ferror(file))
		return mpu_fail(error, EIO, "%s: cannot be read", path);
	return rc;
}

int table_refuse(const struct table_line *line, struct mpu_error *error, const char *format, ...)
{
	char text[320];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return mpu_fail(error, EINVAL, "%s:%u: %s", line->file, line->number, text);
}

int table_number(const char *text, uint64_t max, uint64_t *number)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, text[1] == 'x' ? 16 : 10);
	if (errno || *end || value > max)
		return -EINVAL;
	*number = value;
	return 0;
}

void *table_append(void *items, uint32_t *count, size_t size)
{
	char *array = *(char **)items;

	if (!(*count & (*count - 1))) {
		size_t room = *count ? (size_t)*count * 2 : 1;
		char *grown = reallocarray(array, room, size);

		if (!grown)
			return NULL;
		*(char **)items = array = grown;
	}
	return memset(array + (size_t)(*count)++ * size, 0, size);
}
