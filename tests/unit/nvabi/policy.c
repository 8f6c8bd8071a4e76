#include "base/cleanup.h"
#include "csv.h"
#include "nvabi/load-policy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

/* Seen on an H100; only nvidia-smi mig -cgi and its like need it, which are not a container's. */
enum { SMC_CONFIG_SESSION = 0xc639 };

static struct nvabi_policy *opened_from(const struct nvabi_policy_tables *tables,
					const char *version)
{
	struct nvabi_version parsed;
	struct nvabi_policy *policy;

	cr_assert_eq(nvabi_version_parse(version, &parsed), 0);
	cr_assert_eq(nvabi_policy_open_from(tables, &nvabi_abi_tables, &parsed, &policy), 0, "%s",
		     version);
	return policy;
}

static struct nvabi_policy *opened(const char *version)
{
	return opened_from(&nvabi_policy_tables, version);
}

static uint32_t capabilities_of(const char *words)
{
	uint32_t bits = 0;

	for (; *words; words += strcspn(words, " "), words += *words == ' ')
		cr_assert(nvabi_capability_parse(words, strcspn(words, " "), &bits), "'%s'", words);
	return bits;
}

static uint32_t kind_of(const char *word)
{
	for (uint32_t kind = 0; kind < NVABI_POLICY_KINDS; kind++)
		if (!strcmp(nvabi_policy_kind_name(kind), word))
			return kind;
	cr_assert_fail("'%s' is no kind", word);
	return NVABI_POLICY_KINDS;
}

static bool allows(const struct nvabi_policy *policy, const char *kind, const char *number,
		   const char *capabilities, bool by_itself)
{
	const struct nvabi_rule *rule =
	    nvabi_policy_find(policy, kind_of(kind), (uint32_t)strtoul(number, NULL, 0));

	return rule && !(capabilities_of(capabilities) & ~rule->capabilities) &&
	       !(by_itself && rule->pattern);
}

static struct nvabi_answer answer_of(const char *word)
{
	static const struct {
		const char *word;
		struct nvabi_answer answer;
	} answers[] = {{"EINVAL", {-22, 0}},
		       {"EPERM", {-1, 0}},
		       {"ENOSYS", {-38, 0}},
		       {"NV_ERR_NOT_SUPPORTED", {0, 0x56}},
		       {"NV_ERR_INVALID_CLASS", {0, 0x22}},
		       {"NV_ERR_INVALID_ARGUMENT", {0, 0x1f}}};
	size_t i = 0;

	while (i < sizeof(answers) / sizeof(answers[0]) && strcmp(answers[i].word, word))
		i++;
	cr_assert_lt(i, sizeof(answers) / sizeof(answers[0]), "'%s'", word);
	return answers[i].answer;
}

/* tests/data/unknown-calls.csv was read from the functions of each tag by a program. */
Test(policy, every_release_answers_unknown_calls_as_its_source_says)
{
	static const uint32_t kinds[] = {NVABI_ESCAPE, NVABI_UVM,	    NVABI_CONTROL,
					 NVABI_CLASS,  NVABI_HEAP_FUNCTION, NVABI_MEMORY_CLASS,
					 NVABI_MODESET};
	struct csv facts = read_csv("unknown-calls.csv"), releases = read_csv("driver-tree.csv");
	cleanup_free void *owned = facts.cell;
	cleanup_free void *also_owned = releases.cell;

	cr_assert_eq(facts.rows, releases.rows, "each release has a row");
	for (unsigned int i = 0; i < facts.rows; i++) {
		struct nvabi_policy *policy = opened(facts.cell[i][0]);

		cr_assert_str_eq(facts.cell[i][0], releases.cell[i][0]);
		for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			struct nvabi_answer wanted = answer_of(facts.cell[i][k + 1]);
			struct nvabi_answer got = nvabi_policy_unknown(policy, kinds[k]);

			cr_assert(got.errnum == wanted.errnum && got.status == wanted.status,
				  "%s: %s: %d, 0x%x", facts.cell[i][0],
				  nvabi_policy_kind_name(kinds[k]), got.errnum, got.status);
		}
		nvabi_policy_close(policy);
	}
}

