/* Parameters of several releases, made by hand, as the trace prints them. */
#include "supervisor/trace/decode.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

static struct nvabi_abi *opened(const char *version)
{
	struct nvabi_version parsed;
	struct nvabi_abi *abi;

	cr_assert_eq(nvabi_version_parse(version, &parsed), 0);
	cr_assert_eq(nvabi_abi_open(&parsed, &abi), 0, "%s", version);
	return abi;
}

static void put(uint8_t *bytes, size_t offset, uint64_t value, size_t size)
{
	memcpy(bytes + offset, &value, size);
}

/* The caller's memory is this process's own, its PID 3 is 4711 on the host. */
static int read_own(void *context, uint64_t address, void *bytes, size_t size)
{
	(void)context;
	if (address < 4096)
		return -EFAULT;
	memcpy(bytes, (const void *)(uintptr_t)address, size);
	return 0;
}

static pid_t number_on_host(void *context, pid_t number)
{
	(void)context;
	return number == 3 ? 4711 : 0;
}

static struct text decoded(const char *version, const char *structure, const void *bytes,
			   uint32_t size, const void *before, bool json)
{
	struct nvabi_abi *abi = opened(version);
	struct text out = {0};
	struct values values = {.out = &out, .json = json};
	struct decode decode = {.abi = abi,
				.values = &values,
				.budget = json ? 100000 : 200,
				.read = json ? NULL : read_own,
				.host_pid = number_on_host};

	decode_structure(&decode, structure, bytes, size, before);
	nvabi_abi_close(abi);
	return out;
}

static void expect_text(const char *version, const char *structure, const void *bytes,
			uint32_t size, const char *wanted)
{
	struct text out cleanup_text = decoded(version, structure, bytes, size, NULL, false);

	cr_assert_str_eq(out.bytes, wanted, "%s: %s", version, out.bytes);
}

Test(trace_decode, fields_have_their_names_and_pids_both_numbers)
{
	uint8_t bytes[3812] = {0}; /* 12 + 950 * 4 */

	put(bytes, 4, 0x2080, 4);
	put(bytes, 8, 2, 4);
	put(bytes, 12, 3, 4);
	put(bytes, 16, 9, 4);
	for (int i = 0; i < 3; i++)
		expect_text((const char *const[]){"515.43.04", "550.54.14", "595.45.04"}[i],
			    "NV2080_CTRL_GPU_GET_PIDS_PARAMS", bytes, sizeof(bytes),
			    "{idType=0, id=8320, pidTblCount=2, pidTbl=[3<host 4711>, 9, ...]}");
}

Test(trace_decode, a_release_has_its_own_offsets)
{
	uint8_t old[40] = {0}, new[48] = {0};

	put(old, 12, 0x41, 4);
	put(old, 32, 0x1f, 4); /* status */
	put(new, 12, 0x41, 4);
	put(new, 32, 56, 4); /* paramsSize */
	put(new, 36, 1, 4);
	put(new, 40, 0x1f, 4);
	expect_text(
	    "515.43.04", "NVOS64_PARAMETERS", old, sizeof(old),
	    "{hRoot=0x00000000, hObjectParent=0x00000000, hObjectNew=0x00000000, hClass=0x41, "
	    "pAllocParms=NULL, pRightsRequested=NULL, status=31}");
	expect_text(
	    "580.95.05", "NVOS64_PARAMETERS", new, sizeof(new),
	    "{hRoot=0x00000000, hObjectParent=0x00000000, hObjectNew=0x00000000, hClass=0x41, "
	    "pAllocParms=NULL, pRightsRequested=NULL, paramsSize=56, flags=0x1, status=31}");
}

Test(trace_decode, structures_in_arrays_and_unions_are_followed)
{
	uint8_t bytes[14408] = {0};

	put(bytes, 0, 1, 4);
	put(bytes, 8, 3, 4);
	put(bytes, 24, 2 << 20, 8);
	expect_text(
	    "580.95.05", "NV2080_CTRL_GPU_GET_PID_INFO_PARAMS", bytes, sizeof(bytes),
	    "{pidInfoListCount=1, pidInfoList=[{pid=3<host 4711>, index=0, result=0, "
	    "data={vidMemUsage={memPrivate=2097152, memSharedOwned=0, memSharedDuped=0, "
	    "protectedMemPrivate=0, protectedMemSharedOwned=0, protectedMemSharedDuped=0}}, "
	    "smcSubscription={0}}, ...]}");
}

