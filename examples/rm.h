/* The resource manager's calls as the examples need them: names, numbers and structures are the
 * driver's own (nvos.h, nv-ioctl-numbers.h, class and ctrl headers of the public driver source,
 * alike in 515.43.04 to 595.45.04 unless a comment says otherwise). */
#ifndef EXAMPLES_RM_H
#define EXAMPLES_RM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* NV_ESC_*: the ioctl numbers, magic 'F' */
       NV_ESC_RM_FREE = 0x29,
       NV_ESC_RM_CONTROL = 0x2a,
       NV_ESC_RM_ALLOC = 0x2b,
       NV_ESC_CARD_INFO = 200,
       NV_ESC_REGISTER_FD = 201,
       NV_ESC_CHECK_VERSION_STR = 210,
       NV_ESC_IOCTL_XFER_CMD = 211,
       NV_ESC_ATTACH_GPUS_TO_FD = 212,
       NV_ESC_SYS_PARAMS = 214,
};

enum { /* NV_STATUS */
       NV_OK = 0,
       NV_ERR_INSERT_DUPLICATE_NAME = 0x19,
       NV_ERR_INSUFFICIENT_RESOURCES = 0x1a,
       NV_ERR_INSUFFICIENT_PERMISSIONS = 0x1b,
       NV_ERR_BUFFER_TOO_SMALL = 0x2,
       NV_ERR_INVALID_ADDRESS = 0x1e,
       NV_ERR_INVALID_ARGUMENT = 0x1f,
       NV_ERR_INVALID_CLASS = 0x22,
       NV_ERR_INVALID_CLIENT = 0x23,
       NV_ERR_INVALID_DEVICE = 0x26,
       NV_ERR_INVALID_FLAGS = 0x29,
       NV_ERR_INVALID_OBJECT_PARENT = 0x36,
       NV_ERR_INVALID_PARAM_STRUCT = 0x3a,
       NV_ERR_MISSING_TABLE_ENTRY = 0x4a,
       NV_ERR_NO_MEMORY = 0x51,
       NV_ERR_NOT_SUPPORTED = 0x56,
       NV_ERR_OBJECT_NOT_FOUND = 0x57,
       NV_ERR_LIB_RM_VERSION_MISMATCH = 0x6a,
};

enum { /* classes */
       NV01_ROOT = 0x0,
       NV01_ROOT_NON_PRIV = 0x1,
       NV01_ROOT_CLIENT = 0x41,
       NV01_MEMORY_SYSTEM = 0x3e,
       NV01_MEMORY_LOCAL_USER = 0x40,
       NV01_DEVICE_0 = 0x80,
       RM_USER_SHARED_DATA = 0xde,
       NV20_SUBDEVICE_0 = 0x2080,
       MPS_COMPUTE = 0x900e,
       FECS_EVENT_BUFFER = 0x90cd, /* NV_EVENT_BUFFER */
       KEPLER_CHANNEL_GROUP_A = 0xa06c,
       NVENC_SW_SESSION = 0xa0bc,
       NVFBC_SW_SESSION = 0xa0bd,
       /* Of the oldest GPUs that public releases drive: all releases have them. */
       TURING_CHANNEL_GPFIFO_A = 0xc46f,
       TURING_A = 0xc597,
       TURING_COMPUTE_A = 0xc5c0,
};

enum { /* controls */
       NV0000_CTRL_CMD_SYSTEM_GET_BUILD_VERSION = 0x101,
       NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS = 0x201,
       NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2 = 0x205,
       NV0000_CTRL_CMD_GPU_GET_PROBED_IDS = 0x214,
       NV0000_CTRL_CMD_GPU_ATTACH_IDS = 0x215,
       NV0000_CTRL_CMD_GPU_DETACH_IDS = 0x216,
       NV0000_CTRL_CMD_NVD_GET_RCERR_RPT = 0x607,
       NV0000_CTRL_CMD_GPUACCT_SET_ACCOUNTING_STATE = 0xb01,
       NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_STATE = 0xb02,
       NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO = 0xb03,
       NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS = 0xb04,
       NV0000_CTRL_CMD_GPUACCT_CLEAR_ACCOUNTING_DATA = 0xb05,
       NV0000_CTRL_CMD_SET_SUB_PROCESS_ID = 0x901,
       NV00DE_CTRL_CMD_REQUEST_DATA_POLL = 0x00de0001,	   /* 545.23.06 on */
       NV00DE_CTRL_CMD_REQUEST_POLL_INTERVAL = 0x00de0002, /* 590.44.01 on */
       NV2080_CTRL_CMD_GPU_GET_NAME_STRING = 0x20800110,
       NV2080_CTRL_CMD_GPU_GET_ID = 0x20800142,
       NV2080_CTRL_CMD_GPU_GET_GID_INFO = 0x2080014a,
       NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO = 0x2080016e,
       NV2080_CTRL_CMD_GPU_GET_NVFBC_SW_SESSION_INFO = 0x2080017c,
       NV2080_CTRL_CMD_GPU_GET_PIDS = 0x2080018d,
       NV2080_CTRL_CMD_GPU_GET_PID_INFO = 0x2080018e,
       NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO_V2 = 0x208001af, /* 530.30.02 on */
       NV2080_CTRL_CMD_GPU_RUSD_GET_SUPPORTED_FEATURES = 0x208001ea,  /* 590.44.01 on */
       NV2080_CTRL_CMD_GPU_RUSD_SET_FEATURES = 0x208001eb,	      /* 590.44.01 on */
       NV2080_CTRL_CMD_EVENT_VIDEO_BIND_EVTBUF = 0x20800309,	      /* 545.29.06 on */
       NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID = 0x20801231,
       NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID_V2 = 0x20801238,
       NV2080_CTRL_CMD_FB_GET_INFO_V2 = 0x20801303,
       NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES = 0x2080a083, /* to 550.163.01 */
       NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2 = 0x20802096,
};