Test(policy, a_branch_is_known_by_any_of_its_releases)
{
	static const char *const known[] = {"515.43.04", "550.40.53", "580.95.05", "620.06.00",
					    /* not listed */
					    "515.1", "550.40.99", "580.999.01", "620.99"};
	static const char *const unknown[] = {"999.10.01", "621.01", "540.10", "514.99", "510.108.03",
					      "470", "460.106.00", "304.137", "58.95.05"};
	struct nvabi_version version;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		cr_assert_eq(nvabi_version_parse(known[i], &version), 0);
		cr_assert(nvabi_policy_knows_branch(&version), "%s", known[i]);
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		cr_assert_eq(nvabi_version_parse(unknown[i], &version), 0);
		cr_assert_not(nvabi_policy_knows_branch(&version), "%s", unknown[i]);
	}
}

/* What is wanted of the policy: nvproxy's calls for each of its releases, those of real programs
 * on an H100, and tests/data/policy-calls.csv. */
struct wanted {
	struct csv nvproxy, releases, programs, more;
};

static struct wanted wanted_calls(void)
{
	return (struct wanted){read_csv("nvproxy.csv"), read_csv("nvproxy-releases.csv"),
			       read_csv("gpu-calls.csv"), read_csv("policy-calls.csv")};
}

static void free_wanted(struct wanted *wanted)
{
	free(wanted->nvproxy.cell);
	free(wanted->releases.cell);
	free(wanted->programs.cell);
	free(wanted->more.cell);
}

static unsigned int index_of(const struct csv *releases, const char *version)
{
	unsigned int i = 0;

	while (strcmp(releases->cell[i][0], version))
		i++;
	return i;
}

/* As tests/unit/nvabi/abi.c has it: nvproxy's intermediate releases are not quite NVIDIA's. */
static bool nvproxy_only(const char *version, const char *name)
{
	return (!strcmp(name, "GF100_SUBDEVICE_INFOROM") &&
		(!strcmp(version, "535.104.05") || !strcmp(version, "535.113.01"))) ||
	       (!strcmp(name, "NV_CONF_COMPUTE_CTRL_CMD_GPU_GET_KEY_ROTATION_STATE") &&
		!strcmp(version, "555.42.02"));
}

static bool misses_of_nvproxy(const struct nvabi_policy_tables *tables, const struct wanted *wanted,
			      unsigned int r, char *what, size_t size)
{
	const char *version = wanted->releases.cell[r][0];
	struct nvabi_policy *policy = opened_from(tables, version);
	bool missing = false;

	for (unsigned int i = 0; !missing && i < wanted->nvproxy.rows; i++) {
		char(*cell)[CSV_TEXT] = wanted->nvproxy.cell[i];

		if (r < index_of(&wanted->releases, cell[4]) ||
		    r > index_of(&wanted->releases, cell[5]) || nvproxy_only(version, cell[1]))
			continue;
		missing = !allows(policy, cell[0], cell[2], cell[6], true);
		if (missing)
			snprintf(what, size, "%s: %s", version, cell[1]);
	}
	nvabi_policy_close(policy);
	return missing;
}

static bool misses_of_programs(const struct nvabi_policy_tables *tables,
			       const struct wanted *wanted, char *what, size_t size)
{
	struct nvabi_policy *policy = opened_from(tables, "580.159.04");
	bool missing = false;

	for (unsigned int i = 0; !missing && i < wanted->programs.rows; i++) {
		char(*cell)[CSV_TEXT] = wanted->programs.cell[i];

		if (strtoul(cell[1], NULL, 0) == SMC_CONFIG_SESSION)
			continue;
		missing = !allows(policy, cell[0], cell[1], cell[3], true);
		if (missing)
			snprintf(what, size, "%s %s", cell[0], cell[1]);
	}
	nvabi_policy_close(policy);
	return missing;
}

static bool misses_more(const struct nvabi_policy_tables *tables, const struct wanted *wanted,
			char *what, size_t size)
{
	for (unsigned int i = 0; i < wanted->more.rows; i++) {
		char(*cell)[CSV_TEXT] = wanted->more.cell[i];
		struct nvabi_policy *policy = opened_from(tables, cell[2]);
		bool any = !strncmp(cell[4], "any ", 4);
		bool there = allows(policy, cell[0], cell[1], cell[3], !any);

		nvabi_policy_close(policy);
		if (there)
			continue;
		snprintf(what, size, "%s: %s %s", cell[2], cell[0], cell[1]);
		return true;
	}
	return false;
}

/* Names in WHAT the first call that is wanted and not allowed. nvproxy's releases are looked at
 * from STEP to STEP, and its last one. */
