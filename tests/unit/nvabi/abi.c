#include "base/cleanup.h"
#include "csv.h"
#include "nvabi/abi-rows.h"
#include "nvabi/abi-tables.h"
#include "nvabi/tools/facts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static struct nvabi_abi *opened(const char *version)
{
	struct nvabi_version parsed;
	struct nvabi_abi *abi;

	cr_assert_eq(nvabi_version_parse(version, &parsed), 0);
	cr_assert_eq(nvabi_abi_open(&parsed, &abi), 0, "%s", version);
	return abi;
}

/* tests/data/statuses.csv, of each release's nvstatuscodes.h: how many codes there are, and the hash of
 * "number name" lines in their order. */
Test(abi, the_status_codes_of_every_release_are_those_of_its_header)
{
	struct csv facts = read_csv("statuses.csv"), releases = read_csv("driver-tree.csv");
	cleanup_free void *owned = facts.cell;
	cleanup_free void *also_owned = releases.cell;

	cr_assert_eq(facts.rows, releases.rows);
	for (unsigned int i = 0; i < facts.rows; i++) {
		struct nvabi_abi *abi = opened(facts.cell[i][0]);
		cleanup_file FILE *lines = tmpfile();
		unsigned int count = 0;
		char hash[17];

		for (uint32_t status = 0; status < 0x20000; status++) {
			const char *name = nvabi_abi_status(abi, status);

			if (name && ++count)
				fprintf(lines, "%" PRIu32 " %s\n", status, name);
		}
		snprintf(hash, sizeof(hash), "%016" PRIx64, fact_hash(lines));
		cr_assert_eq(count, strtoul(facts.cell[i][1], NULL, 10), "%s", facts.cell[i][0]);
		cr_assert_str_eq(hash, facts.cell[i][2], "%s", facts.cell[i][0]);
		nvabi_abi_close(abi);
	}
}

Test(abi, a_status_code_has_the_name_of_its_release)
{
	struct nvabi_abi *old = opened("580.105.08"), *new = opened("595.45.04");

	cr_assert_str_eq(nvabi_abi_status(old, 0), "NV_OK");
	cr_assert_str_eq(nvabi_abi_status(old, 0x8b), "NV_ERR_DMA_XFER_FAILED");
	cr_assert_str_eq(nvabi_abi_status(new, 0x8b), "NV_ERR_OPERATION_ABORTED");
	cr_assert_null(nvabi_abi_status(old, 0x12345));
	nvabi_abi_close(old);
	nvabi_abi_close(new);
}

/* tests/data/abi-facts.csv, of each release's own headers: a hash of what a C compiler printed, and
 * one of what nvabi-extract wrote. */
Test(abi, every_release_is_what_a_compiler_saw_in_its_headers)
{
	struct csv facts = read_csv("abi-facts.csv"), releases = read_csv("driver-tree.csv");
	cleanup_free void *owned = facts.cell;
	cleanup_free void *also_owned = releases.cell;

	cr_assert_eq(facts.rows, releases.rows);
	for (unsigned int i = 0; i < facts.rows; i++) {
		struct nvabi_abi *abi = opened(facts.cell[i][0]);
		cleanup_file FILE *out = tmpfile();
		cleanup_file FILE *rows = tmpfile();
		struct fact_counts counts = write_facts(abi, out);
		char hash[17];

		snprintf(hash, sizeof(hash), "%016" PRIx64, fact_hash(out));
		cr_assert_str_eq(hash, facts.cell[i][4], "%s", facts.cell[i][0]);
		nvabi_abi_write_rows(abi, rows);
		snprintf(hash, sizeof(hash), "%016" PRIx64, fact_hash(rows));
		cr_assert_str_eq(hash, facts.cell[i][5], "%s", facts.cell[i][0]);
		cr_assert_eq(counts.calls, strtoul(facts.cell[i][1], NULL, 10));
		cr_assert_eq(counts.structures, strtoul(facts.cell[i][2], NULL, 10));
		cr_assert_eq(counts.fields, strtoul(facts.cell[i][3], NULL, 10));
		nvabi_abi_close(abi);
	}
}

