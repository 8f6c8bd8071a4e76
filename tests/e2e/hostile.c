/* hostile DEVICE-FOLDER VERSION arguments|races|probe [PID...]: does wrong what a client of the
 * driver can do wrong, and prints what comes of it, a line each. The same lines natively and under
 * mpu-run mean that mpu answers as the driver does. */
#include "tests/e2e/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

void die(const char *what)
{
	fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
	exit(3);
}

void say(const char *name, const char *format, ...)
{
	va_list arguments;

	printf("%s: ", name);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

void say_result(const char *control, const char *name, struct result result)
{
	printf("%s: %s: ", control, name);
	if (result.error)
		printf("%s", strerrorname_np(result.error));
	if (result.status != UINT32_MAX)
		printf("%sstatus 0x%x", result.error ? ", " : "", result.status);
	putchar('\n');
	fflush(stdout);
}

struct result call_control(int fd, unsigned long request, struct nvos54_parameters *control)
{
	control->status = UINT32_MAX;
	errno = 0;
	if (ioctl(fd, request, control) < 0)
		return (struct result){errno, control->status};
	return (struct result){0, control->status};
}

struct nvos54_parameters gpu_call(const struct gpu *gpu, const struct nvabi_pid_control *control,
				  void *params)
{
	return (struct nvos54_parameters){
	    .hClient = gpu->client,
	    .hObject = control->cmd >> 16 == 0x2080 ? gpu->subdevice : gpu->client,
	    .cmd = control->cmd,
	    .params = (uintptr_t)params,
	    .paramsSize = control_size(control),
	};
}

struct result gpu_control(const struct gpu *gpu, uint32_t cmd, void *params, uint32_t size)
{
	struct nvos54_parameters control = {
	    .hClient = gpu->client,
	    .hObject = cmd >> 16 == 0x2080 ? gpu->subdevice : gpu->client,
	    .cmd = cmd,
	    .params = (uintptr_t)params,
	    .paramsSize = size,
	};

	return call_control(gpu->ctl, RM_CONTROL, &control);
}

uint32_t control_size(const struct nvabi_pid_control *control)
{
	return control->size ? control->size : control->assumed_size;
}

/* The status stands behind paramsSize from 535.43.02 on, in its place before. */
static uint32_t alloc(const struct gpu *gpu, uint32_t parent, uint32_t class_id, void *params,
		      uint32_t size)
{
	static const struct nvabi_version with_size = {.major = 535, .minor = 43, .patch = 2};
	struct nvos21_parameters call = {
	    .hRoot = gpu->client,
	    .hObjectParent = parent,
	    .hClass = class_id,
	    .pAllocParms = (uintptr_t)params,
	    .paramsSize = size,
	    .status = UINT32_MAX,
	};
	bool has_size = nvabi_version_compare(&gpu->pids.running, &with_size) >= 0;

	if (ioctl(gpu->ctl, _IOWR('F', NV_ESC_RM_ALLOC, call), &call) < 0)
		die("NV_ESC_RM_ALLOC");
	if ((has_size ? call.status : call.paramsSize) != NV_OK) {
		fprintf(stderr, "hostile: class 0x%x: status 0x%x\n", class_id,
			has_size ? call.status : call.paramsSize);
		exit(3);
	}
	return call.hObjectNew;
}

static int open_in(const char *folder, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

void gpu_open(struct gpu *gpu, const char *root, const char *version)
{
	struct nv0080_alloc_parameters device = {0};
	struct nvabi_version parsed;
	uint32_t subdevice = 0;

	*gpu = (struct gpu){.root = root};
	if (nvabi_version_parse(version, &parsed) || nvabi_pids_compose(&parsed, &gpu->pids)) {
		errno = EINVAL;
		die(version);
	}
	gpu->ctl = open_in(root, "nvidiactl");
	gpu->device_file = open_in(root, "nvidia0");
	gpu->client = alloc(gpu, 0, NV01_ROOT_CLIENT, NULL, 0);
	gpu->device = alloc(gpu, gpu->client, NV01_DEVICE_0, &device, sizeof(device));
	gpu->subdevice = alloc(gpu, gpu->device, NV20_SUBDEVICE_0, &subdevice, sizeof(subdevice));
	if (gpu_control(gpu, NV2080_CTRL_CMD_GPU_GET_ID, &gpu->gpu_id, sizeof(gpu->gpu_id)).status)
		die("NV2080_CTRL_CMD_GPU_GET_ID");
}

static void put_u32(void *base, uint16_t offset, uint32_t value)
{
	if (offset != NVABI_NONE)
		memcpy((char *)base + offset, &value, sizeof(value));
}

void fill_valid(const struct gpu *gpu, const struct nvabi_pid_control *control, void *params,
		void *list, size_t list_size)
{
	uint64_t address = (uintptr_t)list;

	memset(params, 0, control_size(control));
	put_u32(params, control->gpu_id, gpu->gpu_id);
	put_u32(params, control->pid, (uint32_t)getpid());
	switch (control->call) {
	case NVABI_GET_PIDS:
		put_u32(params, 4, NV20_SUBDEVICE_0);
		break;
	case NVABI_GET_PID_INFO:
		put_u32(params, control->list_count, 1);
		put_u32(params, control->list_first, (uint32_t)getpid());
		break;
	case NVABI_UTIL_SAMPLES:
		*(uint8_t *)params = NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL;
		put_u32(params, control->buffer_size,
			(uint32_t)control->list_capacity * control->list_stride);
		break;
	case NVABI_SESSIONS:
		if (control->list_pointer != NVABI_NONE)
			put_u32(params, control->list_count, control->list_capacity);
		break;
	default:
		break;
	}
	if (control->list_pointer != NVABI_NONE &&
	    (size_t)control->list_capacity * control->list_stride <= list_size)
		memcpy((char *)params + control->list_pointer, &address, sizeof(address));
}

unsigned char *guarded_pages(void)
{
	unsigned char *pages = mmap(NULL, GUARDED + PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (pages == MAP_FAILED || mprotect(pages + GUARDED, PAGE, PROT_NONE))
		die("mmap");
	return pages;
}

int main(int argc, char **argv)
{
	struct gpu gpu;

	if (argc < 4) {
		fprintf(stderr,
			"usage: hostile DEVICE-FOLDER VERSION arguments|races|probe [PID...]\n");
		return 2;
	}
	gpu_open(&gpu, argv[1], argv[2]);
	if (!strcmp(argv[3], "arguments"))
		wrong_arguments(&gpu);
	else if (!strcmp(argv[3], "races"))
		races(&gpu);
	else if (!strcmp(argv[3], "probe"))
		probe(&gpu, argv + 4);
	else
		return 2;
	return 0;
}
