#include "base/cleanup.h"
#include "csv.h"
#include "nvabi/abi-rows.h"
#include "nvabi/tools/facts.h"
#include "nvabi/tools/load-abi.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char tree[] = "10 - -\n11.01 10 2020-01-01\n12.01 11.01 2020-02-01\n";
static const char rows[] = "release 11.01\n"
			   "control NV_CMD 0x1 NV_PARAMS\n"
			   "struct NV_PARAMS count:u32 entry:NV_ENTRY[4]\n"
			   "struct NV_ENTRY pid:u32 data:u64\n";
static const char roles[] = "NV_ENTRY pid pid - somewhere.c\n";

static int load_texts(const struct scratch *scratch, const char *tree_text, const char *rows_text,
		      const char *roles_text, struct loaded_abi *abi,
		      struct nvabi_abi_tables *tables, struct mpu_error *error)
{
	int rc;

	scratch_write(scratch, "releases", tree_text);
	scratch_write(scratch, "abi/11", rows_text);
	scratch_write(scratch, "abi-roles", roles_text);
	scratch_write(scratch, "installers", "");
	*abi = (struct loaded_abi){0};
	rc = load_abi(scratch->path, abi, tables, error);
	return rc;
}

Test(abi_tables, good_rows_are_taken)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	const struct nvabi_version version = {12, 1, 0, 2};
	struct nvabi_abi_tables tables;
	struct mpu_error error = {0};
	struct loaded_abi loaded;
	struct nvabi_abi *abi;
	struct nvabi_call call;

	cr_assert_eq(load_texts(&scratch, tree, rows, roles, &loaded, &tables, &error), 0, "%s",
		     error.text);
	cr_assert_eq(nvabi_abi_open_from(&tables, &version, &abi), 0);
	cr_assert(nvabi_abi_by_name(abi, "NV_CMD", &call));
	cr_assert_eq(call.size, 72);
	cr_assert_eq(call.align, 8);
	nvabi_abi_close(abi);
	unload_abi(&loaded);
}

/* FILE is where the refusal must point to, LINE the line in it. */
static void expect_refused(const char *rows_text, const char *roles_text, const char *file,
			   unsigned int line, const char *words)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct nvabi_abi_tables tables;
	struct mpu_error error = {0};
	struct loaded_abi loaded;
	char place[256];

	snprintf(place, sizeof(place), "%s:%u: ", scratch_path(&scratch, file), line);
	cr_assert_eq(load_texts(&scratch, tree, rows_text, roles_text, &loaded, &tables, &error),
		     -EINVAL, "'%s' is taken", rows_text);
	cr_assert_eq(strncmp(error.text, place, strlen(place)), 0, "'%s' is not in %s", error.text,
		     place);
	cr_assert_not_null(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
}

static void expect_row_refused(const char *row, const char *words)
{
	cleanup_free char *text = NULL;

	cr_assert_geq(asprintf(&text, "%s%s\n", rows, row), 0);
	expect_refused(text, roles, "abi/11", 5, words);
}

Test(abi_tables, bad_rows_are_refused_with_file_and_line)
{
	expect_row_refused("release 13.01", "not a release");
	expect_row_refused("release", "wants");
	expect_row_refused("release 11.01", "a second section");
	expect_row_refused("controls NV_X 0x1 -", "begins no row");
	expect_row_refused("control", "wants");
	expect_row_refused("control NV_X 0x1", "wants");
	expect_row_refused("control NV_X one -", "not a number");
	expect_row_refused("control NV_X 0x100000000 -", "not a number");
	expect_row_refused("control NV_X 0x1 - named", "wants");
	expect_row_refused("control NV_CMD 0x2 -", "a second row for NV_CMD");
	expect_row_refused("union NV_ENTRY pid:u32", "a second row for NV_ENTRY");
	expect_row_refused("control NV_X gone", "changes nothing");
	expect_row_refused("struct NV_X pid", "not FIELD:TYPE");
	expect_row_refused("struct NV_X :u32", "not FIELD:TYPE");
	expect_row_refused("struct NV_X pid:", "no good type");
	expect_row_refused("struct NV_X pid:-", "no good type");
	expect_row_refused("struct NV_X pid:u32[", "no good type");
	expect_row_refused("struct NV_X pid:u32[x]", "no good type");
	expect_row_refused("struct NV_X pid:u32[1][2][3][4][5]", "no good type");
	expect_row_refused("struct NV_X pid:u32@x", "no good type");
	expect_row_refused("struct NV_X pid:u32 align=0", "not a number");
}

Test(abi_tables, rows_that_change_nothing_are_refused)
{
	static const char same[] = "release 11.01\nstruct NV_A a:u32\nrelease 12.01\n"
				   "struct NV_A a:u32\n";
	static const char gone[] = "release 11.01\nstruct NV_A a:u32\nstruct NV_A gone\n";

	expect_refused(same, "", "abi/11", 4, "changes nothing");
	expect_refused(gone, "", "abi/11", 3, "a second row");
	expect_refused("struct NV_A a:u32\n", "", "abi/11", 1, "before the first 'release'");
}

