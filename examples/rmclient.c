#include "examples/rmclient.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

const char *const rm_engine_names[RM_ENGINES] = {"fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"};

static int read_version(struct rm *rm)
{
	char path[320], text[512];
	cleanup_file FILE *file = NULL;
	char *word, *rest;
	size_t length;

	snprintf(path, sizeof(path), "%s/version", rm->root);
	file = fopen(path, "re");
	if (!file)
		file = fopen("/proc/driver/nvidia/version", "re");
	if (!file)
		return -errno;
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	/* The first word of the module's line that is a number with a dot. */
	for (rest = text; (word = strsep(&rest, " "));) {
		if (sscanf(word, "%u.%u.%u", &rm->major, &rm->minor, &rm->patch) < 2)
			continue;
		snprintf(rm->version, sizeof(rm->version), "%s", word);
		return 0;
	}
	return -EINVAL;
}

/* Read from the headers of the releases. */
struct rm_layout rm_layout_of(unsigned major, unsigned minor)
{
	bool few_samples = major >= 525 || (major == 515 && minor >= 86);

	return (struct rm_layout){
	    .pid_info_stride = major >= 515 ? 72 : (major >= 460 ? 48 : 40),
	    .util_samples = few_samples ? 72 : 100,
	    .util_engines = major >= 550 ? 6 : 4,
	    .util_engine_size = major >= 570 ? 128 : 116,
	    .util_v1 = major < 555,
	    .nvenc_v2 = major >= 530,
	    .alloc_params_size = major >= 535,
	    .alloc_flags = major >= 525,
	    .memory_params_size = major >= 545 ? 128 : 120,
	    .probed_ids_size = major >= 580 ? 384 : 256,
	};
}

int rm_open(struct rm *rm, const char *root)
{
	char path[320];
	int err;

	memset(rm, 0, sizeof(*rm));
	rm->ctl = -1;
	snprintf(rm->root, sizeof(rm->root), "%s", root);
	err = read_version(rm);
	if (err) {
		fprintf(stderr,
			"%s/version, /proc/driver/nvidia/version: %s; is the NVIDIA driver "
			"loaded?\n",
			root, strerror(-err));
		return err;
	}
	rm->layout = rm_layout_of(rm->major, rm->minor);
	snprintf(path, sizeof(path), "%s/nvidiactl", root);
	rm->ctl = open(path, O_RDWR | O_CLOEXEC);
	if (rm->ctl < 0) {
		err = -errno;
		fprintf(stderr, "%s: %s; name the folder of the devices with --dev-root=DIR\n",
			path, strerror(-err));
	}
	return err;
}

void rm_close(struct rm *rm)
{
	if (rm->ctl >= 0)
		close(rm->ctl);
	rm->ctl = -1;
}

const char *rm_error_text(int result, char text[64])
{
	if (result < 0)
		snprintf(text, 64, "errno %d (%s)", -result, strerror(-result));
	else
		snprintf(text, 64, "status 0x%x", (unsigned)result);
	return text;
}

static int rm_ioctl(const struct rm *rm, unsigned number, size_t size, void *data)
{
	return ioctl(rm->ctl, _IOC(_IOC_READ | _IOC_WRITE, 'F', number, size), data) ? -errno : 0;
}

/* NVOS21_PARAMETERS, whose status moved when paramsSize came. */
static int alloc_raw(const struct rm *rm, struct nvos21_parameters *api)
{
	uint32_t *status = rm->layout.alloc_params_size ? &api->status : &api->paramsSize;
	int err;

	if (!rm->layout.alloc_params_size)
		api->paramsSize = 0;
	err = rm_ioctl(rm, NV_ESC_RM_ALLOC, sizeof(*api), api);
	return err ? err : (int)*status;
}

int rm_client_alloc(const struct rm *rm, struct rm_client *client)
{
	struct nvos21_parameters api = {.hClass = NV01_ROOT_CLIENT};
	int err = alloc_raw(rm, &api);

	*client = (struct rm_client){.rm = rm, .handle = api.hObjectNew, .next = 0x5c000001};
	return err;
}

