#include "supervisor/gpus/client.h"

#include "base/cleanup.h"
#include "nvabi/rm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Names, numbers and structures are the driver's own (nvos.h, nv-ioctl.h, nv-ioctl-numbers.h, the
 * class and ctrl headers), alike from 515.43.04 to 595.45.04 unless it is said. */
enum {
	NV_ESC_RM_FREE = 0x29,
	NV_ESC_CARD_INFO = 200,
	NV01_ROOT_CLIENT = 0x41,
	NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS = 0x201,
	NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2 = 0x205,
	FIRST_HANDLE = 0x6d700001,
};

#define NO_GPU UINT32_MAX

/* NVOS21_PARAMETERS. Before 535.43.02 there is no paramsSize: status stands in its place. */
struct nvos21 {
	uint32_t hRoot, hObjectParent, hObjectNew, hClass;
	uint64_t pAllocParms;
	uint32_t paramsSize, status;
};

struct nvos00 {
	uint32_t hRoot, hObjectParent, hObjectOld, status;
};

struct card_info {
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

struct device_parameters {
	uint32_t deviceId, hClientShare, hTargetClient, hTargetDevice, flags;
	uint64_t vaSpaceSize, vaStartInternal, vaLimitInternal;
	uint32_t vaMode;
};

struct id_info {
	uint32_t gpuId, gpuFlags, deviceInstance, subDeviceInstance, sliStatus, boardId,
	    gpuInstance;
	int32_t numaId;
};

_Static_assert(sizeof(struct nvos21) == 32, "NVOS21_PARAMETERS");
_Static_assert(sizeof(struct card_info) == 72, "nv_ioctl_card_info_t");

static int escape(const struct gpu_client *client, unsigned int number, size_t size, void *data)
{
	int result;

	do
		result = ioctl(client->control,
			       _IOC(_IOC_READ | _IOC_WRITE, NV_IOCTL_MAGIC, number, size), data)
			     ? -errno
			     : 0;
	while (result == -EINTR);
	return result;
}

static int fail(struct mpu_error *error, int result, const char *what)
{
	if (result < 0)
		return mpu_fail(error, -result, "%s: %s", what, strerror(-result));
	return mpu_fail(error, EIO, "%s: the driver answers with status 0x%x%s", what, result,
			result == NV_ERR_INSUFFICIENT_PERMISSIONS ? " (ask as root: sudo)" : "");
}

static int open_device(const char *dev_root, const char *name, struct mpu_error *error)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dev_root, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return mpu_fail(error, errno, "cannot open %s: %s%s", path, strerror(errno),
			errno == EACCES || errno == EPERM
			    ? " (ask as root: sudo)"
			    : " (nvidia-modprobe makes the device files; --dev-root=DIR names "
			      "their folder)");
}

static int allocate(struct gpu_client *client, uint32_t parent, uint32_t class_id, void *params,
		    uint32_t size, uint32_t *handle)
{
	struct nvos21 api = {.hRoot = client->handle,
			     .hObjectParent = parent,
			     .hObjectNew = client->handle ? client->next++ : 0,
			     .hClass = class_id,
			     .pAllocParms = (uint64_t)(uintptr_t)params,
			     .paramsSize = client->has_params_size ? size : 0};
	int result = escape(client, NV_ESC_RM_ALLOC, sizeof(api), &api);

	*handle = api.hObjectNew;
	if (result)
		return result;
	return (int)(client->has_params_size ? api.status : api.paramsSize);
}

int gpu_client_control(const struct gpu_client *client, uint32_t object, uint32_t cmd, void *params,
		       uint32_t size)
{
	struct nvos54_parameters api = {.hClient = client->handle,
					.hObject = object,
					.cmd = cmd,
					.params = (uint64_t)(uintptr_t)params,
					.paramsSize = size};
	int result = escape(client, NV_ESC_RM_CONTROL, sizeof(api), &api);

	return result ? result : (int)api.status;
}

