/* The driver's frontend structures and numbers that the supervisor itself reads and writes, the
 * same in every release from 515.43.04 to 595.45.04 (nvos.h, nv-ioctl.h, nv-ioctl-numbers.h,
 * nvstatuscodes.h, class headers). Names are the driver's own. */
#ifndef NVABI_RM_H
#define NVABI_RM_H

#include <stdint.h>

enum {
	NV_IOCTL_MAGIC = 'F',
	NV_ESC_RM_ALLOC_MEMORY = 0x27,
	NV_ESC_RM_CONTROL = 0x2a,
	NV_ESC_RM_ALLOC = 0x2b,
	NV_ESC_RM_VID_HEAP_CONTROL = 0x4a,
	NV_ESC_IOCTL_XFER_CMD = 211,
	NV_MAJOR_DEVICE_NUMBER = 195,
	NV_MODESET_DEVICE_MINOR = 254,
	NV_CONTROL_DEVICE_MINOR = 255,
};

/* The parameters of NV_ESC_RM_CONTROL (nvos.h: NVOS54_PARAMETERS), 32 bytes. */
struct nvos54_parameters {
	uint32_t hClient;
	uint32_t hObject;
	uint32_t cmd;
	uint32_t flags;
	uint64_t params; /* user pointer */
	uint32_t paramsSize;
	uint32_t status; /* out: NV_STATUS */
};

/* The envelope of NV_ESC_IOCTL_XFER_CMD (nv-ioctl.h: nv_ioctl_xfer_t), 16 bytes. */
struct nv_ioctl_xfer {
	uint32_t cmd; /* the bare number, NV_ESC_RM_CONTROL */
	uint32_t size;
	uint64_t ptr;
};

_Static_assert(sizeof(struct nvos54_parameters) == 32, "NVOS54_PARAMETERS");
_Static_assert(sizeof(struct nv_ioctl_xfer) == 16, "nv_ioctl_xfer_t");

/* The request as every NVIDIA library writes it: _IOWR('F', 0x2a, 32 bytes). The driver compares
 * number and size only: see nvabi_watched_ioctls(). */
#define NVABI_RM_CONTROL_REQUEST 0xc020462aU
#define NVABI_XFER_REQUEST	 0xc01046d3U

/* NV_STATUS values (nvstatuscodes.h). */
enum nv_status {
	NV_OK = 0x00000000,
	NV_ERR_INSUFFICIENT_PERMISSIONS = 0x0000001b,
	NV_ERR_INVALID_ADDRESS = 0x0000001e,
	NV_ERR_INVALID_ARGUMENT = 0x0000001f,
	NV_ERR_INVALID_CLASS = 0x00000022,
	NV_ERR_INVALID_CLIENT = 0x00000023,
	NV_ERR_INVALID_PARAM_STRUCT = 0x0000003a,
	NV_ERR_MISSING_TABLE_ENTRY = 0x0000004a,
	NV_ERR_NO_MEMORY = 0x00000051,
	NV_ERR_NOT_SUPPORTED = 0x00000056,
	NV_ERR_OBJECT_NOT_FOUND = 0x00000057,
	NV_ERR_OPERATING_SYSTEM = 0x00000059,
	NV_ERR_GENERIC = 0x0000ffff,
};

/* Classes that are allocated, and those by which the processes of a GPU are asked for (GET_PIDS, idType
 * CLASS). */
enum {
	NV01_DEVICE_0 = 0x80,
	NV20_SUBDEVICE_0 = 0x2080,
	NV2080_CTRL_GPU_GET_PIDS_ID_TYPE_CLASS = 0,
};

enum {
	NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT = 950,
	NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT = 200,
	NV0000_GPUACCT_PID_MAX_COUNT = 4000,
	NV2080_CTRL_GPU_NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES = 512,
};

#endif
