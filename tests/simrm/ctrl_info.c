/* Controls that say nothing of processes: what programs ask before they can do anything. */
#include <stdio.h>
#include <string.h>

#include "tests/simrm/control.h"

struct build_version { /* NV0000_CTRL_SYSTEM_GET_BUILD_VERSION_PARAMS */
	uint32_t sizeOfStrings;
	uint64_t pDriverVersionBuffer, pVersionBuffer, pTitleBuffer;
	uint32_t changelistNumber, officialChangelistNumber;
};

struct name_string { /* NV2080_CTRL_GPU_GET_NAME_STRING_PARAMS: 64 wide characters at most */
	uint32_t gpuNameStringFlags; /* 0 ASCII, 1 wide */
	char gpuNameString[128];
};

struct gid_info { /* NV2080_CTRL_GPU_GET_GID_INFO_PARAMS */
	uint32_t index, flags, length;
	unsigned char data[256];
};

struct fb_info { /* NV2080_CTRL_FB_GET_INFO_V2_PARAMS; 128 pairs, in older releases fewer */
	uint32_t fbInfoListSize;
	struct {
		uint32_t index, data;
	} fbInfoList[128];
};

enum {
	FB_INFO_INDEX_RAM_SIZE = 0x7,
	FB_INFO_INDEX_TOTAL_RAM_SIZE = 0x8,
	FB_INFO_INDEX_HEAP_SIZE = 0x9,
	FB_INFO_INDEX_HEAP_FREE = 0x16,
	GID_FLAGS_FORMAT_BINARY = 2,
};

static const char gpu_name[] = "NVIDIA H100 (simulated)";

uint32_t size_build_version(const struct release *release)
{
	(void)release;
	return sizeof(struct build_version);
}

uint32_t prepare_build_version(struct control_call *call)
{
	const struct build_version *params = call->params;
	const uint64_t places[EMBEDDED] = {params->pDriverVersionBuffer, params->pVersionBuffer,
					   params->pTitleBuffer};
	uint32_t status = NV_OK;

	for (unsigned i = 0; i < EMBEDDED && !status; i++)
		status = control_embed(call, i, places[i], params->sizeOfStrings);
	return status;
}

uint32_t run_build_version(struct control_call *call)
{
	struct build_version *params = call->params;
	const char *text = call->driver->release.text;

	if (params->sizeOfStrings <= strlen(text))
		return NV_ERR_INVALID_ARGUMENT;
	for (unsigned i = 0; i < EMBEDDED; i++)
		strcpy(call->embedded[i].data, text);
	params->changelistNumber = params->officialChangelistNumber = 1;
	return NV_OK;
}

uint32_t size_gpu_ids(const struct release *release)
{
	(void)release;
	return NV0000_CTRL_GPU_MAX_ATTACHED_GPUS * sizeof(uint32_t);
}

uint32_t size_probed_ids(const struct release *release)
{
	return release->probed_flags ? 384 : 256;
}

uint32_t size_attach_ids(const struct release *release)
{
	return size_gpu_ids(release) + sizeof(uint32_t);
}

static void list_gpus(const struct control_call *call, uint32_t *ids)
{
	for (unsigned i = 0; i < NV0000_CTRL_GPU_MAX_ATTACHED_GPUS; i++)
		ids[i] = i < call->driver->gpus ? call->driver->gpu[i].gpu_id
						: (uint32_t)NV0000_CTRL_GPU_INVALID_ID;
}

uint32_t run_attached_ids(struct control_call *call)
{
	list_gpus(call, call->params);
	return NV_OK;
}

uint32_t run_probed_ids(struct control_call *call)
{
	uint32_t *params = call->params;

	list_gpus(call, params);
	for (unsigned i = 0; i < NV0000_CTRL_GPU_MAX_ATTACHED_GPUS; i++)
		params[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS + i] =
		    (uint32_t)NV0000_CTRL_GPU_INVALID_ID;
	return NV_OK;
}

/* All GPUs are attached from the start: only the ids are checked. */
uint32_t run_attach_ids(struct control_call *call)
{
	uint32_t *params = call->params;

	for (unsigned i = 0; i < NV0000_CTRL_GPU_MAX_ATTACHED_GPUS; i++) {
		if (params[i] == (uint32_t)NV0000_CTRL_GPU_INVALID_ID || params[i] == 0xffff)
			break;
		if (gpu_of_id(call->driver, params[i]) < 0) {
			params[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS] = params[i];
			return NV_ERR_INVALID_ARGUMENT;
		}
	}
	return NV_OK;
}

