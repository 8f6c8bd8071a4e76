#include "base/cleanup.h"
#include "nvabi/load-policy.h"
#include "nvabi/tools/load-abi.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const char tree[] = "10 - -\n11.01 10 2020-01-01\n12.01 11.01 2020-02-01\n";
static const char abi_rows[] = "release 11.01\n"
			       "escape NV_ESC 0x2a NV_ESC_PARAMS\n"
			       "struct NV_ESC_PARAMS fd:s32 hole:u32\n"
			       "control NV_CMD 0x1 NV_PARAMS\n"
			       "control NV_LIST 0x2 NV_LISTS\n"
			       "struct NV_PARAMS count:u32 list:pointer\n"
			       "struct NV_LISTS entry:NV_PARAMS[2]\n"
			       "class NV_CLASS 0x80 -\n"
			       "release 12.01\n"
			       "control NV_CMD 0x3 NV_PARAMS\n"
			       "struct NV_PARAMS more:u64 count:u16 list:pointer\n";
static const char params[] = "NV_PARAMS list inout count*8 x.c\n"
			     "NV_ESC_PARAMS fd fd-in - x.c\n";
static const char rows[] = "control NV_CMD compute execute why it is there\n"
			   "escape NV_ESC utility execute because\n";
static const char *unknown = "11.01 uvm EPERM\n"
			     "11.01 control NV_ERR_NOT_SUPPORTED\n"
			     "12.01 uvm ENOSYS\n";

struct tables {
	struct loaded_abi abi;
	struct nvabi_abi_tables abi_tables;
	struct loaded_policy policy;
	struct nvabi_policy_tables tables;
};

static int load_texts(const struct scratch *scratch, const char *rows_text, const char *params_text,
		      struct tables *tables, struct mpu_error *error)
{
	*tables = (struct tables){0};
	scratch_write(scratch, "releases", tree);
	scratch_write(scratch, "abi/11", abi_rows);
	scratch_write(scratch, "abi-roles", "NV_ESC_PARAMS fd fd - x.c\n");
	scratch_write(scratch, "installers", "");
	scratch_write(scratch, "policy", rows_text);
	scratch_write(scratch, "policy-params", params_text);
	scratch_write(scratch, "unknown-calls", unknown);
	cr_assert_eq(load_abi(scratch->path, &tables->abi, &tables->abi_tables, error), 0, "%s",
		     error->text);
	return load_policy(scratch->path, &tables->abi_tables, &tables->policy, &tables->tables,
			   error);
}

static void unload(struct tables *tables)
{
	unload_policy(&tables->policy);
	unload_abi(&tables->abi);
}

static struct nvabi_policy *opened(const struct tables *tables, uint16_t major)
{
	const struct nvabi_version version = {major, 1, 0, 2};
	struct nvabi_policy *policy;

	cr_assert_eq(
	    nvabi_policy_open_from(&tables->tables, &tables->abi_tables, &version, &policy), 0);
	return policy;
}

Test(policy_tables, numbers_sizes_and_offsets_are_the_releases_own)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0};
	const struct nvabi_rule *rule;
	struct nvabi_policy *policy;
	struct tables tables;

	cr_assert_eq(load_texts(&scratch, rows, params, &tables, &error), 0, "%s", error.text);
	policy = opened(&tables, 11);
	rule = nvabi_policy_find(policy, NVABI_CONTROL, 1);
	cr_assert_eq(rule->size, 16);
	cr_assert_eq(rule->capabilities, NVABI_CAP_COMPUTE);
	cr_assert_str_eq(rule->reason, "why it is there");
	cr_assert_eq(rule->pointer_count, 1);
	cr_assert_eq(rule->pointers[0].offset, 8);
	cr_assert_eq(rule->pointers[0].length.offset, 0);
	cr_assert_eq(rule->pointers[0].length.width, 4);
	cr_assert_eq(rule->pointers[0].length.scale, 8);
	cr_assert_eq(rule->pointers[0].length.limit, (1 << 20) / 8);
	rule = nvabi_policy_find(policy, NVABI_ESCAPE, 0x2a);
	cr_assert_eq(rule->descriptor_count, 1);
	cr_assert_eq(rule->descriptors[0].width, 4);
	nvabi_policy_close(policy);
	policy = opened(&tables, 12);
	cr_assert_null(nvabi_policy_find(policy, NVABI_CONTROL, 1));
	rule = nvabi_policy_find(policy, NVABI_CONTROL, 3);
	cr_assert_eq(rule->size, 24);
	cr_assert_eq(rule->pointers[0].offset, 16);
	cr_assert_eq(rule->pointers[0].length.offset, 8);
	cr_assert_eq(rule->pointers[0].length.width, 2);
	nvabi_policy_close(policy);
	unload(&tables);
}

