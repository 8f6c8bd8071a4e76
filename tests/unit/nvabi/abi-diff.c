#include "nvabi/abi-print.h"
#include "nvabi/tools/load-abi.h"
#include "scratch.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char base_rows[] = "release 10\n"
				"escape NV_ESC_A 0x2a NV_A\n"
				"control NV_CTRL_PIDS 0x1 NV_PIDS\n"
				"control NV_CTRL_OLD 0x2 -\n"
				"class NV_CLASS 0x80 NV_A\n"
				"uvm UVM_A 0x1 NV_A\n"
				"struct NV_A fd:s32 flags:u32 params:pointer\n"
				"struct NV_PIDS count:u32 pid:u32[4]\n";
static const char roles[] = "NV_A fd fd - x.c\nNV_PIDS pid pid - x.c\nNV_PIDS count count - x.c\n";

struct side {
	struct loaded_abi loaded;
	struct nvabi_abi_tables tables;
	struct nvabi_abi *abi;
};

static void open_side(struct side *side, const struct scratch *scratch, const char *rows)
{
	const struct nvabi_version version = {10, 0, 0, 1};
	struct mpu_error error = {0};

	scratch_write(scratch, "releases", "10 - -\n");
	scratch_write(scratch, "abi/10", rows);
	scratch_write(scratch, "abi-roles", roles);
	scratch_write(scratch, "installers", "");
	side->loaded = (struct loaded_abi){0};
	cr_assert_eq(load_abi(scratch->path, &side->loaded, &side->tables, &error), 0, "%s",
		     error.text);
	cr_assert_eq(nvabi_abi_open_from(&side->tables, &version, &side->abi), 0);
}

static void close_side(struct side *side)
{
	nvabi_abi_close(side->abi);
	unload_abi(&side->loaded);
}

static int print(const struct nvabi_difference *difference, void *context)
{
	nvabi_print_difference(difference, false, context);
	return 0;
}

/* The rows with the first OLD replaced by NEW, or NEW added where OLD is NULL. */
static char *with(const char *old, const char *new)
{
	const char *at = old ? strstr(base_rows, old) : base_rows + strlen(base_rows);
	char *text;

	cr_assert_not_null(at, "%s", old);
	cr_assert_geq(asprintf(&text, "%.*s%s%s", (int)(at - base_rows), base_rows, new,
			       at + (old ? strlen(old) : 0)),
		      0);
	return text;
}

/* Plants one change and expects exactly these lines. */
static void expect_difference(const char *old, const char *new, const char *expected)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	cleanup_free char *rows = with(old, new);
	cleanup_free char *text = NULL;
	struct side base, next;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	open_side(&base, &scratch, base_rows);
	open_side(&next, &scratch, rows);
	cr_assert_eq(nvabi_abi_diff(base.abi, next.abi, print, out), 0);
	fclose(out);
	cr_assert_str_eq(text, expected);
	close_side(&base);
	close_side(&next);
}

Test(abi_diff, nothing_changed_is_no_difference)
{
	expect_difference("0x2a", "0x2a", "");
}

Test(abi_diff, an_added_field_is_found_and_what_it_moves)
{
	expect_difference("flags:u32", "flags:u32 more:u64",
			  "~ struct NV_A 16 bytes -> 24 bytes [fd] [pointer]\n"
			  "~ field NV_A.params pointer at 8 -> pointer at 16 [pointer]\n"
			  "+ field NV_A.more u64 at 8\n");
}

Test(abi_diff, a_removed_field_is_found)
{
	expect_difference(" flags:u32", "", "- field NV_A.flags u32 at 4\n");
}

Test(abi_diff, a_widened_field_is_found)
{
	expect_difference("count:u32", "count:u64",
			  "~ struct NV_PIDS 20 bytes -> 24 bytes [pid]\n"
			  "~ field NV_PIDS.count u32 at 0 -> u64 at 0\n"
			  "~ field NV_PIDS.pid u32[4] at 4 -> u32[4] at 8 [pid]\n");
}