Test(trace_decode, memory_behind_a_pointer_is_printed_where_its_length_is_known)
{
	uint32_t list[4] = {7, 70, 8, 80};
	uint8_t bytes[32] = {0};
	char wanted[200];

	put(bytes, 0, 2, 4);
	put(bytes, 8, (uintptr_t)list, 8);
	snprintf(wanted, sizeof(wanted),
		 "{grInfoListSize=2, grInfoList=%p -> [{index=7, data=70}, {index=8, data=80}], "
		 "grRouteInfo={0}}",
		 (void *)list);
	expect_text("580.95.05", "NV2080_CTRL_GR_GET_INFO_PARAMS", bytes, sizeof(bytes), wanted);
	put(bytes, 8, 16, 8);
	expect_text("580.95.05", "NV2080_CTRL_GR_GET_INFO_PARAMS", bytes, sizeof(bytes),
		    "{grInfoListSize=2, grInfoList=0x10, grRouteInfo={0}}");
}

Test(trace_decode, texts_and_bytes_are_told_apart)
{
	uint8_t bytes[64] = "NVIDIA \"H100\"";

	expect_text("580.95.05", "NV2080_CTRL_GPU_GET_SHORT_NAME_STRING_PARAMS", bytes,
		    sizeof(bytes), "{gpuShortNameString=\"NVIDIA \\\"H100\\\"\"}");
	bytes[0] = 1;
	bytes[20] = 9;
	expect_text("580.95.05", "NV2080_CTRL_GPU_GET_SHORT_NAME_STRING_PARAMS", bytes,
		    sizeof(bytes),
		    "{gpuShortNameString=0x015649444941202248313030220000000000000009...}");
}

Test(trace_decode, only_what_has_changed_is_printed_against_before)
{
	uint8_t before[3812] = {0}, after[3812] = {0};
	struct text out cleanup_text = {0};

	put(after, 8, 1, 4);
	put(after, 12, 3, 4);
	out = decoded("580.95.05", "NV2080_CTRL_GPU_GET_PIDS_PARAMS", after, sizeof(after), before,
		      false);
	cr_assert_str_eq(out.bytes, "{pidTblCount=1, pidTbl=[3<host 4711>, ...]}");
}

Test(trace_decode, what_is_cut_off_is_marked)
{
	uint8_t bytes[12] = {0};

	expect_text("580.95.05", "NV2080_CTRL_GPU_GET_PIDS_PARAMS", bytes, sizeof(bytes),
		    "{idType=0, id=0, pidTblCount=0, ...}");
}

Test(trace_decode, the_status_is_found_where_each_release_has_it)
{
	static const struct {
		const char *version, *structure;
		int offset;
	} cases[] = {
	    {"515.43.04", "NVOS64_PARAMETERS", 32},
	    {"580.95.05", "NVOS64_PARAMETERS", 40},
	    {"580.95.05", "NVOS54_PARAMETERS", 28},
	    {"580.95.05", "UVM_INITIALIZE_PARAMS", 8},
	    {"580.95.05", "nv_ioctl_nvos33_parameters_with_fd", 40},
	    {"580.95.05", "nv_ioctl_register_fd_t", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct nvabi_abi *abi = opened(cases[i].version);

		cr_expect_eq(decode_status_offset(abi, cases[i].structure), cases[i].offset, "%s",
			     cases[i].structure);
		nvabi_abi_close(abi);
	}
}

static void expect_json(const char *version, const char *structure, const uint8_t *bytes,
			uint32_t size)
{
	struct text out cleanup_text = decoded(version, structure, bytes, size, NULL, true);
	enum json_tokener_error error;
	struct json_tokener *tokener = json_tokener_new_ex(64);
	struct json_object *object;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, out.bytes, (int)out.length + 1);
	error = json_tokener_get_error(tokener);
	cr_assert(object && error == json_tokener_success, "%s %s: %s: %.400s", version, structure,
		  json_tokener_error_desc(error), out.bytes);
	json_object_put(object);
	json_tokener_free(tokener);
}

/* Of all calls, with bytes of any kind, zeros and a text. */
Test(trace_decode, every_structure_of_a_release_is_valid_json_whatever_it_holds)
{
	static const char *const versions[] = {"515.43.04", "535.183.01", "595.45.04"};
	static uint8_t bytes[1 << 20];
	unsigned int seed = 1;

	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		struct nvabi_abi *abi = opened(versions[i]);
		struct nvabi_call call;
		unsigned int calls = 0;

		for (uint32_t cursor = 0; nvabi_abi_next(abi, &cursor, &call);) {
			if (!call.structure || call.size > sizeof(bytes))
				continue;
			for (uint32_t at = 0; at < call.size; at++)
				bytes[at] = (uint8_t)(calls % 3 ? rand_r(&seed) : 0);
			expect_json(versions[i], call.structure, bytes, call.size);
			expect_json(versions[i], call.structure, bytes, call.size / 2);
			calls++;
		}
		cr_assert_gt(calls, 1000);
		nvabi_abi_close(abi);
	}
}
