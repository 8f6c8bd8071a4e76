/* nvabi-compile-statuses RELEASES STATUSES OUT.c: the names of NV_STATUS codes into constant C. */
#include "nvabi/status-tables.h"
#include "nvabi/tools/load.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct row {
	uint32_t release, status;
	char name[64]; /* empty: gone */
};

struct reader {
	struct loaded_tree tree;
	int64_t release; /* of the rows that follow, -1 before the first */
	struct row *row;
	uint32_t count;
};

static int read_row(const struct table_line *line, struct reader *reader, struct mpu_error *error)
{
	uint64_t status;
	struct row *row;

	if (reader->release < 0)
		return table_refuse(line, error, "stands under no release");
	if (table_number(line->word[0], UINT32_MAX, &status))
		return table_refuse(line, error, "'%s' is not a status", line->word[0]);
	if (strlen(line->word[1]) >= sizeof(row->name))
		return table_refuse(line, error, "the name is too long");
	for (uint32_t i = 0; i < reader->count; i++)
		if (reader->row[i].release == (uint32_t)reader->release &&
		    reader->row[i].status == status)
			return table_refuse(line, error, "%s is there twice", line->word[0]);
	row = table_append(&reader->row, &reader->count, sizeof(*row));
	if (!row)
		return mpu_fail(error, ENOMEM, "%s: no memory", line->file);
	row->release = (uint32_t)reader->release;
	row->status = (uint32_t)status;
	strcpy(row->name, strcmp(line->word[1], "gone") ? line->word[1] : "");
	return 0;
}

static int read_line(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct reader *reader = context;
	uint32_t release;
	int rc;

	if (line->count != 2)
		return table_refuse(line, error, "wants: release VERSION, or NUMBER NAME|gone");
	if (strcmp(line->word[0], "release"))
		return read_row(line, reader, error);
	rc = load_release_of(&reader->tree, line, line->word[1], &release, error);
	reader->release = release;
	return rc;
}

static int by_status(const void *a, const void *b)
{
	const struct row *left = a, *right = b;

	if (left->status != right->status)
		return left->status < right->status ? -1 : 1;
	return left->release < right->release ? -1 : left->release > right->release;
}

static int write_table(const char *path, const struct reader *reader, struct mpu_error *error)
{
	cleanup_file FILE *out = fopen(path, "we");

	if (!out)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	fprintf(out, "/* Made by nvabi-compile-statuses from nvabi/data. */\n"
		     "#include \"nvabi/status-tables.h\"\n\n"
		     "const struct nvabi_status_change nvabi_status_changes[] = {\n");
	for (uint32_t i = 0; i < reader->count; i++)
		fprintf(out, "\t{0x%" PRIx32 ", %" PRIu32 ", \"%s\"},\n", reader->row[i].status,
			reader->row[i].release, reader->row[i].name);
	fprintf(out, "};\nconst uint32_t nvabi_status_change_count = %" PRIu32 ";\n",
		reader->count);
	return fflush(out) || ferror(out) ? mpu_fail(error, EIO, "%s: cannot be written", path) : 0;
}

int main(int argc, char **argv)
{
	struct reader reader = {.release = -1};
	struct mpu_error error = {0};
	int rc;

	if (argc != 4) {
		fprintf(stderr, "usage: nvabi-compile-statuses RELEASES STATUSES OUT.c\n");
		return 2;
	}
	rc = load_tree(argv[1], &reader.tree, &error);
	if (!rc)
		rc = table_read(argv[2], read_line, &reader, &error);
	if (!rc) {
		if (reader.count)
			qsort(reader.row, reader.count, sizeof(*reader.row), by_status);
		rc = write_table(argv[3], &reader, &error);
	}
	free(reader.row);
	unload_tree(&reader.tree);
	if (rc)
		fprintf(stderr, "nvabi-compile-statuses: %s\n", error.text);
	return rc ? 1 : 0;
}