Test(policy_tables, numbers_without_a_name_and_patterns)
{
	static const char text[] = "control 0x9000:12 utility firmware seen\n"
				   "control 0x8000/0xf000 compute firmware others\n"
				   "heap NV_FUNCTION=2 compute execute by size\n"
				   "memory NV_CLASS compute continue pages\n";
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0};
	const struct nvabi_rule *rule;
	struct nvabi_policy *policy;
	struct tables tables;

	cr_assert_eq(load_texts(&scratch, text, "", &tables, &error), 0, "%s", error.text);
	policy = opened(&tables, 11);
	rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x9000);
	cr_assert_str_eq(rule->name, "0x9000");
	cr_assert_eq(rule->size, 12);
	cr_assert_not(rule->pattern);
	rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x8123);
	cr_assert(rule->pattern);
	cr_assert_null(nvabi_policy_find(policy, NVABI_CONTROL, 0x9123));
	cr_assert_null(nvabi_policy_find(policy, NVABI_CLASS, 0x80), "only as memory");
	cr_assert_eq(nvabi_policy_find(policy, NVABI_MEMORY_CLASS, 0x80)->way, NVABI_WAY_CONTINUE);
	cr_assert_str_eq(nvabi_policy_find(policy, NVABI_HEAP_FUNCTION, 2)->name, "NV_FUNCTION");
	nvabi_policy_close(policy);
	unload(&tables);
}

Test(policy_tables, unknown_calls_are_answered_as_the_release_does_or_the_one_it_grew_from)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0};
	struct nvabi_policy *policy;
	struct tables tables;

	cr_assert_eq(load_texts(&scratch, rows, params, &tables, &error), 0, "%s", error.text);
	policy = opened(&tables, 11);
	cr_assert_eq(nvabi_policy_unknown(policy, NVABI_UVM).errnum, -EPERM);
	cr_assert_eq(nvabi_policy_unknown(policy, NVABI_CONTROL).errnum, 0);
	cr_assert_eq(nvabi_policy_unknown(policy, NVABI_CONTROL).status, 0x56);
	nvabi_policy_close(policy);
	policy = opened(&tables, 12);
	cr_assert_eq(nvabi_policy_unknown(policy, NVABI_UVM).errnum, -ENOSYS);
	cr_assert_eq(nvabi_policy_unknown(policy, NVABI_CONTROL).status, 0x56);
	cr_assert_eq(nvabi_policy_unknown(policy, NVABI_MODESET).errnum, -EINVAL,
		     "never success, where nothing is said");
	nvabi_policy_close(policy);
	unload(&tables);
}

/* FILE is where the refusal must point to, LINE the line in it. */
static void expect_refused(const char *rows_text, const char *params_text, const char *file,
			   unsigned int line, const char *words)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	struct mpu_error error = {0};
	struct tables tables;
	char place[256];

	snprintf(place, sizeof(place), "%s:%u: ", scratch_path(&scratch, file), line);
	cr_assert_eq(load_texts(&scratch, rows_text, params_text, &tables, &error), -EINVAL,
		     "'%s' '%s' is taken", rows_text, params_text);
	cr_assert_eq(strncmp(error.text, place, strlen(place)), 0, "'%s' is not in %s", error.text,
		     place);
	cr_assert_not_null(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
	unload(&tables);
}

static void expect_row_refused(const char *row, const char *words)
{
	cleanup_free char *text = NULL;

	cr_assert_geq(asprintf(&text, "%s%s\n", rows, row), 0);
	expect_refused(text, params, "policy", 3, words);
}

Test(policy_tables, bad_rows_are_refused_with_file_and_line)
{
	expect_row_refused("control NV_LIST compute execute", "wants");
	expect_row_refused("call NV_LIST compute execute why", "no kind");
	expect_row_refused("control NV_LIST cuda execute why", "'cuda' is no capability");
	expect_row_refused("control NV_LIST compute, execute why", "'' is no capability");
	expect_row_refused("control NV_LIST compute run why", "no way");
	expect_row_refused("control NV_CMD utility execute why", "a second row for NV_CMD");
	expect_row_refused("control NV_NONE compute execute why", "is a call of no release");
	expect_row_refused("class NV_CMD compute execute why", "is a call of no release");
	expect_row_refused("control NV_LIST[1] compute execute why", "no name");
	expect_row_refused("control 0x9000 compute execute why", "says no size");
	expect_row_refused("control 0x9000:x compute execute why", "not a number");
	expect_row_refused("control 0x9000/0 compute execute why", "no number is");
	expect_row_refused("control 0x9000/0x8000 compute execute why", "no number is");
	expect_row_refused("control NV_X=y compute execute why", "not a number");
	expect_row_refused("control 0x2:4 compute execute why",
			   "NV_LIST has parameters of another");
}

