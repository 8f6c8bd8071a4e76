#include "nvabi/tools/load.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

struct tree_reader {
	const char *path;
	struct loaded_release *release;
	uint32_t count;
};

static bool is_date(const char *text)
{
	return strlen(text) == 10 && strspn(text, "0123456789-") == 10 && text[4] == '-' &&
	       text[7] == '-';
}

static int read_release(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct tree_reader *reader = context;
	struct loaded_release *release;
	struct nvabi_version version;

	if (line->count < 3 || line->count > 4)
		return table_refuse(line, error, "wants: version parent date [side|partial]");
	if (nvabi_version_parse(line->word[0], &version))
		return table_refuse(line, error, "'%s' is not a version", line->word[0]);
	if (strlen(line->word[1]) >= sizeof(release->parent))
		return table_refuse(line, error, "'%s' is not a version", line->word[1]);
	if (strcmp(line->word[2], "-") && !is_date(line->word[2]))
		return table_refuse(line, error, "'%s' is not a date", line->word[2]);
	if (line->count == 4 && strcmp(line->word[3], "side") && strcmp(line->word[3], "partial"))
		return table_refuse(line, error, "'%s' is neither 'side' nor 'partial'",
				    line->word[3]);
	if (reader->count && reader->release[reader->count - 1].row.partial &&
	    (line->count < 4 || strcmp(line->word[3], "partial")))
		return table_refuse(line, error, "partial releases come last");
	for (uint32_t i = 0; i < reader->count; i++)
		if (!nvabi_version_compare(&reader->release[i].row.version, &version))
			return table_refuse(line, error, "%s is listed twice, first in line %u",
					    line->word[0], reader->release[i].line);

	release = table_append(&reader->release, &reader->count, sizeof(*release));
	if (!release)
		return mpu_fail(error, ENOMEM, "%s: no memory", line->file);
	release->row.version = version;
	release->row.side = line->count == 4 && !strcmp(line->word[3], "side");
	release->row.partial = line->count == 4 && !release->row.side;
	release->line = line->number;
	strcpy(release->parent, line->word[1]);
	return 0;
}

static int refuse_release(const struct tree_reader *reader, uint32_t index, struct mpu_error *error,
			  const char *why)
{
	const struct table_line line = {.file = reader->path,
					.number = reader->release[index].line};
	char text[NVABI_VERSION_TEXT];

	return table_refuse(&line, error, "%s %s",
			    nvabi_version_format(&reader->release[index].row.version, text), why);
}

static int find_version(const struct nvabi_release *release, uint32_t count, const char *text)
{
	struct nvabi_version version;

	if (nvabi_version_parse(text, &version))
		return -1;
	for (uint32_t i = 0; i < count; i++)
		if (!nvabi_version_compare(&release[i].version, &version))
			return (int)i;
	return -1;
}

static int link_parents(const struct tree_reader *reader, struct nvabi_release *release,
			struct mpu_error *error)
{
	int root = -1;

	for (uint32_t i = 0; i < reader->count; i++) {
		if (strcmp(reader->release[i].parent, "-")) {
			int parent =
			    find_version(release, reader->count, reader->release[i].parent);

			if (parent < 0)
				return refuse_release(reader, i, error,
						      "is an orphan: its parent is not listed");
			release[i].parent = (int16_t)parent;
			continue;
		}
		if (root >= 0)
			return refuse_release(reader, i, error, "is a second root");
		root = (int)i;
		release[i].parent = -1;
	}
	return 0;
}

static int refuse_cycles(const struct tree_reader *reader, const struct nvabi_release *release,
			 struct mpu_error *error)
{
	for (uint32_t i = 0; i < reader->count; i++) {
		uint32_t steps = 0;

		for (int at = (int)i; at >= 0; at = release[at].parent)
			if (++steps > reader->count)
				return refuse_release(reader, i, error,
						      "does not lead to the root: a cycle");
	}
	return 0;
}

/* Only the release that leaves the main line is marked; what grew from it under the same minor
 * number is on its branch. */
static void spread_side(struct nvabi_release *release, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct nvabi_version *own = &release[i].version;
		int at = (int)i;

		while (at >= 0 && !release[at].side && release[at].version.major == own->major &&
		       release[at].version.minor == own->minor)
			at = release[at].parent;
		if (at >= 0 && release[at].side && release[at].version.major == own->major &&
		    release[at].version.minor == own->minor)
			release[i].side = true;
	}
}

int load_tree(const char *path, struct loaded_tree *tree, struct mpu_error *error)
{
	struct tree_reader reader = {.path = path};
	cleanup_free struct nvabi_release *release = NULL;
	int rc = table_read(path, read_release, &reader, error);
	cleanup_free struct loaded_release *rows = reader.release;

	if (rc)
		return rc;
	if (!reader.count)
		return mpu_fail(error, EINVAL, "%s: no release is listed", path);
	if (reader.count > INT16_MAX)
		return mpu_fail(error, EINVAL, "%s: too many releases", path);
	release = calloc(reader.count, sizeof(*release));
	if (!release)
		return mpu_fail(error, ENOMEM, "%s: no memory", path);
	for (uint32_t i = 0; i < reader.count; i++)
		release[i] = rows[i].row;
	rc = link_parents(&reader, release, error);
	if (!rc)
		rc = refuse_cycles(&reader, release, error);
	if (rc)
		return rc;
	spread_side(release, reader.count);
	tree->count = reader.count;
	tree->release = steal_ptr(release);
	return 0;
}

void drop_partial(struct loaded_tree *tree)
{
	while (tree->count && tree->release[tree->count - 1].partial)
		tree->count--;
}

void unload_tree(struct loaded_tree *tree)
{
	free(tree->release);
	*tree = (struct loaded_tree){0};
}

int load_release_of(const struct loaded_tree *tree, const struct table_line *line, const char *text,
		    uint32_t *release, struct mpu_error *error)
{
	int found = find_version(tree->release, tree->count, text);

	if (found < 0)
		return table_refuse(line, error, "'%s' is not a release of the tree", text);
	*release = (uint32_t)found;
	return 0;
}
