#include "nvabi/allow.h"
#include "base/cleanup.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char release[] = "580.95.05";
static const char *const releases[] = {"515.43.04", "550.54.14", "580.95.05", "595.45.04"};

static int read_text(const struct scratch *scratch, const char *text, struct nvabi_allow **allow,
		     struct mpu_error *error)
{
	scratch_write(scratch, "allow", text);
	cr_assert_eq(chmod(scratch_path(scratch, "allow"), 0644), 0);
	return nvabi_allow_read(scratch_path(scratch, "allow"), allow, error);
}

static struct nvabi_policy *opened(const char *version, const struct nvabi_allow *allow)
{
	struct nvabi_version parsed;
	struct nvabi_policy *policy;

	cr_assert_eq(nvabi_version_parse(version, &parsed), 0);
	cr_assert_eq(nvabi_policy_open_with(&parsed, allow, &policy), 0);
	return policy;
}

/* mpu's rules of VERSION with those of TEXT; ALLOW is to be freed after it. */
static struct nvabi_policy *with(const char *text, const char *version, struct nvabi_allow **allow)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0};

	cr_assert_eq(read_text(&scratch, text, allow, &error), 0, "%s", error.text);
	return opened(version, *allow);
}

static bool is_same_call(const struct nvabi_rule *a, const struct nvabi_rule *b)
{
	if (a->way != b->way || a->size != b->size || a->status != b->status ||
	    a->short_size != b->short_size || a->pattern != b->pattern ||
	    a->pointer_count != b->pointer_count || a->descriptor_count != b->descriptor_count ||
	    strcmp(a->name, b->name) || strcmp(a->reason, b->reason))
		return false;
	for (uint32_t i = 0; i < a->pointer_count; i++)
		if (a->pointers[i].offset != b->pointers[i].offset ||
		    a->pointers[i].directions != b->pointers[i].directions ||
		    a->pointers[i].length.limit != b->pointers[i].length.limit)
			return false;
	for (uint32_t i = 0; i < a->descriptor_count; i++)
		if (a->descriptors[i].offset != b->descriptors[i].offset ||
		    a->descriptors[i].directions != b->descriptors[i].directions)
			return false;
	return true;
}

Test(allow, a_call_of_no_capability_gets_a_rule)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy =
	    with("# of our application\n"
		 "control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute execute crash dumps\n"
		 "class MAXWELL_PROFILER_CONTEXT profiling execute counters # a comment\n"
		 "uvm UVM_DISABLE_SYSTEM_WIDE_ATOMICS compute,utility continue atomics\n",
		 release, &allow);
	const struct nvabi_rule *rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x601);

	cr_assert_eq(nvabi_allow_rows(allow), 3);
	cr_assert_eq(rule->capabilities, NVABI_CAP_COMPUTE);
	cr_assert_eq(rule->size, 8);
	cr_assert(rule->added);
	cr_assert_str_eq(rule->reason, "crash dumps");
	rule = nvabi_policy_find(policy, NVABI_CLASS, 45516);
	cr_assert_eq(rule->capabilities, NVABI_CAP_PROFILING);
	cr_assert_str_eq(rule->reason, "counters");
	rule = nvabi_policy_find(policy, NVABI_UVM, 55);
	cr_assert_eq(rule->way, NVABI_WAY_CONTINUE);
	cr_assert_eq(rule->capabilities, NVABI_CAP_COMPUTE | NVABI_CAP_UTILITY);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}

Test(allow, pointers_and_descriptors_are_those_that_the_file_describes)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy =
	    with("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize i2c.c limit=4096\n"
		 "control NV2080_CTRL_CMD_I2C_ACCESS utility execute a sensor\n",
		 release, &allow);
	const struct nvabi_rule *rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x20800610);

	cr_assert_eq(rule->pointer_count, 1);
	cr_assert_eq(rule->pointers[0].offset, 16);
	cr_assert_eq(rule->pointers[0].directions, NVABI_IN | NVABI_OUT);
	cr_assert_eq(rule->pointers[0].length.offset, 28);
	cr_assert_eq(rule->pointers[0].length.width, 4);
	cr_assert_eq(rule->pointers[0].length.limit, 4096);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}

/* The memory of classes is described by what mpu says of their parameters. */
Test(allow, what_mpu_knows_of_parameters_holds_for_new_rows)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy = with(
	    "class NV01_MEMORY_DEVICELESS compute execute memory of no GPU\n", release, &allow);

	cr_assert_eq(nvabi_policy_find(policy, NVABI_CLASS, 37070)->size, 128);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}