int rm_alloc(struct rm_client *client, uint32_t parent, uint32_t class_id, void *params,
	     uint32_t size, uint32_t *handle)
{
	struct nvos21_parameters api = {.hRoot = client->handle,
					.hObjectParent = parent,
					.hObjectNew = client->next++,
					.hClass = class_id,
					.pAllocParms = (uint64_t)(uintptr_t)params,
					.paramsSize = size};
	int err = alloc_raw(client->rm, &api);

	*handle = api.hObjectNew;
	return err;
}

int rm_free(struct rm_client *client, uint32_t parent, uint32_t handle)
{
	struct nvos00_parameters api = {
	    .hRoot = client->handle, .hObjectParent = parent, .hObjectOld = handle};
	int err = rm_ioctl(client->rm, NV_ESC_RM_FREE, sizeof(api), &api);

	return err ? err : (int)api.status;
}

int rm_control(const struct rm_client *client, uint32_t object, uint32_t cmd, void *params,
	       uint32_t size)
{
	struct nvos54_parameters api = {.hClient = client->handle,
					.hObject = object,
					.cmd = cmd,
					.params = (uint64_t)(uintptr_t)params,
					.paramsSize = size};
	int err = rm_ioctl(client->rm, NV_ESC_RM_CONTROL, sizeof(api), &api);

	return err ? err : (int)api.status;
}

int rm_gpu_count(const struct rm_client *client, uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS])
{
	uint32_t probed[3 * NV0000_CTRL_GPU_MAX_ATTACHED_GPUS];
	unsigned count = 0;
	int err = rm_control(client, client->handle, NV0000_CTRL_CMD_GPU_GET_PROBED_IDS, probed,
			     client->rm->layout.probed_ids_size);

	if (err)
		return err > 0 ? -EIO : err;
	while (count < NV0000_CTRL_GPU_MAX_ATTACHED_GPUS &&
	       probed[count] != (uint32_t)NV0000_CTRL_GPU_INVALID_ID) {
		ids[count] = probed[count];
		count++;
	}
	return (int)count;
}

/* Opens nvidiaN of that GPU and ties it to the control file, as NVIDIA's libraries do: it keeps the
 * GPU initialised. Returns the fd, or -1 where the node cannot be had: RM may do without. */
static int open_node(const struct rm *rm, uint32_t gpu_id)
{
	struct nv_ioctl_card_info cards[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS] = {0};
	cleanup_close int fd = -1;
	char path[320];
	int ctl = rm->ctl;

	if (rm_ioctl(rm, NV_ESC_CARD_INFO, sizeof(cards), cards))
		return -1;
	for (unsigned i = 0; i < NV0000_CTRL_GPU_MAX_ATTACHED_GPUS && fd < 0; i++) {
		if (!cards[i].valid || cards[i].gpu_id != gpu_id)
			continue;
		snprintf(path, sizeof(path), "%s/nvidia%u", rm->root, cards[i].minor_number);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd < 0 ||
	    ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'F', NV_ESC_REGISTER_FD, sizeof(ctl)), &ctl))
		return -1;
	return steal_fd(&fd);
}

int rm_gpu_open(struct rm_client *client, uint32_t gpu_id, struct rm_gpu *gpu)
{
	uint32_t attach[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS + 1], subdevice = 0;
	struct gpu_id_info_v2 info = {.gpuId = gpu_id};
	struct nv0080_alloc_parameters device = {0};
	int err;

	*gpu = (struct rm_gpu){.gpu_id = gpu_id, .fd = open_node(client->rm, gpu_id)};
	memset(attach, 0xff, sizeof(attach));
	attach[0] = gpu_id;
	err = rm_control(client, client->handle, NV0000_CTRL_CMD_GPU_ATTACH_IDS, attach,
			 sizeof(attach));
	if (!err)
		err = rm_control(client, client->handle, NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2, &info,
				 sizeof(info));
	device.deviceId = info.deviceInstance;
	if (!err)
		err = rm_alloc(client, client->handle, NV01_DEVICE_0, &device, sizeof(device),
			       &gpu->device);
	if (!err)
		err = rm_alloc(client, gpu->device, NV20_SUBDEVICE_0, &subdevice, sizeof(subdevice),
			       &gpu->subdevice);
	return err;
}
