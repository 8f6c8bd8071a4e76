/* Controls with an fd in their parameters, which names a file in the caller's table: objects that
 * travel from one client to another by an open file (os.c of the driver). */
#include <stdlib.h>
#include <string.h>

#include "tests/simrm/control.h"
#include "tests/simrm/escapes.h"

enum { EXPORT_OBJECT_TYPE_RM = 1, MAX_EXPORTS = 512, MAX_IMPORTS = 128 };

struct export_object {
	uint32_t type, hDevice, hParent, hObject;
};

struct export_to_fd { /* 0x3d05 */
	struct export_object object;
	int32_t fd;
	uint32_t flags;
};

struct import_from_fd { /* 0x3d06 */
	int32_t fd;
	struct export_object object;
};

struct export_info { /* 0x3d08 from 545 on */
	int32_t fd;
	uint32_t deviceInstance, gpuInstanceId;
	uint16_t maxObjects;
	uint8_t metadata[EXPORT_METADATA];
};

struct create_export { /* 0x3d0a */
	uint32_t hDevice;
	uint16_t maxObjects;
	uint8_t metadata[EXPORT_METADATA];
	int32_t fd;
};

struct exports_to_fd { /* 0x3d0b */
	int32_t fd;
	uint32_t hDevice;
	uint16_t maxObjects;
	uint8_t metadata[EXPORT_METADATA];
	uint32_t objects[MAX_EXPORTS];
	uint16_t numObjects, index;
};

struct imports_from_fd { /* 0x3d0c */
	int32_t fd;
	uint32_t hParent, objects[MAX_IMPORTS];
	uint8_t objectTypes[MAX_IMPORTS];
	uint16_t numObjects, index;
};

_Static_assert(sizeof(struct export_to_fd) == 24, "EXPORT_OBJECT_TO_FD_PARAMS");
_Static_assert(sizeof(struct import_from_fd) == 20, "IMPORT_OBJECT_FROM_FD_PARAMS");
_Static_assert(sizeof(struct export_info) == 80, "GET_EXPORT_OBJECT_INFO_PARAMS");
_Static_assert(sizeof(struct create_export) == 76, "CREATE_EXPORT_OBJECT_FD_PARAMS");
_Static_assert(sizeof(struct exports_to_fd) == 2128, "EXPORT_OBJECTS_TO_FD_PARAMS");
_Static_assert(sizeof(struct imports_from_fd) == 652, "IMPORT_OBJECTS_FROM_FD_PARAMS");

static const struct {
	uint32_t cmd, size, fd;
} files[] = {
    {0x3d05, sizeof(struct export_to_fd), 16}, {0x3d06, sizeof(struct import_from_fd), 0},
    {0x3d08, sizeof(struct export_info), 0},   {0x3d0a, sizeof(struct create_export), 72},
    {0x3d0b, sizeof(struct exports_to_fd), 0}, {0x3d0c, sizeof(struct imports_from_fd), 0},
};

uint32_t file_control_size(const struct release *release, uint32_t cmd)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].cmd == cmd)
			return cmd == 0x3d08 && release->version.major < 545 ? files[i].size - 4
									     : files[i].size;
	return 0;
}

/* Asks whose fd it is. */
uint32_t prepare_file(struct control_call *call)
{
	int32_t fd = -1;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].cmd == call->cmd && call->size >= files[i].fd + sizeof(fd))
			memcpy(&fd, (unsigned char *)call->params + files[i].fd, sizeof(fd));
	call->asked = file_ask(call->driver, call->from, fd);
	return NV_OK;
}

static struct sim_file *ctl_file(const struct control_call *call)
{
	struct sim_file *file = file_asked(call->driver, call->asked);

	return file && file->device == DEVICE_CTL ? file : NULL;
}

static uint32_t start_export(const struct control_call *call, struct sim_file *file,
			     uint32_t device, unsigned max, const uint8_t *metadata)
{
	const struct object *object = NULL;

	if (file->exported)
		return NV_ERR_STATE_IN_USE;
	if (device) {
		object = object_find(call->client, device);
		if (!object || object->kind != OBJECT_DEVICE)
			return object ? NV_ERR_INVALID_PARAMETER : NV_ERR_OBJECT_NOT_FOUND;
	}
	file->exported = calloc(max, sizeof(*file->exported));
	if (!file->exported)
		return NV_ERR_NO_MEMORY;
	file->max_exported = max;
	file->exported_gpu = object ? object->gpu : -1;
	if (metadata)
		memcpy(file->export_metadata, metadata, sizeof(file->export_metadata));
	return NV_OK;
}

