/* nvabi-diff [--json] BASE NEXT: each a release that is stored, or a tree of the driver's source.
 */
#include "nvabi/abi-print.h"
#include "nvabi/tools/extract.h"
#include "nvabi/tools/load-abi.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct side {
	const char *name;
	bool is_tree;
	struct nvabi_version version;
	struct loaded_abi loaded; /* of a tree */
	struct nvabi_abi_tables tables;
	struct nvabi_abi *abi;
};

struct output {
	bool json;
	uint32_t count;
};

static int extract_to(const char *tree, const char *path, struct mpu_error *error)
{
	cleanup_file FILE *out = fopen(path, "we");
	int rc;

	if (!out)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	rc = extract_tree(tree, NULL, NVABI_DATA, out, error);
	if (!rc && fflush(out))
		rc = mpu_fail(error, EIO, "%s: cannot be written", path);
	return rc;
}

static int open_tree(struct side *side, struct mpu_error *error)
{
	char version[64], path[] = "/tmp/nvabi-diff-XXXXXX";
	cleanup_close int fd = -1;
	int rc = extract_version(side->name, version, sizeof(version), error);

	if (rc)
		return rc;
	if (nvabi_version_parse(version, &side->version))
		return mpu_fail(error, EINVAL, "%s: '%s' is not a version", side->name, version);
	fd = mkstemp(path);
	if (fd < 0)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	rc = extract_to(side->name, path, error);
	if (!rc)
		rc = load_abi_begin_one(&side->loaded, &side->version, error);
	if (!rc)
		rc = load_abi_file(&side->loaded, path, error);
	if (!rc)
		rc = load_abi_roles(&side->loaded, NVABI_DATA "/abi-roles", error);
	if (!rc)
		rc = load_abi_finish(&side->loaded, &side->tables, error);
	if (!rc && nvabi_abi_open_from(&side->tables, &side->version, &side->abi))
		rc = mpu_fail(error, EINVAL, "%s: nothing was extracted", side->name);
	unlink(path);
	return rc;
}

static int open_stored(struct side *side, struct mpu_error *error)
{
	enum nvabi_match match;
	int rc;

	if (nvabi_version_parse(side->name, &side->version))
		return mpu_fail(error, EINVAL, "'%s' is neither a folder nor a version",
				side->name);
	rc = nvabi_abi_open(&side->version, &side->abi);
	if (rc)
		return mpu_fail(error, -rc, "%s: nothing is known of its ABI", side->name);
	nvabi_abi_release(side->abi, &match);
	return match == NVABI_MATCH_EXACT
		   ? 0
		   : mpu_fail(error, ENOENT, "%s: is not a stored release", side->name);
}

static int open_side(struct side *side, const char *name, struct mpu_error *error)
{
	struct stat status;

	side->name = name;
	side->is_tree = !stat(name, &status) && S_ISDIR(status.st_mode);
	return side->is_tree ? open_tree(side, error) : open_stored(side, error);
}

static void close_side(struct side *side)
{
	nvabi_abi_close(side->abi);
	unload_abi(&side->loaded);
}

static int print(const struct nvabi_difference *difference, void *context)
{
	struct output *output = context;

	nvabi_print_difference(difference, output->json, stdout);
	output->count++;
	return 0;
}

struct functions {
	const struct side *base, *next;
	struct output *output;
};

/* One row of nvabi/data/pid-functions: file and function. */
static int compare_function(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct functions *functions = context;
	struct nvabi_difference difference = {.kind = "pid-function",
					      .touches = {[NVABI_ROLE_PID] = true}};
	uint64_t base, next;
	int rc;

	if (line->count != 2)
		return table_refuse(line, error, "wants: file function");
	rc = extract_function_hash(functions->base->name, line->word[0], line->word[1], &base,
				   error);
	if (!rc)
		rc = extract_function_hash(functions->next->name, line->word[0], line->word[1],
					   &next, error);
	if (!rc && !base && !next)
		fprintf(stderr, "nvabi-diff: note: %s is in neither tree's %s\n", line->word[1],
			line->word[0]);
	if (rc || base == next)
		return rc;
	difference.change = !base ? NVABI_ADDED : !next ? NVABI_REMOVED : NVABI_CHANGED;
	difference.name = line->word[1];
	difference.after = line->word[0];
	print(&difference, functions->output);
	fprintf(
	    stderr,
	    "nvabi-diff: warning: %s (%s) gives PIDs their meaning, and is not the same: read it, "
	    "and enter what it means in nvabi/data/pid-semantics\n",
	    line->word[1], line->word[0]);
	return 0;
}

static int compare(struct side *base, struct side *next, struct output *output,
		   struct mpu_error *error)
{
	struct functions functions = {base, next, output};

	if (nvabi_abi_diff(base->abi, next->abi, print, output))
		return mpu_fail(error, ENOMEM, "no memory");
	if (base->is_tree && next->is_tree)
		return table_read(NVABI_DATA "/pid-functions", compare_function, &functions, error);
	if (!base->is_tree && !next->is_tree)
		nvabi_semantics_diff(&base->version, &next->version, print, output);
	else
		fprintf(stderr, "nvabi-diff: note: the functions that give PIDs their meaning are "
				"compared between two trees only\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct output output = {.json = argc > 1 && !strcmp(argv[1], "--json")};
	struct side base = {0}, next = {0};
	struct mpu_error error = {0};
	int rc;

	if (argc != 3 + output.json) {
		fprintf(stderr,
			"usage: nvabi-diff [--json] BASE NEXT\n"
			"BASE and NEXT: a stored release (535.104.05), or a folder with the "
			"driver's source.\nStatus 0: they do not differ; 1: they do; 2: "
			"trouble.\n");
		return 2;
	}
	rc = open_side(&base, argv[argc - 2], &error);
	if (!rc)
		rc = open_side(&next, argv[argc - 1], &error);
	if (!rc)
		rc = compare(&base, &next, &output, &error);
	if (!rc && fflush(stdout))
		rc = mpu_fail(&error, EIO, "standard output cannot be written");
	if (rc)
		fprintf(stderr, "nvabi-diff: %s\n", error.text);
	close_side(&base);
	close_side(&next);
	return rc ? 2 : output.count > 0;
}