Test(allow, numbers_without_a_name_are_for_the_firmware_or_vouched_for)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy = with("control 0x2080f159:4 compute,utility firmware counters\n"
					   "control 0x20807123:2 compute execute seen\n"
					   "0x20807123 - value - vendor\n",
					   release, &allow);
	const struct nvabi_rule *rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x2080f159);

	cr_assert_eq(rule->way, NVABI_WAY_FIRMWARE);
	cr_assert_not(rule->pattern);
	rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x20807123);
	cr_assert_eq(rule->size, 2);
	cr_assert_eq(rule->pointer_count, 0);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}

/* As mpu's own rows: no rule, and no error. */
Test(allow, a_call_that_another_release_has_is_taken)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy =
	    with("control NV2080_CTRL_CMD_ECC_GET_VOLATILE_COUNTS compute execute new\n",
		 "515.43.04", &allow);

	for (uint32_t i = 0; nvabi_policy_rule(policy, i); i++)
		cr_assert_not(nvabi_policy_rule(policy, i)->added);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}

/* A row for each rule of mpu's that is none of a pattern, as policy-from-trace would print it. */
static char *rows_of_all(const struct nvabi_policy *policy, const char *capabilities)
{
	static const char *const ways[] = {"execute", "continue", "firmware"};
	const struct nvabi_rule *rule;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	for (uint32_t i = 0; (rule = nvabi_policy_rule(policy, i)); i++) {
		char number[32] = "";

		if (rule->pattern)
			continue;
		if (*rule->name == '0')
			snprintf(number, sizeof(number), ":%" PRIu32, rule->size);
		fprintf(out, "%s %s%s %s %s because\n", nvabi_policy_kind_name(rule->kind),
			rule->name, number, capabilities, ways[rule->way]);
	}
	cr_assert_eq(fclose(out), 0);
	return text;
}

static void widen_all(const char *version)
{
	struct nvabi_policy *own = opened(version, NULL), *wider;
	cleanup_free char *rows = rows_of_all(own, "ngx");
	const struct nvabi_rule *before, *after;
	struct nvabi_allow *allow;
	uint32_t count = 0;

	wider = with(rows, version, &allow);
	for (uint32_t i = 0; (before = nvabi_policy_rule(own, i)); i++) {
		after = nvabi_policy_rule(wider, i);
		cr_assert(is_same_call(before, after), "%s: %s", version, before->name);
		cr_assert_eq(after->capabilities,
			     before->pattern ? before->capabilities
					     : before->capabilities | NVABI_CAP_NGX,
			     "%s: %s", version, before->name);
		cr_assert_eq(after->added, !before->pattern, "%s: %s", version, before->name);
		count++;
	}
	cr_assert_null(nvabi_policy_rule(wider, count));
	cr_assert_gt(count, 300);
	nvabi_policy_close(own);
	nvabi_policy_close(wider);
	nvabi_allow_free(allow);
}

Test(allow, each_of_mpus_rules_can_be_widened_and_stays_the_same_call)
{
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++)
		widen_all(releases[i]);
}

/* By its number: the names, the size and the fields are mpu's. */
Test(allow, a_row_by_number_for_a_call_that_mpu_knows_by_name_widens_it)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy =
	    with("control 0x20801206:40 compute execute depth culling\n", release, &allow);
	const struct nvabi_rule *rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x20801206);

	cr_assert_str_eq(rule->name, "NV2080_CTRL_CMD_GR_GET_ZCULL_INFO");
	cr_assert_eq(rule->capabilities, NVABI_CAP_COMPUTE | NVABI_CAP_GRAPHICS);
	cr_assert(rule->added);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}

Test(allow, without_a_file_nothing_is_added)
{
	struct nvabi_policy *policy = opened(release, NULL);
	const struct nvabi_rule *rule;

	for (uint32_t i = 0; (rule = nvabi_policy_rule(policy, i)); i++)
		cr_assert_not(rule->added);
	nvabi_policy_close(policy);
}

/* LINE: which one of TEXT; 0: none is named. */
static void expect_refused(const char *text, unsigned int line, const char *words)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0};
	struct nvabi_allow *allow = NULL;
	char place[256];

	snprintf(place, sizeof(place), "%s:%u: ", scratch_path(&scratch, "allow"), line);
	cr_assert_eq(read_text(&scratch, text, &allow, &error), -EINVAL, "'%s' is taken", text);
	cr_assert_null(allow);
	cr_assert_eq(strncmp(error.text, place, strlen(place)), 0, "'%s' is not in %s", error.text,
		     place);
	cr_assert_not_null(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
}

Test(allow, malformed_lines_are_refused_with_file_and_line)
{
	expect_refused("\n\ncontrl NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute execute x\n", 3,
		       "'contrl' is no kind of call");
	expect_refused("control\n", 1, "wants: KIND NAME");
	expect_refused("nothing\n", 1, "is no kind of call");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute execute\n", 1, "wants");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE cuda execute x\n", 1,
		       "'cuda' is no capability");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE strict execute x\n", 1,
		       "'strict' is no capability");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute run x\n", 1, "no way");
	expect_refused("control NV_NOTHING compute execute x\n", 1, "is a call of no release");
	expect_refused("class NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute execute x\n", 1,
		       "is a call of no release");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute execute x\n"
		       "control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE utility execute x\n",
		       2, "a second row");
}