Test(abi_tables, structures_that_hold_themselves_or_are_missing_are_refused)
{
	static const char itself[] = "release 11.01\nstruct NV_A a:NV_A\n";
	static const char cycle[] = "release 11.01\nstruct NV_A b:NV_B\nstruct NV_B a:NV_A\n";
	static const char missing[] = "release 11.01\nstruct NV_A b:NV_B\n";
	static const char missing_params[] = "release 11.01\ncontrol NV_CMD 0x1 NV_PARAMS\n";
	static const char gone[] =
	    "release 11.01\ncontrol NV_CMD 0x1 NV_A\nstruct NV_A b:NV_B\nstruct NV_B a:u32\n"
	    "release 12.01\nstruct NV_B gone\n";
	static const char unreached[] = "release 11.01\nstruct NV_A a:u32\n";

	expect_refused(itself, "", "abi/11", 2, "holds itself");
	expect_refused(cycle, "", "abi/11", 3, "holds itself");
	expect_refused(missing, "", "abi/11", 2, "wants the structure NV_B");
	expect_refused(missing_params, "", "abi/11", 2, "wants the structure NV_PARAMS");
	expect_refused(gone, "", "abi/11", 3, "in 12.01, NV_A wants the structure NV_B");
	expect_refused(unreached, "", "abi/11", 2,
		       "in 11.01, NV_A is in the parameters of no call");
}

Test(abi_tables, bad_roles_are_refused_with_file_and_line)
{
	expect_refused(rows, "NV_ENTRY pid pid -\n", "abi-roles", 1, "wants");
	expect_refused(rows, "NV_ENTRY pid person - x.c\n", "abi-roles", 1, "no role");
	expect_refused(rows, "NV_ENTRY tid pid - x.c\n", "abi-roles", 1, "no release has");
	expect_refused(rows, "NV_NOTHING pid pid - x.c\n", "abi-roles", 1, "no release has");
	expect_refused(rows, "NV_ENTRY pid pid - x.c\nNV_ENTRY pid fd - x.c\n", "abi-roles", 2,
		       "a second row");
}

static void expect_installers_refused(const char *text, unsigned int line, const char *words)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct nvabi_abi_tables tables;
	struct mpu_error error = {0};
	struct loaded_abi loaded = {0};
	char place[256];

	scratch_write(&scratch, "releases", tree);
	scratch_write(&scratch, "abi/11", rows);
	scratch_write(&scratch, "abi-roles", roles);
	scratch_write(&scratch, "installers", text);
	snprintf(place, sizeof(place), "%s:%u: ", scratch_path(&scratch, "installers"), line);
	cr_assert_eq(load_abi(scratch.path, &loaded, &tables, &error), -EINVAL);
	cr_assert_eq(strncmp(error.text, place, strlen(place)), 0, "%s", error.text);
	cr_assert_not_null(strstr(error.text, words), "%s", error.text);
}

Test(abi_tables, bad_installers_are_refused_with_file_and_line)
{
#define SUM "c7bb0a0569c5347845479ed4e3e4d885c6ee3b8adf068c3401cdf754d5ba3d3b"
	expect_installers_refused("11.01 x86_64\n", 1, "wants");
	expect_installers_refused("v11 x86_64 " SUM "\n", 1, "not a version");
	expect_installers_refused("11.01 sparc " SUM "\n", 1, "no architecture");
	expect_installers_refused("11.01 x86_64 abc\n", 1, "no SHA-256");
	expect_installers_refused("11.01 x86_64 " SUM "\n12.01 x86_64 " SUM "\n", 2, "second row");
#undef SUM
}

/* One of the real tables with one of its lines left out, and the others as links. */
static void make_data(const struct scratch *scratch, const char *changed, const char *text)
{
	static const char *const names[] = {"releases", "abi-roles", "installers"};
	char command[1024];

	snprintf(command, sizeof(command), "cp -r %s/abi %s/", NVABI_DATA, scratch->path);
	cr_assert_eq(system(command), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(command, sizeof(command), "%s/%s", NVABI_DATA, names[i]);
		cleanup_free char *own = slurp(command);
		scratch_write(scratch, names[i], own);
	}
	scratch_write(scratch, changed, text);
}

static bool facts_hold(const struct nvabi_abi_tables *tables, const struct csv *facts,
		       const char *version)
{
	struct nvabi_version parsed;
	struct nvabi_abi *abi;
	char hash[17];

	nvabi_version_parse(version, &parsed);
	for (unsigned int i = 0; i < facts->rows; i++) {
		if (strcmp(facts->cell[i][0], version))
			continue;
		if (nvabi_abi_open_from(tables, &parsed, &abi))
			return false;
		cleanup_file FILE *out = tmpfile();
		nvabi_abi_write_rows(abi, out);
		nvabi_abi_close(abi);
		snprintf(hash, sizeof(hash), "%016" PRIx64, fact_hash(out));
		return !strcmp(hash, facts->cell[i][5]);
	}
	cr_assert_fail("abi-facts.csv has no %s", version);
	return false;
}