static bool misses(const struct nvabi_policy_tables *tables, const struct wanted *wanted,
		   unsigned int step, char *what, size_t size)
{
	const unsigned int last = wanted->releases.rows - 1;

	for (unsigned int r = 0; r < last; r += step)
		if (misses_of_nvproxy(tables, wanted, r, what, size))
			return true;
	return misses_of_nvproxy(tables, wanted, last, what, size) ||
	       misses_of_programs(tables, wanted, what, size) ||
	       misses_more(tables, wanted, what, size);
}

Test(policy, allows_what_nvproxy_and_real_programs_need_in_every_release)
{
	__attribute__((cleanup(free_wanted))) struct wanted wanted = wanted_calls();
	char what[160] = "";

	cr_assert_not(misses(&nvabi_policy_tables, &wanted, 1, what, sizeof(what)), "%s", what);
}

Test(policy, no_row_can_go_without_a_test_that_fails, .timeout = 300)
{
	__attribute__((cleanup(free_wanted))) struct wanted wanted = wanted_calls();
	const uint32_t count = nvabi_policy_tables.row_count;
	cleanup_free struct nvabi_policy_row *rows = calloc(count, sizeof(*rows));
	struct nvabi_policy_tables less = nvabi_policy_tables;
	char what[160];

	less.row = rows;
	less.row_count = count - 1;
	for (uint32_t gone = 0; gone < count; gone++) {
		const struct nvabi_policy_row *from = nvabi_policy_tables.row;

		memcpy(rows, from, gone * sizeof(*rows));
		memcpy(rows + gone, from + gone + 1, (count - 1 - gone) * sizeof(*rows));
		cr_assert(misses(&less, &wanted, 8, what, sizeof(what)), "nobody misses %s %s",
			  nvabi_policy_kind_name(from[gone].kind), from[gone].name);
	}
}