Test(allow, rows_that_need_more_than_a_row_are_refused)
{
	expect_refused("escape NV_ESC_RM_GET_EVENT_DATA compute execute x\n", 1, "code of its own");
	expect_refused("heap NVOS32_FUNCTION=27 compute execute x\n", 1, "of its parameters");
	expect_refused("memory NV01_MEMORY_LIST_SYSTEM compute execute x\n", 1,
		       "allow it as a class");
	expect_refused("control 0x20800000/0xffff0000 compute execute x\n", 1, "a pattern");
	expect_refused("control 0x8000/0x8000 ngx firmware x\n", 1, "a pattern");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE[] compute execute x\n", 1,
		       "the size of parameters open");
	expect_refused("class 0xeeee:8 compute execute x\n", 1, "write the call's name");
	expect_refused("uvm 0x99:8 compute continue x\n", 1, "write the call's name");
	expect_refused("class NV01_MEMORY_SYSTEM_OS_DESCRIPTOR compute execute x\n"
		       "NV_OS_DESC_MEMORY_ALLOCATION_PARAMS descriptor value - x.c\n",
		       1, "memory of who allocates it");
}

Test(allow, a_row_takes_nothing_out_of_mpus_patterns)
{
	expect_refused("control 0x2080f159:4 profiling firmware x\n", 1, "name these too");
	expect_refused("control 0x8000:0 profiling firmware x\n", 1, "wants the size");
	expect_refused("control 0x20810000[] compute execute x\n", 1,
		       "the size of parameters open");
}

Test(allow, names_and_sizes_are_said)
{
	expect_refused("control =5 compute execute x\n", 1, "there is no name");
	expect_refused("control NV_SOMETHING=0x20807123 compute execute x\n", 1, "wants the size");
	expect_refused("control 0x20807123:4294967295 compute execute x\n", 1, "wants the size");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute execute x\n"
		       "control 0x601:8 utility execute y\n",
		       2, "has a row already");
}

Test(allow, what_nobody_would_translate_is_refused)
{
	expect_refused("control NV90CC_CTRL_CMD_HWPM_GET_RESERVATION_INFO profiling execute x\n", 1,
		       "pid is a process id");
	expect_refused("uvm UVM_ALLOC_DEVICE_P2P compute continue x\n", 1,
		       "names an object of RM");
}

Test(allow, the_way_is_the_one_that_is_sound)
{
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute continue x\n", 1,
		       "its way is execute");
	expect_refused("class MAXWELL_PROFILER_CONTEXT compute continue x\n", 1,
		       "its way is execute");
	expect_refused("class MAXWELL_PROFILER_CONTEXT compute firmware x\n", 1,
		       "its way is execute");
	expect_refused("uvm UVM_DISABLE_SYSTEM_WIDE_ATOMICS compute execute x\n", 1,
		       "its way is continue");
	expect_refused("control 0x20807123:2 compute,utility firmware x\n"
		       "0x20807123 - value - x.c\n",
		       1, "its way is execute");
	expect_refused("control NV0000_CTRL_CMD_NVD_GET_DUMP_SIZE compute,utility firmware x\n", 1,
		       "its way is execute");
	expect_refused("uvm UVM_REGISTER_GPU graphics continue x\n", 1, "as mpu has it");
	expect_refused("memory NV01_MEMORY_SYSTEM_OS_DESCRIPTOR video execute x\n", 1,
		       "its way is continue, as mpu has it");
	expect_refused("control NV2080_CTRL_CMD_FB_GET_INFO graphics firmware x\n", 1,
		       "its way is execute, as mpu has it");
}

Test(allow, a_widening_row_does_not_change_the_call)
{
	expect_refused("control 0x20808159:16 graphics firmware x\n", 1, "another number or size");
	expect_refused("heap NVOS32_FUNCTION_ALLOC_SIZE=3 graphics execute x\n", 1,
		       "another number or size");
}

Test(allow, pointers_of_which_nothing_is_said_are_refused)
{
	expect_refused("control NV2080_CTRL_CMD_I2C_ACCESS compute execute x\n", 1,
		       "data is a pointer or descriptor of which nothing is said");
	expect_refused("control 0x20800610:40 compute execute x\n", 1,
		       "data is a pointer or descriptor of which nothing is said");
	expect_refused("control 0x20800610:40 compute execute x\n"
		       "NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize i2c.c\n",
		       1, "write the call's name");
	expect_refused("control 0x20807123:2 compute execute x\n", 1, "nothing is known");
	expect_refused("control 0x20807123:2 compute execute x\n0x20807124 - value - me\n", 1,
		       "nothing is known");
	expect_refused("control 0x20800610:44 compute execute x\n", 1, "of another size");
}