/* Without the row, the tables must be refused, or the release in whose section it stands must no
 * longer be what was extracted from it; without the head of a section, the release before it. */
static void expect_row_counts(const struct csv *facts, const char *file, const char *text,
			      const char *line, size_t length, const char *section,
			      const char *before)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	cleanup_free char *without = strdup(text);
	struct nvabi_abi_tables tables;
	struct mpu_error error = {0};
	struct loaded_abi loaded = {0};

	memset(without + (line - text), ' ', length);
	make_data(&scratch, file, without);
	if (load_abi(scratch.path, &loaded, &tables, &error))
		return;
	cr_assert(!facts_hold(&tables, facts, section) ||
		      (*before && !facts_hold(&tables, facts, before)),
		  "%s: %.*s", file, (int)length, line);
	unload_abi(&loaded);
}

/* Every STEP-th row of each file. All of them: NVABI_EVERY_ROW=1, about 15 minutes. */
Test(abi_tables, no_row_of_the_abi_can_be_left_out, .timeout = 3600)
{
	static const unsigned int majors[] = {515, 520, 525, 530, 535, 545, 550, 555,
					      560, 565, 570, 575, 580, 590, 595};
	unsigned int step = getenv("NVABI_EVERY_ROW") ? 1 : 211, row = 0, tried = 0;
	struct csv facts = read_csv("abi-facts.csv");
	cleanup_free void *owned = facts.cell;

	for (size_t i = 0; i < sizeof(majors) / sizeof(*majors); i++) {
		char file[32], path[512], section[NVABI_VERSION_TEXT] = "";
		char before[NVABI_VERSION_TEXT] = "";

		snprintf(file, sizeof(file), "abi/%u", majors[i]);
		snprintf(path, sizeof(path), "%s/%s", NVABI_DATA, file);
		cleanup_free char *text = slurp(path);
		for (char *line = text; *line;) {
			size_t length = strcspn(line, "\n");

			if (!strncmp(line, "release ", 8)) {
				strcpy(before, section);
				sscanf(line, "release %23s", section);
			}
			if (length && *line != '#' && !(row++ % step)) {
				expect_row_counts(&facts, file, text, line, length, section,
						  before);
				tried++;
			}
			line += length + (line[length] == '\n');
		}
	}
	cr_assert_gt(tried, 25);
}

/* tests/data/extraction.csv: the rows of the tables that only nvabi-extract and nvabi-diff read,
 * which no test without the driver's source could miss otherwise. */
Test(abi_tables, tables_for_the_extraction_are_whole)
{
	struct csv expected = read_csv("extraction.csv");
	cleanup_free void *owned = expected.cell;
	unsigned int found = 0;

	for (unsigned int i = 0; i < expected.rows; i++) {
		char path[512], row[512];

		snprintf(path, sizeof(path), "%s/%s", NVABI_DATA, expected.cell[i][0]);
		cleanup_free char *text = slurp(path);
		for (char *line = text; *line;) {
			size_t length = strcspn(line, "\n");
			char word[3][128] = {""};

			snprintf(row, sizeof(row), "%.*s", (int)length, line);
			sscanf(row, "%127s %127s %127s", word[0], word[1], word[2]);
			if (!strcmp(word[0], expected.cell[i][1]) &&
			    !strcmp(word[1], expected.cell[i][2]) &&
			    (!*expected.cell[i][3] || !strcmp(word[2], expected.cell[i][3]))) {
				found++;
				break;
			}
			line += length + (line[length] == '\n');
		}
		cr_assert_eq(found, i + 1, "%s has no row %s %s", expected.cell[i][0],
			     expected.cell[i][1], expected.cell[i][2]);
	}
	cr_assert_gt(expected.rows, 100);
}

/* The rows that are in no header of a public release: of those that are partial, all. */
Test(abi_tables, unnamed_controls_and_partial_releases)
{
	struct csv expected = read_csv("abi-unproven.csv");
	cleanup_free void *owned = expected.cell;

	for (unsigned int i = 0; i < expected.rows; i++) {
		char(*cell)[CSV_TEXT] = expected.cell[i];
		struct nvabi_version version;
		struct nvabi_abi *abi;
		struct nvabi_call call;
		bool found;

		nvabi_version_parse(cell[0], &version);
		cr_assert_eq(nvabi_abi_open(&version, &abi), 0, "%s", cell[0]);
		found = nvabi_abi_by_name(abi, cell[1], &call);
		if (!strcmp(cell[2], "gone")) {
			cr_assert_not(found, "%s: %s", cell[0], cell[1]);
		} else {
			cr_assert(found, "%s: %s", cell[0], cell[1]);
			cr_assert_eq(call.number, strtoul(cell[2], NULL, 0), "%s", cell[1]);
			cr_assert_str_eq(call.structure ? call.structure : "-", cell[3], "%s: %s",
					 cell[0], cell[1]);
			cr_assert_eq(call.size, strtoul(cell[4], NULL, 0), "%s: %s", cell[0],
				     cell[1]);
		}
		nvabi_abi_close(abi);
	}
	cr_assert_gt(expected.rows, 30);
}
