/* Escapes beyond those of examples/rm.h, as 580.95.05 has them; what differs in other releases is
 * said where it is used. For simrm and for the programs that call it in tests. */
#ifndef SIMRM_ESCAPES_H
#define SIMRM_ESCAPES_H

#include <stdint.h>

enum {
	NV_ESC_RM_ALLOC_MEMORY = 0x27,
	NV_ESC_RM_DUP_OBJECT = 0x34,
	NV_ESC_RM_SHARE = 0x35,
	NV_ESC_RM_IDLE_CHANNELS = 0x41,
	NV_ESC_RM_VID_HEAP_CONTROL = 0x4a,
	NV_ESC_RM_MAP_MEMORY = 0x4e,
	NV_ESC_RM_UNMAP_MEMORY = 0x4f,
	NV_ESC_RM_GET_EVENT_DATA = 0x52,
	NV_ESC_RM_ALLOC_CONTEXT_DMA2 = 0x54,
	NV_ESC_RM_MAP_MEMORY_DMA = 0x57,
	NV_ESC_RM_UNMAP_MEMORY_DMA = 0x58,
	NV_ESC_RM_UPDATE_DEVICE_MAPPING_INFO = 0x5e,
	NV_ESC_ALLOC_OS_EVENT = 206,
	NV_ESC_FREE_OS_EVENT = 207,
	NV_ESC_NUMA_INFO = 215,
	NV_ESC_EXPORT_TO_DMABUF_FD = 217,
	NV_ESC_WAIT_OPEN_COMPLETE = 218, /* 550.40.07 on */
};

enum { /* NV_STATUS */
       NV_ERR_ILLEGAL_ACTION = 0x16,
       NV_ERR_INVALID_EVENT = 0x28,
       NV_ERR_INVALID_LIMIT = 0x2e,
       NV_ERR_INVALID_PARAMETER = 0x3b,
       NV_ERR_OPERATING_SYSTEM = 0x59,
       NV_ERR_OUT_OF_RANGE = 0x5b,
       NV_ERR_STATE_IN_USE = 0x63,
};

enum { /* classes */
       NV01_CONTEXT_DMA = 0x2,
       NV01_EVENT = 0x5,
       NV01_MEMORY_VIRTUAL = 0x70,
       NV01_MEMORY_SYSTEM_OS_DESCRIPTOR = 0x71,
       NV01_EVENT_OS_EVENT = 0x79,
       FERMI_VASPACE_A = 0x90f1,
};

enum { /* functions of NV_ESC_RM_VID_HEAP_CONTROL */
       NVOS32_ALLOC_SIZE = 2,
       NVOS32_FREE = 3,
       NVOS32_INFO = 5,
       NVOS32_GET_MEM_ALIGNMENT = 18,
       NVOS32_ALLOC_OS_DESCRIPTOR = 27,
};

enum { RS_SHARE_TYPE_ALL = 1, RS_SHARE_TYPE_OS_SECURITY_TOKEN = 2 };

struct nvos02_with_fd { /* NV_ESC_RM_ALLOC_MEMORY */
	uint32_t hRoot, hObjectParent, hObjectNew, hClass, flags;
	uint64_t pMemory, limit;
	uint32_t status, pad;
	int32_t fd, tail;
};

enum { /* NVOS02 flags */
       NVOS02_LOCATION_SHIFT = 8,
       NVOS02_LOCATION_MASK = 0xf,
       NVOS02_COHERENCY_SHIFT = 12,
       NVOS02_COHERENCY_MASK = 0xf,
       NVOS02_COHERENCY_UNCACHED = 0,
       NVOS02_COHERENCY_CACHED = 1,
       NVOS02_COHERENCY_WRITE_BACK = 5,
       NVOS02_ALLOC_MASK = 3,
       NVOS02_ALLOC_NONE = 1,
       NVOS02_MAPPING_SHIFT = 30,
       NVOS02_MAPPING_NO_MAP = 1,
};

struct nvos33_with_fd { /* NV_ESC_RM_MAP_MEMORY */
	uint32_t hClient, hDevice, hMemory;
	uint64_t offset, length, pLinearAddress;
	uint32_t status, flags;
	int32_t fd, tail;
};

struct nvos34_parameters { /* NV_ESC_RM_UNMAP_MEMORY */
	uint32_t hClient, hDevice, hMemory;
	uint64_t pLinearAddress;
	uint32_t status, flags;
};

struct nvos32_parameters { /* NV_ESC_RM_VID_HEAP_CONTROL */
	uint32_t hRoot, hObjectParent, function, hVASpace;
	int16_t ivcHeapNumber;
	uint32_t status;
	uint64_t total, free;
	union {
		struct {
			uint32_t owner, hMemory, type, flags, attr, format, comprCovg, zcullCovg;
			uint32_t partitionStride, width, height;
			uint64_t size, alignment, offset, limit, address, rangeBegin, rangeEnd;
			uint32_t attr2, ctagOffset;
			int32_t numaNode;
		} alloc_size;
		struct {
			uint32_t owner, hMemory, flags;
		} free_memory;
		struct {
			uint32_t attr;
			uint64_t offset, size, base;
		} info;
		struct {
			uint32_t alignType, alignAttr, alignInputFlags;
			uint64_t alignSize;
			uint32_t alignHeight, alignWidth, alignPitch, alignPad, alignMask;
			uint32_t alignKind, alignAdjust, alignAttr2;
		} alignment;
		struct {
			uint32_t hMemory, type, flags, attr, attr2;
			uint64_t descriptor, limit;
			uint32_t descriptorType;
		} os_descriptor;
		unsigned char all[144];
	} data;
};