static bool size_matches(const char *sizes, uint32_t size)
{
	for (const char *at = sizes; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
		if (strtoul(at, NULL, 10) == size)
			return true;
	return !*sizes; /* nvproxy passes it through without a structure of its own */
}

/* Where nvproxy lists a call for a release that does not have it in its headers: it takes over the
 * list of an older release that is not among its supported ones. */
static bool nvproxy_only(const char *version, const char *name)
{
	return (!strcmp(name, "GF100_SUBDEVICE_INFOROM") &&
		(!strcmp(version, "535.104.05") || !strcmp(version, "535.113.01"))) ||
	       (!strcmp(name, "NV_CONF_COMPUTE_CTRL_CMD_GPU_GET_KEY_ROTATION_STATE") &&
		!strcmp(version, "555.42.02"));
}

static void expect_nvproxy_call(struct nvabi_abi *abi, const char *version, char (*cell)[CSV_TEXT])
{
	struct nvabi_call call;

	if (nvproxy_only(version, cell[1])) {
		cr_assert_not(nvabi_abi_by_name(abi, cell[1], &call));
		return;
	}
	cr_assert(nvabi_abi_by_name(abi, cell[1], &call), "%s: %s", version, cell[1]);
	cr_assert_str_eq(nvabi_kind_name(call.kind), cell[0], "%s: %s", version, cell[1]);
	cr_assert_eq(call.number, strtoul(cell[2], NULL, 0), "%s: %s", version, cell[1]);
	cr_assert(size_matches(cell[3], call.size), "%s: %s: %u bytes, nvproxy has %s", version,
		  cell[1], call.size, cell[3]);
}

/* tests/data/nvproxy.csv: names, numbers and sizes of gVisor's nvproxy, each from its first to its
 * last release in the order of nvproxy-releases.csv. */
Test(abi, every_call_of_nvproxy_is_found_with_its_number_and_size)
{
	struct csv calls = read_csv("nvproxy.csv"), releases = read_csv("nvproxy-releases.csv");
	cleanup_free void *owned = calls.cell;
	cleanup_free void *also_owned = releases.cell;
	unsigned int compared = 0, qualified = 0;

	for (unsigned int r = 0; r < releases.rows; r++) {
		const char *version = releases.cell[r][0];
		struct nvabi_abi *abi = opened(version);

		for (unsigned int i = 0; i < calls.rows; i++) {
			unsigned int first = 0, last = 0;

			while (strcmp(releases.cell[first][0], calls.cell[i][4]))
				first++;
			while (strcmp(releases.cell[last][0], calls.cell[i][5]))
				last++;
			if (r < first || r > last)
				continue;
			expect_nvproxy_call(abi, version, calls.cell[i]);
			compared++;
		}
		qualified += !strcmp(releases.cell[r][1], "yes");
		nvabi_abi_close(abi);
	}
	cr_assert_eq(qualified, 24);
	cr_assert_eq(compared, 13417);
}

Test(abi, closed_majors_and_older_drivers_have_none)
{
	static const char *const none[] = {"410.104", "418", "470.256.02", "510", "515.10"};

	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		struct nvabi_version version;
		struct nvabi_abi *abi;

		nvabi_version_parse(none[i], &version);
		cr_assert_eq(nvabi_abi_open(&version, &abi), -ENOENT, "%s", none[i]);
	}
}

static void expect_release(const char *running, const char *release, enum nvabi_match expected,
			   bool partial)
{
	struct nvabi_abi *abi = opened(running);
	char text[NVABI_VERSION_TEXT];
	enum nvabi_match match;

	cr_assert_str_eq(nvabi_version_format(nvabi_abi_release(abi, &match), text), release);
	cr_assert_eq(match, expected, "%s", running);
	cr_assert_eq(nvabi_abi_partial(abi), partial, "%s", running);
	nvabi_abi_close(abi);
}

