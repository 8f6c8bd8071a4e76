/* docs/confine-nvproxy.md, written from the policy and from gVisor's facts. With MPU_WRITE_DOCS=1
 * in the environment the test writes it anew. */
#include "base/cleanup.h"
#include "csv.h"
#include "nvabi/policy.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

static const char head[] =
    "# confine and gVisor's nvproxy\n"
    "\n"
    "What gVisor's nvproxy lets a sandbox call, and whether a confined container may: for each "
    "release that\n"
    "nvproxy supports, for each capability alike. Written by `tests/unit/nvabi/policy-nvproxy.c` "
    "from\n"
    "`nvabi/data/policy` and `tests/data/nvproxy.csv`, `policy-calls.csv` (names, numbers, sizes "
    "and capabilities\n"
    "as facts, from gVisor's version.go); the test fails where this page is not what it writes\n"
    "(`MPU_WRITE_DOCS=1` before it writes the page anew).\n"
    "\n"
    "## What nvproxy allows and mpu does not\n"
    "\n"
    "| release | nvproxy allows | mpu does not | mpu allows in all |\n"
    "|---|---|---|---|\n";

static const char tail[] =
    "\n"
    "Where nvproxy passes on whatever bears a mark (controls with bit 15, controls of "
    "NV2081_BINAPI), the mark\n"
    "counts as one call.\n"
    "\n"
    "## What is alike in name only\n"
    "\n"
    "| call | nvproxy | mpu | why |\n"
    "|---|---|---|---|\n"
    "| controls with bit 15, of NV2081_BINAPI | any | with the open kernel module: any; under "
    "`strict`: those that were "
    "seen. With another module: none | nvproxy takes it that the GPU's firmware gets them. That is "
    "so with the open "
    "module; another one may follow a pointer in them, into the memory of who makes the call |\n"
    "| NV_ESC_NUMA_INFO | answers EINVAL itself | makes it | no NUMA node is hidden here |\n"
    "| NV_ESC_RM_ALLOC_MEMORY, NV01_MEMORY_SYSTEM_OS_DESCRIPTOR | mirrors the pages into its own "
    "memory | passes it on "
    "after the check; under `strict` refuses it | the pages to be pinned are the container's |\n"
    "| UVM's | makes them in its own address space | passes them on after the check, "
    "and makes the four that name objects of RM in the proxy | they belong "
    "to the caller's "
    "address space |\n"
    "| NV_ESC_ALLOC_OS_EVENT, NV01_EVENT_OS_EVENT | translates the descriptor | leaves the number "
    "| the driver looks no "
    "descriptor up: it keeps the number as a key |\n"
    "| NV0000_CTRL_CMD_GPU_GET_ID_INFO | clears szName | leaves it | no release writes to it |\n"
    "| controls with process ids | passes them on, or knows them not | answers them with the "
    "container's processes "
    "| that is what mpu is for |\n";

struct calls {
	struct csv nvproxy, releases, more;
};

static void free_calls(struct calls *calls)
{
	free(calls->nvproxy.cell);
	free(calls->releases.cell);
	free(calls->more.cell);
}

static unsigned int index_of(const struct csv *releases, const char *version)
{
	unsigned int i = 0;

	while (strcmp(releases->cell[i][0], version))
		i++;
	return i;
}

/* Whether each of the capabilities (words between blanks) allows it. */
static bool allows(const struct nvabi_policy *policy, const char *kind, const char *number,
		   const char *capabilities)
{
	uint32_t wanted = 0, at = 0;
	const struct nvabi_rule *rule;

	while (at < NVABI_POLICY_KINDS && strcmp(nvabi_policy_kind_name(at), kind))
		at++;
	for (; *capabilities; capabilities += *capabilities == ' ') {
		cr_assert(
		    nvabi_capability_parse(capabilities, strcspn(capabilities, " "), &wanted));
		capabilities += strcspn(capabilities, " ");
	}
	rule = nvabi_policy_find(policy, at, (uint32_t)strtoul(number, NULL, 0));
	return rule && !(wanted & ~rule->capabilities);
}

static uint32_t count_rules(const struct nvabi_policy *policy)
{
	uint32_t count = 0;

	while (nvabi_policy_rule(policy, count))
		count++;
	return count;
}

/* The kinds that nvproxy tells apart within one escape, and its marks: alike in all releases. */
static unsigned int count_inner(const struct nvabi_policy *policy, const struct calls *calls,
				unsigned int *missing, FILE *names)
{
	unsigned int count = 0;
	const char *before = "";

	for (unsigned int i = 0; i < calls->more.rows; i++) {
		char(*cell)[CSV_TEXT] = calls->more.cell[i];

		if (!strstr(cell[4], "gVisor") || !strcmp(before, cell[1]))
			continue;
		before = cell[1];
		count++;
		if (allows(policy, cell[0], cell[1], cell[3]))
			continue;
		fprintf(names, "%s%s %s", (*missing)++ ? ", " : "", cell[0], cell[1]);
	}
	return count;
}

static void write_release(FILE *out, const struct calls *calls, unsigned int r)
{
	cleanup_free char *names = NULL;
	size_t size;
	FILE *list = open_memstream(&names, &size);
	struct nvabi_version version;
	struct nvabi_policy *policy;
	unsigned int count, missing = 0;

	cr_assert_eq(nvabi_version_parse(calls->releases.cell[r][0], &version), 0);
	cr_assert_eq(nvabi_policy_open(&version, &policy), 0);
	count = count_inner(policy, calls, &missing, list);
	for (unsigned int i = 0; i < calls->nvproxy.rows; i++) {
		char(*cell)[CSV_TEXT] = calls->nvproxy.cell[i];

		if (r < index_of(&calls->releases, cell[4]) ||
		    r > index_of(&calls->releases, cell[5]))
			continue;
		count++;
		if (!allows(policy, cell[0], cell[2], cell[6]))
			fprintf(list, "%s%s", missing++ ? ", " : "", cell[1]);
	}
	fclose(list);
	fprintf(out, "| %s | %u | %s | %" PRIu32 " |\n", calls->releases.cell[r][0], count,
		missing ? names : "-", count_rules(policy));
	nvabi_policy_close(policy);
}

static char *written_page(void)
{
	__attribute__((cleanup(free_calls))) struct calls calls = {read_csv("nvproxy.csv"),
								   read_csv("nvproxy-releases.csv"),
								   read_csv("policy-calls.csv")};
	char *page = NULL;
	size_t size;
	FILE *out = open_memstream(&page, &size);

	fputs(head, out);
	for (unsigned int r = 0; r < calls.releases.rows; r++)
		if (!strcmp(calls.releases.cell[r][1], "yes"))
			write_release(out, &calls, r);
	fputs(tail, out);
	fclose(out);
	return page;
}

Test(policy_nvproxy, page_says_what_nvproxy_allows_and_we_do_not)
{
	static const char path[] = MPU_DOCS "/confine-nvproxy.md";
	cleanup_free char *page = written_page();
	cleanup_free char *kept = NULL;

	if (getenv("MPU_WRITE_DOCS")) {
		cleanup_file FILE *out = fopen(path, "we");

		cr_assert_not_null(out, "%s", path);
		fputs(page, out);
	}
	kept = slurp(path);
	cr_assert_str_eq(kept, page, "%s is not what the policy is: MPU_WRITE_DOCS=1 writes it",
			 path);
}
