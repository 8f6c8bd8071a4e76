/* Calls that the driver has and no policy allows: each must get what one that the driver does not
 * have gets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/e2e/tour.h"

enum { UNKNOWN_ESCAPE = 0x22, UNKNOWN_CLASS = 0xabcd, UNKNOWN_FUNCTION = 99 };

static void compare(const char *name, int known, int unknown)
{
	char line[128];

	snprintf(line, sizeof(line), "%.80s, %s", name,
		 known == unknown ? "as an unknown one" : "NOT AS AN UNKNOWN ONE");
	say(line, known);
}

static int escape_of(const struct tour *tour, unsigned number, size_t size)
{
	unsigned char data[4096] = {0};

	return tour_escape(tour->rm.ctl, number, size, data);
}

static void escapes(const struct tour *tour)
{
	static const struct {
		const char *name;
		unsigned number, size;
	} refused[] = {
	    {"RM_ALLOC_OBJECT", 0x28, 20},
	    {"RM_CONFIG_GET", 0x32, 32},
	    {"RM_I2C_ACCESS", 0x39, 32},
	    {"RM_ACCESS_REGISTRY", 0x4d, 72},
	    {"RM_ADD_VBLANK_CALLBACK", 0x56, 40},
	    {"RM_BIND_CONTEXT_DMA", 0x59, 16},
	    {"RM_LOCKLESS_DIAGNOSTIC", 0x5f, 4024},
	    {"STATUS_CODE", 209, 12},
	    {"QUERY_DEVICE_INTR", 213, 8},
	    {"QUERY_DEVICE_INTR with more", 213, 24},
	    {"SET_NUMA_STATUS", 216, 4},
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		compare(refused[i].name, escape_of(tour, refused[i].number, refused[i].size),
			escape_of(tour, UNKNOWN_ESCAPE, refused[i].size));
}

static int control(const struct tour *tour, uint32_t object, uint32_t cmd, uint32_t size)
{
	unsigned char params[4096] = {0};

	return rm_control(&tour->client, object, cmd, params, size);
}

static void controls(const struct tour *tour)
{
	static const struct {
		const char *name;
		uint32_t cmd, unknown, size;
	} refused[] = {
	    {"NVD_GET_DUMP", 0x602, 0x6fe, 24},
	    {"NVD_GET_NVLOG", 0x606, 0x6fe, 4},
	    {"SYSTEM_EXECUTE_ACPI_METHOD", 0x130, 0x1fe, 32},
	    {"GPU_INITIALIZE_CTX", 0x2080012d, 0x208001fe, 24},
	    {"HOST_GET_CAPS", 0x801401, 0x8014fe, 16},
	    {"CE_GET_CAPS", 0x20802a01, 0x20802afe, 16},
	    {"RC_READ_VIRTUAL_MEM", 0x20802204, 0x208022fe, 24},
	    {"FECS_BIND_EVTBUF_FOR_UID", 0x20801231, 0x208012fe, 20},
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint32_t object = refused[i].cmd >> 16 == 0x2080 ? tour->subdevice
				  : refused[i].cmd >> 16 == 0x80 ? tour->device
								 : tour->client.handle;

		compare(refused[i].name, control(tour, object, refused[i].cmd, refused[i].size),
			control(tour, object, refused[i].unknown, refused[i].size));
		/* Also where a call that the driver has would be refused earlier. */
		compare("the same on no object",
			control(tour, 0xbad, refused[i].cmd, refused[i].size),
			control(tour, 0xbad, refused[i].unknown, refused[i].size));
	}
}

static void classes(struct tour *tour)
{
	static const struct {
		const char *name;
		uint32_t number;
	} refused[] = {{"NV01_EVENT_KERNEL_CALLBACK", 0x78},
		       {"NV40_I2C", 0x402c},
		       {"NV_EVENT_BUFFER", 0x90cd},
		       {"GT200_DEBUGGER", 0x83de},
		       {"NVA081_VGPU_CONFIG", 0xa081}};
	uint32_t handle, unused;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		compare(
		    refused[i].name,
		    rm_alloc(&tour->client, tour->subdevice, refused[i].number, NULL, 0, &handle),
		    rm_alloc(&tour->client, tour->subdevice, UNKNOWN_CLASS, NULL, 0, &unused));
}

static int heap(const struct tour *tour, uint32_t function)
{
	struct nvos32_parameters api = {
	    .hRoot = tour->client.handle, .hObjectParent = tour->device, .function = function};
	int err = tour_escape(tour->rm.ctl, NV_ESC_RM_VID_HEAP_CONTROL, sizeof(api), &api);

	return err ? err : (int)api.status;
}

static int memory(const struct tour *tour, uint32_t class_id)
{
	struct nvos02_with_fd api = {.hRoot = tour->client.handle,
				     .hObjectParent = tour->device,
				     .hClass = class_id,
				     .limit = 4095,
				     .fd = -1};
	int err = tour_escape(tour->node, NV_ESC_RM_ALLOC_MEMORY, sizeof(api), &api);

	return err ? err : (int)api.status;
}

/* Pages may be pinned; in an envelope, which is read again, another call could follow. */
static int wrapped(const struct tour *tour, uint32_t class_id)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct nvos02_with_fd api = {.hRoot = tour->client.handle,
				     .hObjectParent = tour->device,
				     .hClass = class_id,
				     .flags = NVOS02_MAPPING_NO_MAP << NVOS02_MAPPING_SHIFT,
				     .pMemory = (uint64_t)(uintptr_t)page,
				     .limit = 4095,
				     .fd = -1};
	struct nv_ioctl_xfer xfer = {NV_ESC_RM_ALLOC_MEMORY, sizeof(api),
				     (uint64_t)(uintptr_t)&api};
	int err = tour_escape(tour->node, NV_ESC_IOCTL_XFER_CMD, sizeof(xfer), &xfer);

	return err ? err : (int)api.status;
}

static void uvm(const char *root)
{
	unsigned char data[16384] = {0};
	char path[320];
	int fd, known, unknown;

	snprintf(path, sizeof(path), "%s/nvidia-uvm", root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (unsigned number = 54; number <= 64; number++) {
		if (number != 54 && number != 55 && number < 62)
			continue;
		known = ioctl(fd, number, data) ? -errno : 0;
		unknown = ioctl(fd, 200, data) ? -errno : 0;
		/* Of the driver's ENOSYS FUSE makes ENOTTY; mpu answers as the driver does. */
		known = known == -ENOSYS ? -ENOTTY : known;
		unknown = unknown == -ENOSYS ? -ENOTTY : unknown;
		snprintf(path, sizeof(path), "UVM %u", number);
		compare(path, known, unknown);
	}
	close(fd);
}

void tour_refused(struct tour *tour, const char *root)
{
	escapes(tour);
	controls(tour);
	classes(tour);
	compare("INFO of the heap", heap(tour, NVOS32_INFO), heap(tour, UNKNOWN_FUNCTION));
	compare("HW_ALLOC", heap(tour, 19), heap(tour, UNKNOWN_FUNCTION));
	compare("NV01_MEMORY_LIST_SYSTEM", memory(tour, 0x81), memory(tour, UNKNOWN_CLASS));
	compare("pinned pages in an envelope", wrapped(tour, NV01_MEMORY_SYSTEM_OS_DESCRIPTOR),
		wrapped(tour, UNKNOWN_CLASS));
	uvm(root);
}