Test(policy_tables, pointers_of_which_nothing_is_said_are_refused)
{
	expect_refused(rows, "NV_ESC_PARAMS fd fd-in - x.c\n", "policy", 1,
		       "in 11.01, list has a pointer or descriptor");
	expect_refused(rows, "NV_PARAMS list inout count*8 x.c\n", "policy", 2,
		       "in 11.01, fd has a pointer or descriptor");
	expect_row_refused("control NV_LIST compute execute why", "entry[].list has a pointer");
	expect_row_refused("control 0x2:32 compute execute why", "entry[].list has a pointer");
	expect_row_refused("control 0x2/0x2 compute firmware why", "has a pointer");
}

static void expect_unknown_refused(const char *row, const char *words)
{
	unknown = row;
	expect_refused(rows, params, "unknown-calls", 1, words);
}

Test(policy_tables, bad_answers_to_unknown_calls_are_refused_with_file_and_line)
{
	expect_unknown_refused("11.01 uvm\n", "wants");
	expect_unknown_refused("11.x uvm EINVAL\n", "no release");
	expect_unknown_refused("13.01 uvm EINVAL\n", "13.01 is not in the tree");
	expect_unknown_refused("11.01 ioctl EINVAL\n", "no kind");
	expect_unknown_refused("11.01 uvm NV_OK\n", "'NV_OK' is no answer");
	unknown = "11.01 uvm EINVAL\n11.01 uvm ENOSYS\n";
	expect_refused(rows, params, "unknown-calls", 2, "a second row for uvm");
}

static void expect_param_refused(const char *row, const char *words)
{
	cleanup_free char *text = NULL;

	cr_assert_geq(asprintf(&text, "%s%s\n", params, row), 0);
	expect_refused(rows, text, "policy-params", 3, words);
}

Test(policy_tables, bad_params_are_refused_with_file_and_line)
{
	expect_param_refused("NV_PARAMS more in 8", "wants");
	expect_param_refused("NV_PARAMS more read 8 x.c", "no use");
	expect_param_refused("NV_PARAMS more in - x.c", "memory has a length");
	expect_param_refused("NV_PARAMS more value 8 x.c", "only memory has a length");
	expect_param_refused("NV_PARAMS more in count*count*count x.c", "no length");
	expect_param_refused("NV_PARAMS more in a*b x.c", "no length");
	expect_param_refused("NV_PARAMS more in 0 x.c", "is a field of no release");
	expect_param_refused("NV_PARAMS more in 8 x.c limit=3", "says nothing here");
	expect_param_refused("NV_PARAMS more in 8 x.c often", "says nothing here");
	expect_param_refused("NV_PARAMS list in 8 x.c", "a second row for list");
	expect_param_refused("NV_PARAMS nothing in 8 x.c", "in the parameters of no rule");
	expect_param_refused("NV_PARAMS more in size*8 x.c", "size is a field of no release");
	expect_param_refused("NV_ESC_PARAMS hole in 8 x.c", "is no pointer");
}

/* Each row of policy-params, taken away, is missed in one of these releases. */
Test(policy_tables, no_param_can_go_without_being_missed)
{
	static const char *const versions[] = {"515.43.04", "525.147.05", "535.129.03", "580.95.05",
					       "610.57.04"};
	struct loaded_policy policy = {0};
	struct nvabi_abi_tables abi_tables;
	struct nvabi_policy_tables tables;
	struct mpu_error error = {0};
	struct loaded_abi abi;

	cr_assert_eq(load_abi(NVABI_DATA, &abi, &abi_tables, &error), 0, "%s", error.text);
	cr_assert_eq(load_policy(NVABI_DATA, &abi_tables, &policy, &tables, &error), 0, "%s",
		     error.text);
	for (uint32_t i = 0; i < policy.param_count; i++) {
		const struct loaded_param gone = policy.param[i];
		int rc = 0;

		policy.param[i].param.structure = "NOTHING";
		for (size_t v = 0; !rc && v < sizeof(versions) / sizeof(*versions); v++) {
			struct nvabi_version version;
			struct mpu_error missed = {0};

			cr_assert_eq(nvabi_version_parse(versions[v], &version), 0);
			rc = check_policy_at(&policy, &abi_tables, &version, &missed);
		}
		policy.param[i] = gone;
		cr_assert_eq(rc, -EINVAL, "nobody misses %s.%s", gone.param.structure,
			     gone.param.field);
	}
	unload_policy(&policy);
	unload_abi(&abi);
}