int gpu_client_open(struct gpu_client *client, const char *dev_root,
		    const struct nvabi_version *version, struct mpu_error *error)
{
	const struct nvabi_version first_with_size = {535, 43, 2, 3};
	int result;

	*client = (struct gpu_client){.dev_root = dev_root ? dev_root : "/dev",
				      .next = FIRST_HANDLE,
				      .has_params_size =
					  nvabi_version_compare(version, &first_with_size) >= 0};
	client->control = open_device(client->dev_root, "nvidiactl", error);
	if (client->control < 0)
		return client->control;
	result = allocate(client, 0, NV01_ROOT_CLIENT, NULL, 0, &client->handle);
	if (!result)
		return 0;
	gpu_client_close(client);
	return fail(error, result, "cannot become a client of the driver");
}

void gpu_client_close(struct gpu_client *client)
{
	if (client->control >= 0)
		close(steal_fd(&client->control));
}

static int compare_cards(const void *one, const void *other)
{
	const struct card_info *a = one, *b = other;
	uint64_t left = (uint64_t)a->domain << 16 | a->bus << 8 | a->slot;
	uint64_t right = (uint64_t)b->domain << 16 | b->bus << 8 | b->slot;

	return a->valid != b->valid ? b->valid - a->valid : (left > right) - (left < right);
}

/* A GPU that has no card is still one: by its place in the list. */
static void find_place(const struct card_info *cards, unsigned int nth, struct gpu_place *place)
{
	place->index = place->minor = nth;
	snprintf(place->pci, sizeof(place->pci), "?");
	for (unsigned int i = 0; i < GPU_CLIENT_GPUS; i++) {
		const struct card_info *card = &cards[i];

		if (!card->valid || card->gpu_id != place->gpu_id)
			continue;
		place->index = i;
		place->minor = card->minor_number;
		snprintf(place->pci, sizeof(place->pci), "%08X:%02X:%02X.%X", card->domain,
			 card->bus, card->slot, card->function);
	}
}

int gpu_client_list(struct gpu_client *client, struct gpu_place places[GPU_CLIENT_GPUS],
		    struct mpu_error *error)
{
	struct card_info cards[GPU_CLIENT_GPUS] = {0};
	uint32_t ids[GPU_CLIENT_GPUS];
	int count = 0, result;

	result = gpu_client_control(client, client->handle, NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS,
				    ids, sizeof(ids));
	if (!result)
		result = escape(client, NV_ESC_CARD_INFO, sizeof(cards), cards);
	if (result)
		return fail(error, result, "cannot list the GPUs");
	qsort(cards, GPU_CLIENT_GPUS, sizeof(cards[0]), compare_cards);
	for (; count < GPU_CLIENT_GPUS && ids[count] != NO_GPU; count++) {
		places[count] = (struct gpu_place){.gpu_id = ids[count]};
		find_place(cards, (unsigned int)count, &places[count]);
	}
	return count;
}

/* The driver gives a device only to who has its node open (nv_is_gpu_accessible). */
int gpu_client_open_gpu(struct gpu_client *client, const struct gpu_place *place,
			struct gpu_handle *handle, struct mpu_error *error)
{
	struct id_info info = {.gpuId = place->gpu_id};
	struct device_parameters device = {0};
	uint32_t subdevice = 0;
	char node[24];
	int result;

	snprintf(node, sizeof(node), "nvidia%u", place->minor);
	handle->node = open_device(client->dev_root, node, error);
	if (handle->node < 0)
		return handle->node;
	result = gpu_client_control(client, client->handle, NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2,
				    &info, sizeof(info));
	device.deviceId = info.deviceInstance;
	if (!result)
		result = allocate(client, client->handle, NV01_DEVICE_0, &device, sizeof(device),
				  &handle->device);
	if (!result)
		result = allocate(client, handle->device, NV20_SUBDEVICE_0, &subdevice,
				  sizeof(subdevice), &handle->subdevice);
	return result ? fail(error, result, "cannot open the GPU") : 0;
}

void gpu_client_close_gpu(struct gpu_client *client, struct gpu_handle *handle)
{
	struct nvos00 api = {
	    .hRoot = client->handle, .hObjectParent = client->handle, .hObjectOld = handle->device};

	if (handle->device)
		escape(client, NV_ESC_RM_FREE, sizeof(api), &api);
	if (handle->node >= 0)
		close(handle->node);
	*handle = GPU_HANDLE_NONE;
}