static struct exported exported_of(const struct object *object)
{
	return (struct exported){
	    .class_id = object->class_id, .gpu = object->gpu, .size = object->size};
}

static uint32_t export_one(struct control_call *call)
{
	const struct export_to_fd *params = call->params;
	const struct object *object = object_find(call->client, params->object.hObject);
	struct sim_file *file = ctl_file(call);
	uint32_t status;

	if ((params->flags & 1) || params->object.type != EXPORT_OBJECT_TYPE_RM)
		return NV_ERR_INVALID_PARAMETER;
	if (!object)
		return NV_ERR_OBJECT_NOT_FOUND;
	if (!file)
		return NV_ERR_INVALID_PARAMETER;
	status = start_export(call, file, params->object.hDevice, 1, NULL);
	if (!status)
		file->exported[0] = exported_of(object);
	return status;
}

static uint32_t import_one(struct control_call *call)
{
	struct import_from_fd *params = call->params;
	struct sim_file *file = ctl_file(call);

	if (params->object.type != EXPORT_OBJECT_TYPE_RM || !file || !file->exported ||
	    !file->exported[0].class_id)
		return NV_ERR_INVALID_PARAMETER;
	return object_add(call->driver, call->client, params->object.hParent, &file->exported[0],
			  &params->object.hObject);
}

static uint32_t get_info(struct control_call *call)
{
	struct export_info *params = call->params;
	const struct sim_file *file = ctl_file(call);
	bool old = call->size != sizeof(*params);
	uint16_t *max = old ? (uint16_t *)&params->gpuInstanceId : &params->maxObjects;

	if (!file || !file->exported)
		return NV_ERR_INVALID_PARAMETER;
	params->deviceInstance = (uint32_t)file->exported_gpu;
	if (!old)
		params->gpuInstanceId = UINT32_MAX;
	*max = (uint16_t)file->max_exported;
	memcpy(max + 1, file->export_metadata, sizeof(file->export_metadata));
	return NV_OK;
}

static uint32_t create(struct control_call *call)
{
	const struct create_export *params = call->params;
	struct sim_file *file = ctl_file(call);

	if (!params->maxObjects || !file)
		return NV_ERR_INVALID_PARAMETER;
	return start_export(call, file, params->hDevice, params->maxObjects, params->metadata);
}

static uint32_t export_list(struct control_call *call)
{
	const struct exports_to_fd *params = call->params;
	struct sim_file *file = ctl_file(call);
	uint32_t status = NV_OK;

	if (!file || (!file->exported && !params->maxObjects))
		return NV_ERR_INVALID_PARAMETER;
	if (!file->exported)
		status =
		    start_export(call, file, params->hDevice, params->maxObjects, params->metadata);
	if (status)
		return status;
	if (params->numObjects > MAX_EXPORTS)
		return NV_ERR_INVALID_PARAMETER;
	if ((unsigned)params->numObjects + params->index > file->max_exported)
		return NV_ERR_OUT_OF_RANGE;
	for (unsigned i = 0; i < params->numObjects; i++) {
		const struct object *object = object_find(call->client, params->objects[i]);

		if (params->objects[i] && !object)
			return NV_ERR_OBJECT_NOT_FOUND;
		file->exported[params->index + i] =
		    object ? exported_of(object) : (struct exported){0};
	}
	return NV_OK;
}

static uint32_t import_list(struct control_call *call)
{
	struct imports_from_fd *params = call->params;
	const struct sim_file *file = ctl_file(call);
	uint32_t status = NV_OK;

	if (!file || !file->exported || params->numObjects > MAX_IMPORTS)
		return NV_ERR_INVALID_PARAMETER;
	if ((unsigned)params->numObjects + params->index > file->max_exported)
		return NV_ERR_OUT_OF_RANGE;
	for (unsigned i = 0; i < params->numObjects && !status; i++) {
		const struct exported *exported = &file->exported[params->index + i];

		params->objectTypes[i] = exported->class_id == NV01_MEMORY_LOCAL_USER;
		params->objects[i] = 0;
		if (exported->class_id)
			status = object_add(call->driver, call->client, params->hParent, exported,
					    &params->objects[i]);
	}
	return status;
}

uint32_t run_file(struct control_call *call)
{
	switch (call->cmd) {
	case 0x3d05:
		return export_one(call);
	case 0x3d06:
		return import_one(call);
	case 0x3d08:
		return get_info(call);
	case 0x3d0a:
		return create(call);
	case 0x3d0b:
		return export_list(call);
	default:
		return import_list(call);
	}
}
