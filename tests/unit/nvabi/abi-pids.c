/* The layouts of the calls that carry PIDs stand in two tables, made by different ways: by hand
 * from numbers that compiled probes printed (nvabi/data/pid-controls), and by nvabi-extract. Here
 * each is held against the other in every release. */
#include "nvabi/abi.h"
#include "nvabi/pids.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct lookup {
	const char *name;
	struct nvabi_field field;
	bool found;
};

static int match(const struct nvabi_field *field, void *context)
{
	struct lookup *lookup = context;

	if (strcmp(field->name, lookup->name))
		return 0;
	lookup->field = *field;
	lookup->found = true;
	return 1;
}

/* The offset of the field, or NVABI_NONE. */
static uint32_t offset_of(struct nvabi_abi *abi, const char *structure, const char *name)
{
	struct lookup lookup = {.name = name};

	nvabi_abi_fields(abi, structure, true, match, &lookup);
	return lookup.found ? lookup.field.offset : NVABI_NONE;
}

static uint32_t count_of(struct nvabi_abi *abi, const char *structure, const char *name)
{
	struct lookup lookup = {.name = name};

	nvabi_abi_fields(abi, structure, true, match, &lookup);
	return lookup.found ? lookup.field.count : 0;
}

static uint32_t size_of(struct nvabi_abi *abi, const char *structure)
{
	uint32_t size = 0, align;

	nvabi_abi_size(abi, structure, &size, &align);
	return size;
}

/* Which field of the parameters a member of the layout is. */
static const struct {
	const char *control;
	size_t member;
	const char *field;
} members[] = {
#define MEMBER(control, member, field)                                                             \
	{                                                                                          \
		control, offsetof(struct nvabi_pid_control, member), field                         \
	}
    MEMBER("NV0000_CTRL_CMD_GPUACCT_SET_ACCOUNTING_STATE", gpu_id, "gpuId"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_SET_ACCOUNTING_STATE", pid, "pid"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_STATE", gpu_id, "gpuId"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_STATE", pid, "pid"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", gpu_id, "gpuId"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", pid, "pid"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", acct_sub_pid, "subPid"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", acct_gpu_util, "gpuUtil"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", acct_fb_util, "fbUtil"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", acct_max_fb_usage, "maxFbUsage"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", acct_start_time, "startTime"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO", acct_end_time, "endTime"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS", gpu_id, "gpuId"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS", pid, "pid"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS", list_first, "pidTbl"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS", list_count, "pidCount"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_CLEAR_ACCOUNTING_DATA", gpu_id, "gpuId"),
    MEMBER("NV0000_CTRL_CMD_GPUACCT_CLEAR_ACCOUNTING_DATA", pid, "pid"),
    MEMBER("NV0000_CTRL_CMD_NVD_GET_RCERR_RPT", pid, "processId"),
    MEMBER("NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO", list_count, "sessionInfoTblEntry"),
    MEMBER("NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO", list_pointer, "sessionInfoTbl"),
    MEMBER("NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO_V2", list_count, "sessionInfoTblEntry"),
    MEMBER("NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO_V2", list_first, "sessionInfoTbl"),
    MEMBER("NV2080_CTRL_GPU_GET_NVFBC_SW_SESSION_INFO", list_count, "sessionInfoCount"),
    MEMBER("NV2080_CTRL_GPU_GET_NVFBC_SW_SESSION_INFO", list_first, "sessionInfoTbl"),
    MEMBER("NV2080_CTRL_CMD_GPU_GET_PIDS", list_count, "pidTblCount"),
    MEMBER("NV2080_CTRL_CMD_GPU_GET_PIDS", list_first, "pidTbl"),
    MEMBER("NV2080_CTRL_CMD_GPU_GET_PID_INFO", list_count, "pidInfoListCount"),
    MEMBER("NV2080_CTRL_CMD_GPU_GET_PID_INFO", list_first, "pidInfoList"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2", buffer_size, "bufSize"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2", sample_count, "count"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2", tracker, "tracker"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2", list_first, "samples"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES", buffer_size, "bufSize"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES", sample_count, "count"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES", tracker, "tracker"),
    MEMBER("NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES", list_pointer, "pSamples"),
    MEMBER("NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID", all_users, "bAllUsers"),
    MEMBER("NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID_V2", all_users, "bAllUsers"),
    MEMBER("NV2080_CTRL_CMD_EVENT_VIDEO_BIND_EVTBUF", all_users, "bAllUsers"),
    MEMBER("NV2080_CTRL_CMD_RUSD_GET_SUPPORTED_FEATURES", shared_mask, "supportedFeatures"),
    MEMBER("NV00DE_CTRL_CMD_REQUEST_DATA_POLL", shared_mask, "polledDataMask"),
#undef MEMBER
};

static void expect_members(struct nvabi_abi *abi, const char *version,
			   const struct nvabi_pid_control *control, const char *structure)
{
	unsigned int compared = 0;

	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		uint16_t have;

		if (strcmp(members[i].control, control->name))
			continue;
		memcpy(&have, (const char *)control + members[i].member, sizeof(have));
		cr_assert_eq(have, offset_of(abi, structure, members[i].field), "%s: %s.%s",
			     version, control->name, members[i].field);
		compared++;
	}
	cr_assert_gt(compared, 0, "%s: %s is compared with nothing", version, control->name);
}

static void expect_control(struct nvabi_abi *abi, const char *version,
			   const struct nvabi_pid_control *control)
{
	struct nvabi_call call;

	if (control->raw) /* not exported, and its name is in no header */
		return;
	cr_assert(nvabi_abi_by_name(abi, control->name, &call), "%s: %s", version, control->name);
	cr_assert_eq(call.number, control->cmd, "%s: %s", version, control->name);
	cr_assert_eq(call.size, control->size, "%s: %s", version, control->name);
	expect_members(abi, version, control, call.structure);
}