uint32_t run_detach_ids(struct control_call *call)
{
	(void)call;
	return NV_OK;
}

uint32_t size_id_info(const struct release *release)
{
	(void)release;
	return sizeof(struct gpu_id_info_v2);
}

uint32_t run_id_info(struct control_call *call)
{
	struct gpu_id_info_v2 *params = call->params;
	int gpu = gpu_of_id(call->driver, params->gpuId);

	if (gpu < 0)
		return NV_ERR_INVALID_ARGUMENT;
	params->gpuFlags = 0;
	params->deviceInstance = (uint32_t)gpu;
	params->subDeviceInstance = 0;
	params->sliStatus = 0;
	params->boardId = params->gpuId;
	params->gpuInstance = (uint32_t)gpu;
	params->numaId = -1;
	return NV_OK;
}

uint32_t size_name_string(const struct release *release)
{
	(void)release;
	return sizeof(struct name_string);
}

uint32_t run_name_string(struct control_call *call)
{
	struct name_string *params = call->params;

	if (params->gpuNameStringFlags > 1)
		return NV_ERR_INVALID_ARGUMENT;
	memset(params->gpuNameString, 0, sizeof(params->gpuNameString));
	for (size_t i = 0; i < sizeof(gpu_name); i++)
		params->gpuNameString[params->gpuNameStringFlags ? 2 * i : i] = gpu_name[i];
	return NV_OK;
}

uint32_t size_get_id(const struct release *release)
{
	(void)release;
	return sizeof(uint32_t);
}

uint32_t run_get_id(struct control_call *call)
{
	*(uint32_t *)call->params = call->gpu->gpu_id;
	return NV_OK;
}

uint32_t size_gid_info(const struct release *release)
{
	(void)release;
	return sizeof(struct gid_info);
}

uint32_t run_gid_info(struct control_call *call)
{
	struct gid_info *params = call->params;
	unsigned char uuid[16] = "SIMULATED GPU 0";

	if (params->index)
		return NV_ERR_INVALID_ARGUMENT;
	uuid[15] = (unsigned char)('0' + call->gpu_index);
	memset(params->data, 0, sizeof(params->data));
	if (params->flags & GID_FLAGS_FORMAT_BINARY) {
		memcpy(params->data, uuid, sizeof(uuid));
		params->length = sizeof(uuid);
		return NV_OK;
	}
	params->length = 4;
	memcpy(params->data, "GPU-", 4);
	for (unsigned i = 0; i < sizeof(uuid); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			params->data[params->length++] = '-';
		snprintf((char *)params->data + params->length, 3, "%02x", uuid[i]);
		params->length += 2;
	}
	params->length++;
	return NV_OK;
}

uint32_t size_fb_info(const struct release *release)
{
	return 4 + release->fb_info_list * 8;
}

static uint64_t used_memory(const struct control_call *call)
{
	uint64_t used = 0;

	for (const struct client *client = call->driver->first_client; client;
	     client = client->next)
		for (const struct object *object = client->objects; object; object = object->next)
			if (object->kind == OBJECT_MEMORY && object->gpu == call->gpu_index)
				used += object->size;
	return used;
}

uint32_t run_fb_info(struct control_call *call)
{
	struct fb_info *params = call->params;
	uint64_t total = call->gpu->memory, used = used_memory(call);

	if (params->fbInfoListSize > call->driver->release.fb_info_list)
		return NV_ERR_INVALID_ARGUMENT;
	for (uint32_t i = 0; i < params->fbInfoListSize; i++) {
		uint64_t value = 0;

		switch (params->fbInfoList[i].index) {
		case FB_INFO_INDEX_RAM_SIZE:
		case FB_INFO_INDEX_TOTAL_RAM_SIZE:
		case FB_INFO_INDEX_HEAP_SIZE:
			value = total;
			break;
		case FB_INFO_INDEX_HEAP_FREE:
			value = used < total ? total - used : 0;
			break;
		default:
			break;
		}
		params->fbInfoList[i].data = (uint32_t)(value >> 10);
	}
	return NV_OK;
}