enum {
	NV0000_CTRL_GPU_MAX_ATTACHED_GPUS = 32,
	NV0000_CTRL_GPU_INVALID_ID = 0xffffffff,
	NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT = 950,
	NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT = 200,
	NV0000_GPUACCT_PID_MAX_COUNT = 4000,
	NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES = 512,
	NV2080_GPU_NVFBC_MAX_SESSION_COUNT = 256,
	NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL = 2,
	NV_SUBPROC_NAME_MAX_LENGTH = 100,
};

#define NV2080_GPUMON_PID_INVALID UINT32_MAX

struct nvos00_parameters { /* NV_ESC_RM_FREE */
	uint32_t hRoot, hObjectParent, hObjectOld, status;
};

/* NV_ESC_RM_ALLOC, 32 bytes. Before 535.43.02 there is no paramsSize: status stands in its place.
 */
struct nvos21_parameters {
	uint32_t hRoot, hObjectParent, hObjectNew, hClass;
	uint64_t pAllocParms;
	uint32_t paramsSize, status;
};

/* NV_ESC_RM_ALLOC with rights. Before 535.43.02 there is no paramsSize, and 40 bytes in all:
 * flags and status move up by one place, and before 525.47.04 status by two. */
struct nvos64_parameters {
	uint32_t hRoot, hObjectParent, hObjectNew, hClass;
	uint64_t pAllocParms, pRightsRequested;
	uint32_t paramsSize, flags, status, pad;
};

struct nvos54_parameters { /* NV_ESC_RM_CONTROL */
	uint32_t hClient, hObject, cmd, flags;
	uint64_t params;
	uint32_t paramsSize, status;
};

struct nv_ioctl_xfer {
	uint32_t cmd, size;
	uint64_t ptr;
};

struct nv_ioctl_card_info { /* 72 bytes */
	uint8_t valid;
	uint32_t domain;
	uint8_t bus, slot, function;
	uint16_t vendor_id, device_id;
	uint32_t gpu_id;
	uint16_t interrupt_line;
	uint64_t reg_address, reg_size, fb_address, fb_size;
	uint32_t minor_number;
	uint8_t dev_name[10];
};

struct nv_ioctl_rm_api_version {
	uint32_t cmd, reply; /* cmd: 0 strict, '1' relaxed, '2' query */
	char versionString[64];
};

struct nv0080_alloc_parameters {
	uint32_t deviceId, hClientShare, hTargetClient, hTargetDevice, flags;
	uint64_t vaSpaceSize, vaStartInternal, vaLimitInternal;
	uint32_t vaMode;
};

/* 120 bytes before 545.23.06: no numaNode. */
struct nv_memory_allocation_params {
	uint32_t owner, type, flags, width, height;
	int32_t pitch;
	uint32_t attr, attr2, format, comprCovg, zcullCovg;
	uint64_t rangeLo, rangeHi, size, alignment, offset, limit, address;
	uint32_t ctagOffset, hVASpace, internalflags, tag;
	int32_t numaNode;
};

struct nva0bc_alloc_parameters { /* NVENC_SW_SESSION */
	uint32_t codecType, hResolution, vResolution, version, hMem;
};

struct nva0bd_alloc_parameters { /* NVFBC_SW_SESSION */
	uint32_t displayOrdinal, sessionType, sessionFlags, hMaxResolution, vMaxResolution;
};

struct gpu_id_info_v2 {
	uint32_t gpuId, gpuFlags, deviceInstance, subDeviceInstance, sliStatus, boardId;
	uint32_t gpuInstance;
	int32_t numaId;
};

struct get_pids_params {
	uint32_t idType, id, pidTblCount, pidTbl[NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT];
};

/* NV2080_CTRL_GPU_PID_INFO of every public release, 72 bytes. R460 lacks the three protected
 * counts (48 bytes), R440 the SMC ids too (40 bytes). */
