#include "base/cleanup.h"
#include "nvabi/tools/load.h"
#include "reference.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RELEASES, SEMANTICS, CONTROLS, TABLES };

static const char *const names[TABLES] = {"releases", "pid-semantics", "pid-controls"};

/* A file that is removed at the end of its scope. */
struct scratch {
	char path[64];
};

static void remove_scratch(const struct scratch *scratch)
{
	unlink(scratch->path);
}
#define cleanup_scratch __attribute__((cleanup(remove_scratch)))

static struct scratch written(const char *text, size_t length)
{
	struct scratch scratch = {"/tmp/nvabi-table-XXXXXX"};
	cleanup_close int fd = mkstemp(scratch.path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, length), (ssize_t)length);
	return scratch;
}

static char *data_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", NVABI_DATA, name);
	return path;
}

static char *slurp(const char *path)
{
	cleanup_file FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	cr_assert_not_null(file, "%s", path);
	cr_assert_geq(getdelim(&text, &room, '\0', file), 0);
	return text;
}

static int load(const char *const path[TABLES], struct loaded_pids *pids, struct mpu_error *error)
{
	return load_pids(path[RELEASES], path[SEMANTICS], path[CONTROLS], pids, error);
}

static unsigned int all_differences(const struct loaded_pids *loaded, char *why, size_t size)
{
	struct nvabi_pid_tables tables = loaded_pid_tables(loaded);

	return reference_tree(&tables, why, size) ?: reference_semantics(&tables, why, size)
	       ?: reference_layouts(&tables, why, size) ?: reference_closed(&tables, why, size)
	       ?: reference_raw(&tables, why, size) ?: reference_unlisted(&tables, why, size);
}

/* Leaves out one line of one table, all other lines staying as they are. */
static void expect_line_counts(const char *const path[TABLES], int table, const char *text,
			       const char *line, size_t length)
{
	cleanup_free char *without = strdup(text);
	const char *changed[TABLES] = {path[RELEASES], path[SEMANTICS], path[CONTROLS]};
	struct mpu_error error = {0};
	struct loaded_pids loaded;
	char why[256];

	memset(without + (line - text), ' ', length);
	cleanup_scratch struct scratch scratch = written(without, strlen(without));
	changed[table] = scratch.path;
	if (load(changed, &loaded, &error))
		return;
	cr_assert_gt(all_differences(&loaded, why, sizeof(why)), 0,
		     "%s: without this row all tests pass: %.*s", names[table], (int)length, line);
	unload_pids(&loaded);
}

static void expect_every_line_counts(int table)
{
	char paths[TABLES][512];
	const char *const path[TABLES] = {
	    data_path(paths[RELEASES], sizeof(paths[0]), names[RELEASES]),
	    data_path(paths[SEMANTICS], sizeof(paths[0]), names[SEMANTICS]),
	    data_path(paths[CONTROLS], sizeof(paths[0]), names[CONTROLS]),
	};
	cleanup_free char *text = slurp(path[table]);
	unsigned int rows = 0;

	for (const char *line = text; *line;) {
		size_t length = strcspn(line, "\n");

		/* Partial releases have no part in these tables; see abi-tables.c. */
		bool partial = memmem(line, length, " partial", 8);

		if (length && *line != '#' && !partial) {
			expect_line_counts(path, table, text, line, length);
			rows++;
		}
		line += length + (line[length] == '\n');
	}
	cr_assert_gt(rows, 5);
}

Test(tables, no_release_can_be_left_out)
{
	expect_every_line_counts(RELEASES);
}

Test(tables, no_change_of_semantics_can_be_left_out)
{
	expect_every_line_counts(SEMANTICS);
}

Test(tables, no_change_of_a_control_can_be_left_out)
{
	expect_every_line_counts(CONTROLS);
}