static bool size_matches(const char *sizes, uint32_t size)
{
	for (const char *at = sizes; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
		if (strtoul(at, NULL, 10) == size)
			return true;
	return !*sizes;
}

Test(policy, sizes_are_those_of_nvproxy)
{
	__attribute__((cleanup(free_wanted))) struct wanted wanted = wanted_calls();
	unsigned int compared = 0;

	for (unsigned int r = 0; r < wanted.releases.rows; r++) {
		struct nvabi_policy *policy = opened(wanted.releases.cell[r][0]);

		for (unsigned int i = 0; i < wanted.nvproxy.rows; i++) {
			char(*cell)[CSV_TEXT] = wanted.nvproxy.cell[i];
			const struct nvabi_rule *rule = nvabi_policy_find(
			    policy, kind_of(cell[0]), (uint32_t)strtoul(cell[2], NULL, 0));

			if (r < index_of(&wanted.releases, cell[4]) ||
			    r > index_of(&wanted.releases, cell[5]) || !*cell[3] || !rule ||
			    !rule->size)
				continue;
			cr_assert(size_matches(cell[3], rule->size), "%s: %s: %u, nvproxy has %s",
				  wanted.releases.cell[r][0], cell[1], rule->size, cell[3]);
			compared++;
		}
		nvabi_policy_close(policy);
	}
	cr_assert_gt(compared, 5000);
}

static int find_field(const struct nvabi_field *field, void *context)
{
	struct nvabi_field *found = context;

	if (strcmp(field->name, found->name))
		return 0;
	*found = *field;
	return 1;
}

static bool look_up(struct nvabi_abi *abi, const char *structure, struct nvabi_field *field)
{
	return nvabi_abi_fields(abi, structure, true, find_field, field) == 1;
}

static const struct nvabi_pointer *pointer_at(const struct nvabi_rule *rule, uint32_t offset)
{
	for (uint32_t i = 0; i < rule->pointer_count; i++)
		if (rule->pointers[i].offset == offset)
			return &rule->pointers[i];
	return NULL;
}

/* One fact of tests/data/embedded-params.csv in one release. Returns whether it was there. */
static bool expect_pointer(struct nvabi_abi *abi, const struct nvabi_policy *policy,
			   char (*cell)[CSV_TEXT])
{
	struct nvabi_field field = {.name = cell[1]}, count = {.name = cell[2]};
	const uint32_t element = (uint32_t)strtoul(cell[3], NULL, 0);
	uint8_t directions =
	    (strstr(cell[4], "in") ? NVABI_IN : 0) | (strstr(cell[4], "out") ? NVABI_OUT : 0);
	const struct nvabi_pointer *pointer;
	const struct nvabi_rule *rule;
	struct nvabi_call call;

	if (!nvabi_abi_by_name(abi, cell[0], &call) || !call.structure ||
	    !(rule = nvabi_policy_find(policy, NVABI_CONTROL, call.number)) ||
	    !look_up(abi, call.structure, &field))
		return false;
	pointer = pointer_at(rule, field.offset);
	cr_assert_not_null(pointer, "%s.%s is not listed", cell[0], cell[1]);
	cr_assert_eq(pointer->directions, directions, "%s.%s", cell[0], cell[1]);
	cr_assert(look_up(abi, call.structure, &count), "%s.%s", cell[0], cell[2]);
	cr_assert_eq(pointer->length.offset, count.offset, "%s.%s", cell[0], cell[1]);
	cr_assert_eq(pointer->length.width, count.size, "%s.%s", cell[0], cell[1]);
	cr_assert_eq(pointer->length.scale, element, "%s.%s", cell[0], cell[1]);
	cr_assert_eq(pointer->length.constant, 0);
	cr_assert_eq(pointer->length.square, !strncmp(cell[1], "bus", 3) && count.count == 1 &&
						 !strcmp(cell[2], "gpuCount"));
	return true;
}

/* What embedded_param_copy.c of 193 releases copies for each control. */
Test(policy, pointers_of_controls_are_those_that_the_driver_follows)
{
	struct csv facts = read_csv("embedded-params.csv");
	cleanup_free void *owned = facts.cell;
	unsigned int compared = 0;

	for (uint32_t r = 0; r < nvabi_release_count(); r++) {
		const struct nvabi_version *version = nvabi_release_version(r);
		struct nvabi_policy *policy;
		struct nvabi_abi *abi;

		if (nvabi_abi_open(version, &abi))
			continue;
		cr_assert_eq(nvabi_policy_open(version, &policy), 0);
		for (unsigned int i = 0; i < facts.rows; i++)
			compared += expect_pointer(abi, policy, facts.cell[i]);
		nvabi_policy_close(policy);
		nvabi_abi_close(abi);
	}
	cr_assert_geq(compared, 193 * 17);
}

Test(policy, escapes_have_their_pointers_descriptors_and_statuses)
{
	struct nvabi_policy *policy = opened("580.95.05"), *old = opened("515.43.04");
	const struct nvabi_rule *rule = nvabi_policy_find(policy, NVABI_ESCAPE, 0x2b);

	cr_assert_eq(rule->size, 48);
	cr_assert_eq(rule->status, 40);
	cr_assert_eq(rule->short_size, 32);
	cr_assert_eq(rule->short_status, 28);
	cr_assert_eq(rule->pointer_count, 1, "pAllocParms is the class's");
	cr_assert_eq(rule->pointers[0].offset, 24);
	cr_assert(rule->pointers[0].whole);
	cr_assert_eq(rule->pointers[0].length.constant, 4);
	rule = nvabi_policy_find(old, NVABI_ESCAPE, 0x2b);
	cr_assert_eq(rule->size, 40);
	cr_assert_eq(rule->short_status, 24);
	rule = nvabi_policy_find(policy, NVABI_ESCAPE, 0x41); /* RM_IDLE_CHANNELS */
	cr_assert_eq(rule->pointer_count, 3);
	cr_assert_eq(rule->pointers[0].length.scale, 4);
	cr_assert_eq(rule->pointers[0].length.limit, (1 << 20) / 4);
	rule = nvabi_policy_find(policy, NVABI_ESCAPE, 0x4e); /* RM_MAP_MEMORY */
	cr_assert_eq(rule->descriptor_count, 1);
	cr_assert_eq(rule->descriptors[0].offset, 48);
	cr_assert_eq(rule->descriptors[0].directions, NVABI_IN);
	rule = nvabi_policy_find(policy, NVABI_ESCAPE, 0xd9); /* EXPORT_TO_DMABUF_FD */
	cr_assert_eq(rule->descriptors[0].directions, NVABI_IN | NVABI_OUT);
	cr_assert_eq(nvabi_policy_find(policy, NVABI_ESCAPE, 0xce)->descriptor_count, 0,
		     "an event's descriptor is a key");
	cr_assert_eq(nvabi_policy_find(policy, NVABI_ESCAPE, 0xc8)->size, 0, "an array");
	nvabi_policy_close(policy);
	nvabi_policy_close(old);
}

Test(policy, what_no_capability_has_is_not_found)
{
	static const struct {
		uint32_t kind, number;
	} refused[] = {
	    {NVABI_ESCAPE, 0x52},	      /* RM_GET_EVENT_DATA */
	    {NVABI_ESCAPE, 0x4d},	      /* RM_ACCESS_REGISTRY */
	    {NVABI_ESCAPE, 0x28},	      /* RM_ALLOC_OBJECT */
	    {NVABI_CONTROL, 0x20800a01},      /* an internal one */
	    {NVABI_CONTROL, 0x83de0316},      /* DEBUG_WRITE_MEMORY */
	    {NVABI_CLASS, 0x71},	      /* OS descriptor by RM_ALLOC */
	    {NVABI_CLASS, 0x78},	      /* an event by kernel callback */
	    {NVABI_CLASS, NVABI_EVENT_CLASS}, /* what stands in its parameters is asked for */
	    {NVABI_HEAP_FUNCTION, 27},	      /* an OS descriptor */
	    {NVABI_MEMORY_CLASS, 0x81},	      /* a list of pages */
	    {NVABI_UVM, 0x37},		      /* UVM_DISABLE_SYSTEM_WIDE_ATOMICS */
	};
	struct nvabi_policy *policy = opened("580.95.05");

	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		cr_assert_null(nvabi_policy_find(policy, refused[i].kind, refused[i].number),
			       "%s 0x%x", nvabi_policy_kind_name(refused[i].kind),
			       refused[i].number);
	nvabi_policy_close(policy);
}

Test(policy, patterns_are_last_and_give_way_to_rows_of_their_own)
{
	struct nvabi_policy *policy = opened("580.159.04");
	const struct nvabi_rule *rule, *before = NULL;

	rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x20808159);
	cr_assert_not(rule->pattern);
	cr_assert_eq(rule->way, NVABI_WAY_FIRMWARE);
	cr_assert_eq(rule->size, 332);
	rule = nvabi_policy_find(policy, NVABI_CONTROL, 0x20808fff);
	cr_assert(rule->pattern);
	cr_assert_eq(rule->way, NVABI_WAY_FIRMWARE);
	for (uint32_t i = 0; (rule = nvabi_policy_rule(policy, i)); i++) {
		cr_assert(!before || before->pattern <= rule->pattern);
		cr_assert(!before || rule->pattern || before->kind < rule->kind ||
			  (before->kind == rule->kind && before->number < rule->number));
		cr_assert(rule->capabilities && !(rule->capabilities & ~(uint32_t)NVABI_CAPS));
		cr_assert(*rule->reason);
		cr_assert(rule->pattern ||
			  nvabi_policy_find(policy, rule->kind, rule->number) == rule);
		before = rule;
	}
	nvabi_policy_close(policy);
}