static const char i2c[] = "control NV2080_CTRL_CMD_I2C_ACCESS utility execute a sensor\n";

static void expect_params_refused(const char *params, unsigned int line, const char *words)
{
	cleanup_free char *text = NULL;

	cr_assert_geq(asprintf(&text, "%s%s", i2c, params), 0);
	expect_refused(text, line, words);
}

Test(allow, descriptions_that_do_not_hold_are_refused)
{
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout nothing x.c\n", 2,
			      "nothing is a field of no release");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data nested - x.c\n", 2,
			      "is nested in no call");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout 8*8 x.c\n", 2,
			      "8 is a field of no release");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize*4*4 x.c\n", 2,
			      "is no length");
	expect_params_refused(
	    "NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize*dataBuffSize x.c\n", 2,
	    "a square has a limit");
	expect_params_refused(
	    "NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize*4096 x.c limit=257\n", 2,
	    "more than 1 MiB");
	expect_params_refused(
	    "NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize x.c limit=4294967295\n", 2,
	    "more than 1 MiB");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize x.c limit=0\n",
			      2, "says nothing here");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout data x.c\n", 2,
			      "data lies where another field is");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data fd-in - x.c\n"
			      "NV2080_CTRL_I2C_ACCESS_PARAMS token in 8 x.c\n",
			      3, "token is no pointer");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize x.c\n"
			      "NV2080_CTRL_I2C_ACCESS_PARAMS token fd-out - x.c\n",
			      3, "a descriptor that the driver makes");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize limit=4\n", 2,
			      "wants: STRUCTURE FIELD USE LENGTH SOURCE");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize x.c\n"
			      "NV2080_CTRL_I2C_ACCESS_PARAMS data in 8 x.c\n",
			      3, "a second row for data");
	expect_params_refused("NV2080_CTRL_I2C_ACCESS_PARAMS data inout dataBuffSize x.c\n"
			      "NV0000_CTRL_NVD_GET_DUMP_PARAMS pBuffer out size x.c\n",
			      3, "is in the parameters of no rule");
}

/* It would hold for mpu's own rows too. */
Test(allow, what_mpu_allows_is_described_by_mpu_alone)
{
	expect_refused("control NV2080_CTRL_CMD_FB_GET_INFO graphics execute x\n"
		       "NV2080_CTRL_FB_GET_INFO_PARAMS fbInfoListSize fd-in - x.c\n",
		       2, "is allowed by mpu, which knows them");
	expect_refused("NVOS54_PARAMETERS cmd fd-in - x.c\n", 1, "is allowed by mpu");
}

Test(allow, a_file_that_others_can_write_is_refused)
{
	static const mode_t modes[] = {0664, 0646, 0666};
	cleanup_scratch struct scratch scratch = scratch_make();
	struct nvabi_allow *allow = NULL;

	scratch_write(&scratch, "allow", i2c);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct mpu_error error = {0};

		cr_assert_eq(chmod(scratch_path(&scratch, "allow"), modes[i]), 0);
		cr_assert_eq(nvabi_allow_read(scratch_path(&scratch, "allow"), &allow, &error),
			     -EACCES);
		cr_assert_not_null(strstr(error.text, "chmod go-w"), "%s", error.text);
	}
	cr_assert_null(allow);
}

Test(allow, only_files_are_read)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0}, missing = {0}, fifo = {0}, proc = {0};
	struct nvabi_allow *allow = NULL;

	cr_assert_eq(nvabi_allow_read(scratch.path, &allow, &error), -EACCES);
	cr_assert_not_null(strstr(error.text, "no regular file"));
	cr_assert_eq(nvabi_allow_read(scratch_path(&scratch, "none"), &allow, &missing), -ENOENT);
	cr_assert_not_null(strstr(missing.text, "/none: "));
	cr_assert_eq(nvabi_allow_read("/proc/self/environ", &allow, &proc), -EACCES);
	cr_assert_not_null(strstr(proc.text, "procfs"), "%s", proc.text);
	cr_assert_eq(mkfifo(scratch_path(&scratch, "fifo"), 0600), 0);
	cr_assert_eq(nvabi_allow_read(scratch_path(&scratch, "fifo"), &allow, &fifo), -EACCES);
}

Test(allow, a_file_of_comments_adds_nothing)
{
	struct nvabi_allow *allow;
	struct nvabi_policy *policy = with("# nothing yet\n\n", release, &allow);

	cr_assert_eq(nvabi_allow_rows(allow), 0);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
}