/* Loads three small tables and expects them to be refused with the given words. */
static void expect_refused(const char *const text[TABLES], int table, unsigned int line,
			   const char *words)
{
	cleanup_scratch struct scratch releases = written(text[0], strlen(text[0]));
	cleanup_scratch struct scratch semantics = written(text[1], strlen(text[1]));
	cleanup_scratch struct scratch controls = written(text[2], strlen(text[2]));
	const char *const path[TABLES] = {releases.path, semantics.path, controls.path};
	struct mpu_error error = {0};
	struct loaded_pids loaded;
	char place[96];

	snprintf(place, sizeof(place), "%s:%u: ", path[table], line);
	cr_assert_eq(load(path, &loaded, &error), -EINVAL, "'%s' is taken", words);
	cr_assert_eq(strncmp(error.text, place, strlen(place)), 0, "'%s' is not in %s", error.text,
		     place);
	cr_assert_not_null(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
}

static const char good_tree[] = "10 - -\n11.01 10 2020-01-01\n12.01 11.01 2020-02-01\n";
static const char good_semantics[] = "10 get_pids=global\n";
static const char good_controls[] = "10 0x1 NAME call=GET_PIDS size=16 pid=4\n";

static void expect_tree_refused(const char *tree, unsigned int line, const char *words)
{
	expect_refused((const char *[]){tree, good_semantics, good_controls}, RELEASES, line,
		       words);
}

static void expect_semantics_refused(const char *semantics, unsigned int line, const char *words)
{
	expect_refused((const char *[]){good_tree, semantics, good_controls}, SEMANTICS, line,
		       words);
}

static void expect_control_refused(const char *control, const char *words)
{
	cleanup_free char *text = NULL;

	cr_assert_geq(asprintf(&text, "%s%s\n", good_controls, control), 0);
	expect_refused((const char *[]){good_tree, good_semantics, text}, CONTROLS, 2, words);
}

Test(tables, good_small_tables_are_taken)
{
	cleanup_scratch struct scratch releases = written(good_tree, strlen(good_tree));
	cleanup_scratch struct scratch semantics = written(good_semantics, strlen(good_semantics));
	cleanup_scratch struct scratch controls = written(good_controls, strlen(good_controls));
	const char *const path[TABLES] = {releases.path, semantics.path, controls.path};
	struct mpu_error error = {0};
	struct loaded_pids loaded;

	cr_assert_eq(load(path, &loaded, &error), 0, "%s", error.text);
	cr_assert_eq(loaded.tree.count, 3);
	cr_assert_eq(loaded.control_count, 1);
	unload_pids(&loaded);
}

Test(tables, a_bad_tree_is_refused_with_file_and_line)
{
	expect_tree_refused("10 - -\n11 12 -\n12 11 -\n", 2, "a cycle");
	expect_tree_refused("10 - -\n11 11 -\n", 2, "a cycle");
	expect_tree_refused("10 - -\n11 9 -\n", 2, "orphan");
	expect_tree_refused("10 - -\n11 x -\n", 2, "orphan");
	expect_tree_refused("10 - -\n11 10 -\n11 10 -\n", 3, "listed twice, first in line 2");
	expect_tree_refused("10 - -\n11 - -\n", 2, "second root");
	expect_tree_refused("# heading\n10 - - side more\n", 2, "wants");
	expect_tree_refused("10 -\n", 1, "wants");
	expect_tree_refused("ten - -\n", 1, "not a version");
	expect_tree_refused("10 - yesterday\n", 1, "not a date");
	expect_tree_refused("10 - - beside\n", 1, "neither 'side' nor 'partial'");
	expect_tree_refused("10 - - partial\n11 10 -\n", 2, "partial releases come last");
}

Test(tables, bad_semantics_are_refused_with_file_and_line)
{
	expect_semantics_refused("10 get_pids=global\n13 get_pids=mixed\n", 2, "not a release");
	expect_semantics_refused("10\n", 1, "wants");
	expect_semantics_refused("10 get_pids\n", 1, "not KEY=VALUE");
	expect_semantics_refused("10 get_pids=\n", 1, "not KEY=VALUE");
	expect_semantics_refused("10 get_pids=local\n", 1, "no value");
	expect_semantics_refused("10 put_pids=global\n", 1, "no field");
	expect_semantics_refused("10 kind=tid kind=tid\n", 1, "given twice");
	expect_semantics_refused("10 kind=tid\n10 kind=tgid\n", 2, "second row");
}

Test(tables, bad_controls_are_refused_with_file_and_line)
{
	expect_control_refused("13 0x2 OTHER call=GET_PIDS size=8", "not a release");
	expect_control_refused("11.01 0x1 NAME", "wants");
	expect_control_refused("11.01 one NAME size=8", "not a number");
	expect_control_refused("11.01 0x100000000 NAME size=8", "not a number");
	expect_control_refused("11.01 0x1 OTHER size=8", "is NAME, not OTHER");
	expect_control_refused("10 0x1 NAME size=8", "second row");
	expect_control_refused("11.01 0x2 OTHER size=8", "begins with call=");
	expect_control_refused("11.01 0x1 NAME call=NOTHING", "no call");
	expect_control_refused("11.01 0x1 NAME size", "not KEY=VALUE");
	expect_control_refused("11.01 0x1 NAME size=big", "not a number");
	expect_control_refused("11.01 0x1 NAME size=0", "wants assumed=");
	expect_control_refused("11.01 0x1 NAME pid=65535", "not an offset");
	expect_control_refused("11.01 0x1 NAME pid=-1", "not an offset");
	expect_control_refused("11.01 0x1 NAME pid=4", "changes nothing");
	expect_control_refused("11.01 0x1 NAME colour=4", "no key");
	expect_control_refused("11.01 0x1 NAME fb=1,2,3", "four offsets");
	expect_control_refused("11.01 0x1 NAME fb=1,2,3,4,5", "four offsets");
	expect_control_refused("11.01 0x1 NAME gr=1,2,3,4", "without 'fb'");
}

Test(tables, a_control_can_go)
{
	static const char controls[] = "10 0x1 NAME call=GET_PIDS size=16 pid=4\n"
				       "11.01 0x1 NAME gone\n";
	cleanup_scratch struct scratch releases = written(good_tree, strlen(good_tree));
	cleanup_scratch struct scratch semantics = written(good_semantics, strlen(good_semantics));
	cleanup_scratch struct scratch changed = written(controls, strlen(controls));
	const char *const path[TABLES] = {releases.path, semantics.path, changed.path};
	const struct nvabi_version before = {10, 0, 0, 1}, after = {12, 1, 0, 2};
	struct mpu_error error = {0};
	struct nvabi_pid_tables tables;
	struct loaded_pids loaded;
	struct nvabi_pids pids;

	cr_assert_eq(load(path, &loaded, &error), 0, "%s", error.text);
	tables = loaded_pid_tables(&loaded);
	cr_assert_eq(nvabi_pids_compose_from(&tables, &before, &pids), 0);
	cr_assert_eq(pids.control_count, 1);
	cr_assert_eq(nvabi_pids_compose_from(&tables, &after, &pids), 0);
	cr_assert_eq(pids.control_count, 0);
	unload_pids(&loaded);
}

Test(tables, files_that_cannot_be_read_are_named)
{
	const char *const path[TABLES] = {"/nonexistent/releases", "/dev/null", "/dev/null"};
	const char *const empty[TABLES] = {"/dev/null", "/dev/null", "/dev/null"};
	struct mpu_error error = {0}, other = {0};
	struct loaded_pids loaded;

	cr_assert_eq(load(path, &loaded, &error), -ENOENT);
	cr_assert_not_null(strstr(error.text, "/nonexistent/releases"));
	cr_assert_eq(load(empty, &loaded, &other), -EINVAL);
	cr_assert_not_null(strstr(other.text, "no release"));
}

Test(tables, bytes_that_are_no_text_are_refused)
{
	static const char bytes[] = "10 -\0 -\n";
	cleanup_scratch struct scratch releases = written(bytes, sizeof(bytes) - 1);
	const char *const path[TABLES] = {releases.path, "/dev/null", "/dev/null"};
	struct mpu_error error = {0};
	struct loaded_pids loaded;

	cr_assert_eq(load(path, &loaded, &error), -EINVAL);
	cr_assert_not_null(strstr(error.text, "NUL"));
}