Test(abi_diff, a_moved_pid_is_found_and_marked)
{
	expect_difference("count:u32 pid:u32[4]", "pid:u32[4] count:u32",
			  "~ field NV_PIDS.count u32 at 0 -> u32 at 16\n"
			  "~ field NV_PIDS.pid u32[4] at 4 -> u32[4] at 0 [pid]\n");
}

Test(abi_diff, an_array_of_another_length_is_found)
{
	expect_difference("pid:u32[4]", "pid:u32[8]",
			  "~ struct NV_PIDS 20 bytes -> 36 bytes [pid]\n"
			  "~ field NV_PIDS.pid u32[4] at 4 -> u32[8] at 4 [pid]\n");
}

Test(abi_diff, a_new_control_is_found)
{
	expect_difference(NULL, "control NV_CTRL_NEW 0x3 NV_PIDS\n",
			  "+ control NV_CTRL_NEW 0x3 NV_PIDS [pid]\n");
}

Test(abi_diff, a_removed_control_is_found)
{
	expect_difference("control NV_CTRL_OLD 0x2 -\n", "", "- control NV_CTRL_OLD 0x2 -\n");
}

Test(abi_diff, a_removed_class_is_found)
{
	expect_difference("class NV_CLASS 0x80 NV_A\n", "",
			  "- class NV_CLASS 0x80 NV_A [fd] [pointer]\n");
}

Test(abi_diff, a_new_number_is_found)
{
	expect_difference("control NV_CTRL_OLD 0x2 -", "control NV_CTRL_OLD 0x4 -",
			  "~ control NV_CTRL_OLD 0x2 - -> 0x4 -\n");
}

Test(abi_diff, other_parameters_are_found)
{
	expect_difference("uvm UVM_A 0x1 NV_A", "uvm UVM_A 0x1 NV_PIDS",
			  "~ uvm UVM_A 0x1 NV_A -> 0x1 NV_PIDS [pid] [fd] [pointer]\n");
}

Test(abi_diff, a_new_structure_is_found)
{
	expect_difference(NULL, "control NV_CTRL_NEW 0x3 NV_NEW\nstruct NV_NEW a:NV_PIDS\n",
			  "+ control NV_CTRL_NEW 0x3 NV_NEW [pid]\n"
			  "+ struct NV_NEW 20 bytes [pid]\n");
}

static struct nvabi_version parsed(const char *text)
{
	struct nvabi_version version;

	cr_assert_eq(nvabi_version_parse(text, &version), 0);
	return version;
}

static void expect_semantics(const char *base, const char *next, const char *expected)
{
	struct nvabi_version before = parsed(base), after = parsed(next);
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	cr_assert_eq(nvabi_semantics_diff(&before, &after, print, out), 0);
	fclose(out);
	cr_assert_str_eq(text, expected);
}

Test(abi_diff, a_new_meaning_of_pids_is_found)
{
	expect_semantics("580.142", "590.44.01", "");
	expect_semantics("535.104.05", "535.113.01",
			 "~ pids get_pids global -> caller_ns [pid]\n"
			 "~ pids kind tgid -> tid [pid]\n");
	expect_semantics("570.133.07", "570.133.20",
			 "~ pids accounting caller_ns -> mixed [pid]\n");
}

static int stop(const struct nvabi_difference *difference, void *context)
{
	(void)difference;
	++*(int *)context;
	return 7;
}

Test(abi_diff, the_callers_word_ends_the_comparison)
{
	struct nvabi_version before = parsed("515.43.04"), after = parsed("595.45.04");
	struct nvabi_abi *base, *next;
	int count = 0;

	cr_assert_eq(nvabi_abi_open(&before, &base), 0);
	cr_assert_eq(nvabi_abi_open(&after, &next), 0);
	cr_assert_eq(nvabi_abi_diff(base, next, stop, &count), 7);
	cr_assert_eq(count, 1);
	nvabi_abi_close(base);
	nvabi_abi_close(next);
}