struct pid_info {
	uint32_t pid, index, result;
	uint64_t memPrivate, memSharedOwned, memSharedDuped;
	uint64_t protectedMemPrivate, protectedMemSharedOwned, protectedMemSharedDuped;
	uint32_t computeInstanceId, gpuInstanceId;
};

struct acct_proc_info { /* NV0000_CTRL_GPUACCT_GET_PROC_ACCOUNTING_INFO, 48 bytes */
	uint32_t gpuId, pid, subPid, gpuUtil, fbUtil;
	uint64_t maxFbUsage, startTime, endTime;
};

struct acct_pids { /* NV0000_CTRL_GPUACCT_GET_ACCOUNTING_PIDS, 16012 bytes */
	uint32_t gpuId, pid, pidTbl[NV0000_GPUACCT_PID_MAX_COUNT], pidCount;
};

struct rcerr_report { /* NV0000_CTRL_CMD_NVD_GET_RCERR_RPT_PARAMS, 2436 bytes */
	uint16_t reqIdx, rptIdx;
	uint32_t GPUTag, rptTime;
	uint16_t startIdx, endIdx, rptType;
	uint32_t flags;
	uint16_t rptCount;
	uint32_t owner, processId;
	struct {
		uint32_t tag, value, attribute;
	} report[200];
};

struct bind_event_buffer { /* FECS and VIDEO; FECS V2 has a reasonCode behind it */
	uint32_t hEventBuffer, recordSize, levelOfDetail, eventFilter;
	uint8_t bAllUsers;
};

struct util_samples_v1 { /* NV2080_CTRL_GPUMON_SAMPLES */
	uint8_t type;
	uint32_t bufSize, count, tracker;
	uint64_t pSamples;
};

struct nvenc_session {
	uint32_t processId, subProcessId, sessionId, codecType, hResolution, vResolution;
	uint32_t averageEncodeFps, averageEncodeLatency;
};

struct nvenc_sessions { /* the embedded pointer points to 512 entries */
	uint32_t sessionInfoTblEntry;
	uint64_t sessionInfoTbl;
};

struct nvenc_sessions_v2 {
	uint32_t sessionInfoTblEntry;
	struct nvenc_session sessionInfoTbl[NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES];
};

struct nvfbc_session {
	uint32_t processId, subProcessId, vgpuInstanceId, sessionId, sessionType, displayOrdinal;
	uint32_t sessionFlags, hMaxResolution, vMaxResolution, hResolution, vResolution;
	uint32_t averageFPS, averageLatency;
};

struct nvfbc_sessions {
	uint32_t sessionInfoCount;
	struct nvfbc_session sessionInfoTbl[NV2080_GPU_NVFBC_MAX_SESSION_COUNT];
};

struct util_samples_header { /* before the samples of ..._UTIL_SAMPLES_V2 */
	uint8_t type;
	uint32_t bufSize, count, tracker;
};

_Static_assert(sizeof(struct nvos21_parameters) == 32, "NVOS21_PARAMETERS");
_Static_assert(sizeof(struct nvos64_parameters) == 48, "NVOS64_PARAMETERS");
_Static_assert(sizeof(struct nvos54_parameters) == 32, "NVOS54_PARAMETERS");
_Static_assert(sizeof(struct nv_ioctl_card_info) == 72, "nv_ioctl_card_info_t");
_Static_assert(sizeof(struct nv0080_alloc_parameters) == 56, "NV0080_ALLOC_PARAMETERS");
_Static_assert(sizeof(struct nv_memory_allocation_params) == 128, "NV_MEMORY_ALLOCATION_PARAMS");
_Static_assert(sizeof(struct get_pids_params) == 3812, "NV2080_CTRL_GPU_GET_PIDS_PARAMS");
_Static_assert(sizeof(struct pid_info) == 72, "NV2080_CTRL_GPU_PID_INFO");
_Static_assert(sizeof(struct acct_proc_info) == 48, "GET_PROC_ACCOUNTING_INFO_PARAMS");
_Static_assert(sizeof(struct acct_pids) == 16012, "GET_ACCOUNTING_PIDS_PARAMS");
_Static_assert(sizeof(struct rcerr_report) == 2436, "NVD_GET_RCERR_RPT_PARAMS");
_Static_assert(sizeof(struct util_samples_v1) == 24, "NV2080_CTRL_GPUMON_SAMPLES");
_Static_assert(sizeof(struct bind_event_buffer) == 20, "FECS_BIND_EVTBUF_FOR_UID_PARAMS");
_Static_assert(sizeof(struct nvenc_sessions) == 16, "GET_NVENC_SW_SESSION_INFO_PARAMS");
_Static_assert(sizeof(struct nvenc_sessions_v2) == 16388, "NVENC_SW_SESSION_INFO_V2_PARAMS");
_Static_assert(sizeof(struct nvfbc_sessions) == 13316, "NVFBC_SW_SESSION_INFO_PARAMS");
_Static_assert(sizeof(struct util_samples_header) == 16, "head of UTIL_SAMPLES_V2_PARAMS");

#endif