Test(abi, releases_are_found_as_for_process_ids_and_partial_ones_say_so)
{
	expect_release("580.142", "580.142", NVABI_MATCH_EXACT, false);
	expect_release("580.159.04", "580.142", NVABI_MATCH_NEIGHBOUR, false);
	expect_release("595.71.05", "595.71.05", NVABI_MATCH_EXACT, true);
	expect_release("610.43.02", "610.43.02", NVABI_MATCH_EXACT, true);
	expect_release("610.57.04", "610.57.04", NVABI_MATCH_EXACT, true);
	expect_release("615.15.00", "615.15.00", NVABI_MATCH_EXACT, true);
	expect_release("615.62.00", "615.62.00", NVABI_MATCH_EXACT, true);
	expect_release("620.06.00", "620.06.00", NVABI_MATCH_EXACT, true);
	expect_release("600.10", "595.71.05", NVABI_MATCH_BRANCH, true);
}

Test(abi, partial_releases_are_listed_apart)
{
	uint32_t count = 0;

	while (nvabi_partial_release(count))
		count++;
	cr_assert_eq(count, 6);
	for (uint32_t i = 0; i < nvabi_release_count(); i++)
		cr_assert_lt(nvabi_release_version(i)->major, 600);
}

Test(abi, calls_are_found_by_name_and_by_number)
{
	struct nvabi_abi *abi = opened("595.45.04");
	struct nvabi_call call;
	uint32_t cursor = 0;

	cr_assert(nvabi_abi_by_name(abi, "NV2080_CTRL_CMD_GPU_GET_PIDS", &call));
	cr_assert_eq(call.number, 0x2080018d);
	cr_assert_eq(call.size, 3812);
	cr_assert_eq(call.align, 4);
	cr_assert(nvabi_abi_by_number(abi, 0x2080018d, &cursor, &call));
	cr_assert_str_eq(call.name, "NV2080_CTRL_CMD_GPU_GET_PIDS");
	cr_assert_not(nvabi_abi_by_number(abi, 0x2080018d, &cursor, &call));
	cr_assert_not(nvabi_abi_by_name(abi, "NV2080_CTRL_CMD_GPU_GET_PID", &call));
	cr_assert_not(nvabi_abi_by_name(abi, "", &call));
	/* Two classes share a number. */
	cursor = 0;
	cr_assert(nvabi_abi_by_number(abi, 0x41, &cursor, &call));
	cr_assert(nvabi_abi_by_number(abi, 0x41, &cursor, &call));
	nvabi_abi_close(abi);
}

struct expected_field {
	const char *name;
	uint32_t offset, size;
	enum nvabi_role role;
	const char *length;
	bool found;
};

static int match_field(const struct nvabi_field *field, void *context)
{
	struct expected_field *expected = context;

	if (strcmp(field->name, expected->name))
		return 0;
	cr_assert_eq(field->offset, expected->offset, "%s at %u", field->name, field->offset);
	cr_assert_eq(field->size, expected->size, "%s", field->name);
	cr_assert_eq(field->role, expected->role, "%s", field->name);
	if (expected->length)
		cr_assert_str_eq(field->length, expected->length);
	expected->found = true;
	return 1;
}

static void expect_field(struct nvabi_abi *abi, const char *structure,
			 struct expected_field expected)
{
	nvabi_abi_fields(abi, structure, true, match_field, &expected);
	cr_assert(expected.found, "%s.%s", structure, expected.name);
}

Test(abi, fields_have_paths_offsets_and_roles)
{
	struct nvabi_abi *abi = opened("595.45.04");

	expect_field(abi, "NVOS54_PARAMETERS",
		     (struct expected_field){"params", 16, 8, NVABI_ROLE_POINTER, "paramsSize", 0});
	expect_field(abi, "NVOS54_PARAMETERS",
		     (struct expected_field){"hClient", 0, 4, NVABI_ROLE_CLIENT, NULL, 0});
	expect_field(abi, "NVOS54_PARAMETERS",
		     (struct expected_field){"hObject", 4, 4, NVABI_ROLE_OBJECT, NULL, 0});
	expect_field(abi, "NV2080_CTRL_GPU_GET_PID_INFO_PARAMS",
		     (struct expected_field){"pidInfoList[].data.vidMemUsage.memPrivate", 24, 8,
					     NVABI_ROLE_NONE, NULL, 0});
	expect_field(abi, "NV2080_CTRL_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2_PARAMS",
		     (struct expected_field){"samples[].nvofa.pOsPidInfo", 16 + 768, 8,
					     NVABI_ROLE_KERNEL, NULL, 0});
	expect_field(abi, "nv_ioctl_register_fd_t",
		     (struct expected_field){"ctl_fd", 0, 4, NVABI_ROLE_FD, NULL, 0});
	expect_field(abi, "NV2080_CTRL_GPU_GET_PIDS_PARAMS",
		     (struct expected_field){"pidTbl", 12, 3800, NVABI_ROLE_PID, NULL, 0});
	nvabi_abi_close(abi);
}