static void expect_pid_info_entry(struct nvabi_abi *abi, const struct nvabi_pid_control *info)
{
	static const char entry[] = "NV2080_CTRL_GPU_PID_INFO";
	static const char usage[] = "NV2080_CTRL_GPU_PID_INFO_VIDEO_MEMORY_USAGE_DATA";

	cr_assert_eq(info->list_stride, size_of(abi, entry));
	cr_assert_eq(info->entry_pid, offset_of(abi, entry, "pid"));
	cr_assert_eq(info->entry_index, offset_of(abi, entry, "index"));
	cr_assert_eq(info->entry_result, offset_of(abi, entry, "result"));
	cr_assert_eq(info->entry_data, offset_of(abi, entry, "data"));
	cr_assert_eq(info->entry_data_count * 8U, size_of(abi, usage));
	cr_assert_eq(info->entry_smc, offset_of(abi, entry, "smcSubscription"));
	cr_assert_eq(info->list_capacity,
		     count_of(abi, "NV2080_CTRL_GPU_GET_PID_INFO_PARAMS", "pidInfoList"));
}

static void expect_samples(struct nvabi_abi *abi, const struct nvabi_pid_control *samples)
{
	static const char *const engines[] = {"fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"};
	static const char sample[] = "NV2080_CTRL_PERF_GPUMON_PERFMON_UTIL_SAMPLE";
	char path[64];

	cr_assert_eq(samples->list_stride, size_of(abi, sample));
	cr_assert_eq(samples->sample_timestamp, offset_of(abi, sample, "base.timeStamp"));
	for (unsigned int i = 0; i < NVABI_ENGINES; i++) {
		const struct nvabi_engine_layout *engine = &samples->engine[i];

		snprintf(path, sizeof(path), "%s.util", engines[i]);
		cr_assert_eq(engine->util, offset_of(abi, sample, path));
		snprintf(path, sizeof(path), "%s.procId", engines[i]);
		cr_assert_eq(engine->proc_id, offset_of(abi, sample, path));
		snprintf(path, sizeof(path), "%s.subProcessID", engines[i]);
		cr_assert_eq(engine->sub_process_id, offset_of(abi, sample, path));
		snprintf(path, sizeof(path), "%s.pOsPidInfo", engines[i]);
		cr_assert_eq(engine->os_pid_info, offset_of(abi, sample, path));
		cr_assert_eq(i < samples->engine_count, engine->proc_id != NVABI_NONE);
	}
	cr_assert_eq(
	    samples->list_capacity,
	    count_of(abi, "NV2080_CTRL_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2_PARAMS", "samples"));
}

Test(abi_pids, layouts_of_pids_agree_with_the_whole_abi_in_every_release)
{
	unsigned int compared = 0;

	for (uint32_t r = 0; r < nvabi_release_count(); r++) {
		const struct nvabi_version *version = nvabi_release_version(r);
		char text[NVABI_VERSION_TEXT];
		struct nvabi_pids pids;
		struct nvabi_abi *abi;

		nvabi_version_format(version, text);
		if (nvabi_abi_open(version, &abi)) {
			cr_assert_eq(version->parts, 1, "%s", text);
			continue;
		}
		cr_assert_eq(nvabi_pids_compose(version, &pids), 0);
		for (uint32_t i = 0; i < pids.control_count; i++)
			expect_control(abi, text, &pids.control[i]);
		expect_pid_info_entry(abi, nvabi_pids_find(&pids, 0x2080018e));
		expect_samples(abi, nvabi_pids_find(&pids, 0x20802096));
		nvabi_abi_close(abi);
		compared++;
	}
	cr_assert_eq(compared, 193);
}

/* Controls with a PID in their parameters that nvabi/data/pid-controls leaves out, and why. */
static const char *const left_out[] = {
    /* Answered by firmware, for administrators of profiling only. */
    "NV90CC_CTRL_CMD_HWPM_GET_RESERVATION_INFO",
    /* Hosts of virtual machines: PIDs of the virtual machines' own programs. */
    "NV0000_CTRL_CMD_VGPU_GET_START_DATA",
    "NVA081_CTRL_CMD_VGPU_CONFIG_",
    "NVA084_CTRL_CMD_KERNEL_HOST_VGPU_DEVICE_SET_GUEST_ID",
    /* Internal: users get NV_ERR_NOT_SUPPORTED. */
    "NV2080_CTRL_CMD_VGPU_MGR_INTERNAL_",
};

static bool is_left_out(const char *name)
{
	for (size_t i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
		if (!strncmp(name, left_out[i], strlen(left_out[i])))
			return true;
	return false;
}

static int find_pid(const struct nvabi_field *field, void *context)
{
	*(bool *)context |= field->role == NVABI_ROLE_PID;
	return 0;
}

Test(abi_pids, no_control_with_a_pid_is_forgotten)
{
	for (uint32_t r = 0; r < nvabi_release_count(); r++) {
		struct nvabi_pids pids;
		struct nvabi_call call;
		struct nvabi_abi *abi;
		uint32_t cursor = 0;

		if (nvabi_abi_open(nvabi_release_version(r), &abi))
			continue;
		nvabi_pids_compose(nvabi_release_version(r), &pids);
		while (nvabi_abi_next(abi, &cursor, &call)) {
			bool has_pid = false;

			if (call.kind != NVABI_CONTROL || !call.structure)
				continue;
			nvabi_abi_fields(abi, call.structure, true, find_pid, &has_pid);
			if (has_pid && !nvabi_pids_find(&pids, call.number))
				cr_assert(is_left_out(call.name), "%s has a PID", call.name);
		}
		nvabi_abi_close(abi);
	}
}
