#include "nvabi/tools/rows.h"

#include "base/cleanup.h"
#include "nvabi/lines.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->key, ((const struct row *)b)->key);
}

static bool is_record(const char *kind)
{
	return !strcmp(kind, "struct") || !strcmp(kind, "union");
}

static char *join(const struct table_line *line)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (unsigned int i = 0; i < line->count; i++)
		fprintf(out, "%s%s", i ? " " : "", line->word[i]);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static int read_row(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct rows *rows = context;
	struct row *row;

	if (line->count < 2)
		return table_refuse(line, error, "wants: kind name ...");
	row = table_append(&rows->row, &rows->count, sizeof(*row));
	if (!row)
		return mpu_fail(error, ENOMEM, "no memory");
	row->text = join(line);
	if (!row->text ||
	    asprintf(&row->key, "%s %s", is_record(line->word[0]) ? "record" : line->word[0],
		     line->word[1]) < 0) {
		row->key = NULL;
		return mpu_fail(error, ENOMEM, "no memory");
	}
	return 0;
}

int read_rows(const char *path, struct rows *rows, struct mpu_error *error)
{
	int rc;

	*rows = (struct rows){0};
	rc = table_read(path, read_row, rows, error);
	if (!rc && rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), by_key);
	for (uint32_t i = 1; !rc && i < rows->count; i++)
		if (!strcmp(rows->row[i - 1].key, rows->row[i].key))
			rc = mpu_fail(error, EINVAL, "%s: %s stands there twice", path,
				      rows->row[i].key);
	if (rc)
		free_rows(rows);
	return rc;
}

void free_rows(struct rows *rows)
{
	for (uint32_t i = 0; i < rows->count; i++) {
		free(rows->row[i].text);
		free(rows->row[i].key);
	}
	free(rows->row);
	*rows = (struct rows){0};
}

uint32_t write_changed_rows(const struct rows *base, const struct rows *next, FILE *out)
{
	uint32_t b = 0, n = 0, count = 0;

	while (b < base->count || n < next->count) {
		int order = b == base->count   ? 1
			    : n == next->count ? -1
					       : strcmp(base->row[b].key, next->row[n].key);

		if (order < 0) {
			const char *text = base->row[b].text;

			fprintf(out, "%.*s %s gone\n", (int)strcspn(text, " "), text,
				strchr(base->row[b].key, ' ') + 1);
			count++;
		} else if (order > 0 || strcmp(base->row[b].text, next->row[n].text)) {
			fprintf(out, "%s\n", next->row[n].text);
			count++;
		}
		b += order <= 0;
		n += order >= 0;
	}
	return count;
}