struct nvos39_parameters { /* NV_ESC_RM_ALLOC_CONTEXT_DMA2 */
	uint32_t hObjectParent, hSubDevice, hObjectNew, hClass, flags, selector, hMemory;
	uint64_t offset, limit;
	uint32_t status;
};

struct nvos46_parameters { /* NV_ESC_RM_MAP_MEMORY_DMA; before 580 without flags2, kindOverride */
	uint32_t hClient, hDevice, hDma, hMemory;
	uint64_t offset, length;
	uint32_t flags, flags2, kindOverride;
	uint64_t dmaOffset;
	uint32_t status;
};

struct nvos46_parameters_550 {
	uint32_t hClient, hDevice, hDma, hMemory;
	uint64_t offset, length;
	uint32_t flags;
	uint64_t dmaOffset;
	uint32_t status;
};

struct nvos47_parameters { /* NV_ESC_RM_UNMAP_MEMORY_DMA; before 550 without size */
	uint32_t hClient, hDevice, hDma, hMemory, flags;
	uint64_t dmaOffset, size;
	uint32_t status;
};

struct nvos47_parameters_535 {
	uint32_t hClient, hDevice, hDma, hMemory, flags;
	uint64_t dmaOffset;
	uint32_t status;
};

struct nvos56_parameters { /* NV_ESC_RM_UPDATE_DEVICE_MAPPING_INFO */
	uint32_t hClient, hDevice, hMemory;
	uint64_t pOldCpuAddress, pNewCpuAddress;
	uint32_t status;
};

struct nv0005_alloc_parameters { /* NV01_EVENT_OS_EVENT */
	uint32_t hParentClient, hSrcResource, hClass, notifyIndex;
	uint64_t data; /* the fd number of NV_ESC_ALLOC_OS_EVENT */
};

enum { NV00FD_CTRL_CMD_ATTACH_GPU = 0xfd0104 };

struct attach_gpu {
	uint32_t hSubdevice, flags;
	uint64_t devDescriptor; /* a file of nvidiaN that is registered to none */
};

struct export_to_dmabuf_fd { /* NV_ESC_EXPORT_TO_DMABUF_FD; 2600 bytes before 570.86.15 */
	int32_t fd;
	uint32_t hClient, totalObjects, numObjects, index;
	uint64_t totalSize;
	uint8_t mappingType, bAllowMmap;
	uint32_t handles[128];
	uint64_t offsets[128], sizes[128];
	uint32_t status;
};

struct nvos55_parameters { /* NV_ESC_RM_DUP_OBJECT */
	uint32_t hClient, hParent, hObject, hClientSrc, hObjectSrc, flags, status;
};

struct nvos57_parameters { /* NV_ESC_RM_SHARE */
	uint32_t hClient, hObject, target, accessMask;
	uint16_t type;
	uint8_t action;
	uint32_t status;
};

struct nvos30_parameters { /* NV_ESC_RM_IDLE_CHANNELS */
	uint32_t hClient, hDevice, hChannel, numChannels;
	uint64_t phClients, phDevices, phChannels;
	uint32_t flags, timeout, status;
};

struct nvos41_parameters { /* NV_ESC_RM_GET_EVENT_DATA */
	uint64_t pEvent;
	uint32_t MoreEvents, status;
};

struct os_event_parameters { /* NV_ESC_ALLOC_OS_EVENT, NV_ESC_FREE_OS_EVENT */
	uint32_t hClient, hDevice, fd, Status;
};

struct numa_info {
	int32_t nid, status;
	uint64_t memblock_size, numa_mem_addr, numa_mem_size;
	uint8_t use_auto_online;
	uint64_t offline_address[64];
	uint32_t offline_addresses;
};

struct wait_open_complete {
	int32_t rc;
	uint32_t adapterStatus;
};

_Static_assert(sizeof(struct nvos02_with_fd) == 56, "nv_ioctl_nvos02_parameters_with_fd");
_Static_assert(sizeof(struct nvos33_with_fd) == 56, "nv_ioctl_nvos33_parameters_with_fd");
_Static_assert(sizeof(struct nvos34_parameters) == 32, "NVOS34_PARAMETERS");
_Static_assert(sizeof(struct nvos32_parameters) == 184, "NVOS32_PARAMETERS");
_Static_assert(sizeof(struct nvos39_parameters) == 56, "NVOS39_PARAMETERS");
_Static_assert(sizeof(struct nvos46_parameters) == 64, "NVOS46_PARAMETERS");
_Static_assert(sizeof(struct nvos46_parameters_550) == 56, "NVOS46_PARAMETERS");
_Static_assert(sizeof(struct nvos47_parameters) == 48, "NVOS47_PARAMETERS");
_Static_assert(sizeof(struct nvos47_parameters_535) == 40, "NVOS47_PARAMETERS");
_Static_assert(sizeof(struct nvos56_parameters) == 40, "NVOS56_PARAMETERS");
_Static_assert(sizeof(struct export_to_dmabuf_fd) == 2608, "nv_ioctl_export_to_dma_buf_fd_t");
_Static_assert(sizeof(struct nvos55_parameters) == 28, "NVOS55_PARAMETERS");
_Static_assert(sizeof(struct nvos57_parameters) == 24, "NVOS57_PARAMETERS");
_Static_assert(sizeof(struct nvos30_parameters) == 56, "NVOS30_PARAMETERS");
_Static_assert(sizeof(struct numa_info) == 560, "nv_ioctl_numa_info_t");
_Static_assert(sizeof(struct os_event_parameters) == 16, "nv_ioctl_alloc_os_event_t");

#endif