/* They name objects of RM, which belong to the proxy. */
static bool is_uvm_of_objects(const struct nvabi_rule *rule)
{
	static const char *const names[] = {"UVM_REGISTER_GPU", "UVM_REGISTER_GPU_VASPACE",
					    "UVM_REGISTER_CHANNEL", "UVM_MAP_EXTERNAL_ALLOCATION"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(rule->name, names[i]))
			return true;
	return false;
}

Test(policy, only_uvm_and_memory_of_the_caller_are_continued)
{
	struct nvabi_policy *policy = opened("580.95.05");
	const struct nvabi_rule *rule;

	for (uint32_t i = 0; (rule = nvabi_policy_rule(policy, i)); i++)
		cr_assert_eq(rule->way == NVABI_WAY_CONTINUE,
			     (rule->kind == NVABI_UVM && !is_uvm_of_objects(rule)) ||
				 (rule->kind == NVABI_MEMORY_CLASS && rule->number == 0x71),
			     "%s", rule->name);
	nvabi_policy_close(policy);
}

Test(policy, closed_majors_have_none)
{
	struct nvabi_version version = {470, 0, 0, 1};
	struct nvabi_policy *policy;

	cr_assert_eq(nvabi_policy_open(&version, &policy), -ENOENT);
}

Test(policy, is_composed_in_under_a_millisecond)
{
	struct timespec begin, end;
	double best = 1e9;

	for (int i = 0; i < 50; i++) {
		double took;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
		nvabi_policy_close(opened("595.45.04"));
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
		took = (double)(end.tv_sec - begin.tv_sec) * 1e3 +
		       (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
		best = took < best ? took : best;
	}
	printf("a policy is composed in %.3f ms\n", best);
	cr_assert_lt(best, 10, "under a sanitizer, on a busy machine");
}
