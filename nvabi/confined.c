#include "nvabi/confined.h"

/* Behind each row the sizes that releases take, in bytes. */
static const struct nvabi_ioctl confined[] = {
    {"NVKMS_IOCTL_CMD", 0x003c00ff, 0x00100000},		      /* 16 */
    {"NV_ESC_RM_ALLOC_MEMORY", 0x001000ff, 0x00100027},		      /* 56 */
    {"NV_ESC_RM_ALLOC_OBJECT", 0x000400ff, 0x00040028},		      /* 20 */
    {"NV_ESC_RM_FREE", 0x001800ff, 0x00100029},			      /* 16 */
    {"NV_ESC_RM_CONTROL", 0x002400ff, 0x0020002a},		      /* 32 */
    {"NV_ESC_RM_ALLOC", 0x002400ff, 0x0020002b},		      /* 32, 40, 48 */
    {"NV_ESC_RM_DUP_OBJECT", 0x001000ff, 0x00100034},		      /* 28 */
    {"NV_ESC_RM_SHARE", 0x001000ff, 0x00100035},		      /* 24 */
    {"NV_ESC_RM_I2C_ACCESS", 0x003800ff, 0x00200039},		      /* 32 */
    {"NV_ESC_RM_IDLE_CHANNELS", 0x003800ff, 0x00380041},	      /* 56 */
    {"NV_ESC_RM_VID_HEAP_CONTROL", 0x008000ff, 0x0080004a},	      /* 184 */
    {"NV_ESC_RM_ACCESS_REGISTRY", 0x004000ff, 0x0040004d},	      /* 72 */
    {"NV_ESC_RM_MAP_MEMORY", 0x001000ff, 0x0010004e},		      /* 56 */
    {"NV_ESC_RM_UNMAP_MEMORY", 0x002800ff, 0x0020004f},		      /* 32 */
    {"NV_ESC_RM_GET_EVENT_DATA", 0x003800ff, 0x00100052},	      /* 16 */
    {"NV_ESC_RM_ALLOC_CONTEXT_DMA2", 0x000800ff, 0x00080054},	      /* 56 */
    {"NV_ESC_RM_MAP_MEMORY_DMA", 0x006000ff, 0x00200057},	      /* 56 */
    {"NV_ESC_RM_MAP_MEMORY_DMA", 0x006000ff, 0x00400057},	      /* 64 */
    {"NV_ESC_RM_UNMAP_MEMORY_DMA", 0x006000ff, 0x00200058},	      /* 40, 48 */
    {"NV_ESC_RM_BIND_CONTEXT_DMA", 0x001000ff, 0x00100059},	      /* 16 */
    {"NV_ESC_RM_UPDATE_DEVICE_MAPPING_INFO", 0x000800ff, 0x0008005e}, /* 40 */
    {"NV_ESC_RM_LOCKLESS_DIAGNOSTIC", 0x001000ff, 0x0010005f},	      /* 4024, 15412 */
    {"NV_ESC_CARD_INFO", 0x000000ff, 0x000000c8},		      /* any */
    {"NV_ESC_REGISTER_FD", 0x000400ff, 0x000400c9},		      /* 4 */
    {"NV_ESC_ALLOC_OS_EVENT", 0x001000ff, 0x001000ce},		      /* 16 */
    {"NV_ESC_FREE_OS_EVENT", 0x001800ff, 0x001000cf},		      /* 16 */
    {"NV_ESC_STATUS_CODE", 0x000c00ff, 0x000c00d1},		      /* 12 */
    {"NV_ESC_CHECK_VERSION_STR", 0x000800ff, 0x000800d2},	      /* 72 */
    {"NV_ESC_IOCTL_XFER_CMD", 0x001000ff, 0x001000d3},		      /* 16 */
    {"NV_ESC_ATTACH_GPUS_TO_FD", 0x000000ff, 0x000000d4},	      /* any */
    {"NV_ESC_QUERY_DEVICE_INTR", 0x000000ff, 0x000000d5},	      /* any */
    {"NV_ESC_SYS_PARAMS", 0x000800ff, 0x000800d6},		      /* 8 */
    {"NV_ESC_NUMA_INFO", 0x002000ff, 0x002000d7},		      /* 552, 560 */
    {"NV_ESC_SET_NUMA_STATUS", 0x000400ff, 0x000400d8},		      /* 4 */
    {"NV_ESC_EXPORT_TO_DMABUF_FD", 0x002000ff, 0x002000d9},	      /* 2600, 2608 */
    {"NV_ESC_WAIT_OPEN_COMPLETE", 0x000800ff, 0x000800da},	      /* 8 */
    /* UVM's: no direction, no magic above 1, and a number of at least 8. */
    {"UVM_*", 0xc000fe08, 0x00000008},
    {"UVM_*", 0xc000fe10, 0x00000010},
    {"UVM_*", 0xc000fe20, 0x00000020},
    {"UVM_*", 0xc000fe40, 0x00000040},
    {"UVM_*", 0xc000fe80, 0x00000080},
    {"UVM_TEST_*", 0xc000ff00, 0x00000100},
    {"UVM_INITIALIZE", 0xe000fe00, 0x20000000},
};

enum { CONFINED = sizeof(confined) / sizeof(confined[0]), UVM = 7 };

const struct nvabi_ioctl *nvabi_confined_ioctls(uint32_t *count)
{
	*count = CONFINED;
	return confined;
}

const struct nvabi_ioctl *nvabi_confined_uvm(uint32_t *count)
{
	*count = UVM;
	return confined + CONFINED - UVM;
}

const uint8_t *nvabi_compute_uvm(uint32_t *count)
{
	static const uint8_t numbers[] = {
	    23, /* UVM_CREATE_RANGE_GROUP */
	    24, /* UVM_DESTROY_RANGE_GROUP */
	    26, /* UVM_UNREGISTER_GPU_VASPACE */
	    28, /* UVM_UNREGISTER_CHANNEL */
	    29, /* UVM_ENABLE_PEER_ACCESS */
	    30, /* UVM_DISABLE_PEER_ACCESS */
	    31, /* UVM_SET_RANGE_GROUP */
	    34, /* UVM_FREE */
	    38, /* UVM_UNREGISTER_GPU */
	    39, /* UVM_PAGEABLE_MEM_ACCESS */
	    42, /* UVM_SET_PREFERRED_LOCATION */
	    43, /* UVM_UNSET_PREFERRED_LOCATION */
	    44, /* UVM_ENABLE_READ_DUPLICATION */
	    45, /* UVM_DISABLE_READ_DUPLICATION */
	    46, /* UVM_SET_ACCESSED_BY */
	    47, /* UVM_UNSET_ACCESSED_BY */
	    51, /* UVM_MIGRATE */
	    53, /* UVM_MIGRATE_RANGE_GROUP */
	    65, /* UVM_MAP_DYNAMIC_PARALLELISM_REGION */
	    66, /* UVM_UNMAP_EXTERNAL */
	    68, /* UVM_ALLOC_SEMAPHORE_POOL */
	    72, /* UVM_VALIDATE_VA_RANGE */
	    73, /* UVM_CREATE_EXTERNAL_RANGE */
	    75, /* UVM_MM_INITIALIZE */
	};

	*count = sizeof(numbers);
	return numbers;
}