/* tests/data/abi-roles.csv: the roles that were read from the driver's code, kept apart from
 * nvabi/data/abi-roles. Each must hold in some release. */
Test(abi, every_role_is_that_which_was_read)
{
	struct csv roles = read_csv("abi-roles.csv");
	cleanup_free void *owned = roles.cell;

	cr_assert_eq(roles.rows, nvabi_abi_tables.role_count);
	for (unsigned int i = 0; i < roles.rows; i++) {
		bool found = false;

		for (uint32_t r = 0; !found && r < nvabi_abi_tables.role_count; r++) {
			const struct nvabi_abi_role *role = &nvabi_abi_tables.role[r];
			const char *text = nvabi_abi_tables.text;
			nvabi_item item = nvabi_abi_tables.item[role->record];

			found = !strcmp(text + (item & ((1U << ABI_KIND_SHIFT) - 1)),
					roles.cell[i][0]) &&
				!strcmp(text + role->field, roles.cell[i][1]) &&
				!strcmp(nvabi_role_name((enum nvabi_role)role->role),
					roles.cell[i][2]) &&
				!strcmp(role->length ? text + role->length : "-", roles.cell[i][3]);
		}
		cr_assert(found, "%s.%s", roles.cell[i][0], roles.cell[i][1]);
	}
}

/* tests/data/driver-checksums.csv is what was published, kept apart from nvabi/data/installers. */
Test(abi, installers_are_known_by_their_checksum)
{
	struct csv sums = read_csv("driver-checksums.csv");
	cleanup_free void *owned = sums.cell;
	uint32_t count = 0;

	for (unsigned int i = 0; i < sums.rows; i++) {
		struct nvabi_version version;
		bool any = false;

		nvabi_version_parse(sums.cell[i][0], &version);
		for (unsigned int column = 2; column <= 3; column++) {
			const struct nvabi_installer *installer;

			if (strlen(sums.cell[i][column]) != 64)
				continue;
			installer = nvabi_installer_find(sums.cell[i][column]);
			cr_assert_not_null(installer, "%s", sums.cell[i][0]);
			cr_assert_eq(nvabi_version_compare(&installer->version, &version), 0);
			cr_assert_str_eq(installer->arch, column == 2 ? "x86_64" : "aarch64");
			any = true;
			count++;
		}
		cr_assert_eq(nvabi_release_qualified(&version), any, "%s", sums.cell[i][0]);
	}
	cr_assert_eq(count, nvabi_abi_tables.installer_count);
	cr_assert_null(nvabi_installer_find(""));
}

Test(abi, compiled_tables_are_smaller_than_a_megabyte)
{
	const struct nvabi_abi_tables *tables = &nvabi_abi_tables;
	size_t size = tables->text_size + tables->body_size +
		      tables->item_count * sizeof(*tables->item) +
		      tables->change_count * sizeof(*tables->change) +
		      tables->role_count * sizeof(*tables->role) +
		      tables->release_count * sizeof(*tables->release) +
		      tables->installer_count * (sizeof(*tables->installer) + 65);

	cr_assert_lt(size, 1000 * 1000, "%zu bytes", size);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* With every size worked out; measured over all releases. */
Test(abi, a_release_is_composed_in_less_than_a_millisecond)
{
	double start = seconds(), each;
	uint32_t count = 0;

	for (uint32_t i = 0; i < nvabi_release_count(); i++) {
		struct nvabi_abi *abi;

		if (nvabi_abi_open(nvabi_release_version(i), &abi))
			continue;
		nvabi_abi_close(abi);
		count++;
	}
	each = (seconds() - start) / count;
	cr_assert_eq(count, 193);
	cr_assert_lt(each, 1e-3, "%f s", each);
}
