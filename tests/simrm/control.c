/* NV_ESC_RM_CONTROL: the checks in the driver's order, then the control itself. */
#include "tests/simrm/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum {
	NVOS54_FLAGS_IRQL_RAISED = 1,
	NVOS54_FLAGS_LOCK_BYPASS = 2,
	NVOS54_FLAGS_FINN_SERIALIZED = 4,
	RMAPI_PARAM_COPY_MAX_PARAMS_SIZE = 1 << 20,
};

static const struct control controls[] = {
	{NV2080_CTRL_CMD_GPU_GET_PIDS, OBJECT_SUBDEVICE, CONTROL_NS, size_get_pids, run_get_pids,
	 NULL},
	{NV2080_CTRL_CMD_GPU_GET_PID_INFO, OBJECT_SUBDEVICE, CONTROL_NS, size_get_pid_info,
	 run_get_pid_info, NULL},
	{NV0000_CTRL_CMD_SYSTEM_GET_BUILD_VERSION, OBJECT_OTHER, CONTROL_EMBEDDED,
	 size_build_version, run_build_version, prepare_build_version},
	{NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS, OBJECT_OTHER, 0, size_gpu_ids, run_attached_ids,
	 NULL},
	{NV0000_CTRL_CMD_GPU_GET_PROBED_IDS, OBJECT_OTHER, 0, size_probed_ids, run_probed_ids, NULL},
	{NV0000_CTRL_CMD_GPU_ATTACH_IDS, OBJECT_OTHER, 0, size_attach_ids, run_attach_ids, NULL},
	{NV0000_CTRL_CMD_GPU_DETACH_IDS, OBJECT_OTHER, 0, size_gpu_ids, run_detach_ids, NULL},
	{NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2, OBJECT_OTHER, 0, size_id_info, run_id_info, NULL},
	{NV2080_CTRL_CMD_GPU_GET_NAME_STRING, OBJECT_SUBDEVICE, 0, size_name_string,
	 run_name_string, NULL},
	{NV2080_CTRL_CMD_GPU_GET_ID, OBJECT_SUBDEVICE, 0, size_get_id, run_get_id, NULL},
	{NV2080_CTRL_CMD_GPU_GET_GID_INFO, OBJECT_SUBDEVICE, 0, size_gid_info, run_gid_info, NULL},
	{NV2080_CTRL_CMD_FB_GET_INFO_V2, OBJECT_SUBDEVICE, 0, size_fb_info, run_fb_info, NULL},
};

static const struct control *find_control(const struct release *release, uint32_t cmd)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		if (controls[i].cmd == cmd && controls[i].size(release))
			return &controls[i];
	return NULL;
}

/* NVXXXX_CTRL_CMD: category in bits 8 to 13, index in bits 0 to 7. */
static bool is_null_control(uint32_t cmd)
{
	return !(cmd & 0x3fff);
}

/* What is refused before the client is looked at closely and anything is copied in. */
static uint32_t check_early(struct driver *driver, const struct nvos54_parameters *api,
			    const struct control *control)
{
	bool known;

	if (api->flags & (NVOS54_FLAGS_IRQL_RAISED | NVOS54_FLAGS_LOCK_BYPASS))
		return NV_ERR_INVALID_ARGUMENT;
	pthread_mutex_lock(&driver->lock);
	known = client_find(driver, api->hClient) != NULL;
	pthread_mutex_unlock(&driver->lock);
	if (!known)
		return NV_ERR_INVALID_CLIENT;
	if (!api->params != !api->paramsSize)
		return NV_ERR_INVALID_ARGUMENT;
	if (driver->release.size_checked_first && control &&
	    api->paramsSize != control->size(&driver->release))
		return NV_ERR_INVALID_ARGUMENT;
	if (api->flags & NVOS54_FLAGS_FINN_SERIALIZED)
		return NV_ERR_LIB_RM_VERSION_MISMATCH;
	if (api->paramsSize > RMAPI_PARAM_COPY_MAX_PARAMS_SIZE)
		return NV_ERR_INVALID_ARGUMENT;
	return NV_OK;
}

/* What is refused once the client is locked. */
static uint32_t check_target(struct driver *driver, struct sim_file *file,
			     const struct nvos54_parameters *api, const struct control *control,
			     struct control_call *call)
{
	call->client = client_find(driver, api->hClient);
	if (!call->client || call->client->file != file_owner(file))
		return NV_ERR_INVALID_CLIENT;
	if (api->hObject != call->client->handle) {
		call->object = object_find(call->client, api->hObject);
		if (!call->object)
			return NV_ERR_OBJECT_NOT_FOUND;
	}
	if (!control ||
	    (call->object ? call->object->kind : OBJECT_OTHER) != control->object ||
	    (control->object == OBJECT_OTHER && call->object))
		return NV_ERR_NOT_SUPPORTED;
	if ((control->flags & CONTROL_PRIVILEGED) && !call->task->admin)
		return NV_ERR_INSUFFICIENT_PERMISSIONS;
	if (api->paramsSize != control->size(&driver->release))
		return NV_ERR_INVALID_PARAM_STRUCT;
	call->gpu_index = call->object ? call->object->gpu : -1;
	if (call->gpu_index >= 0)
		call->gpu = &driver->gpu[call->gpu_index];
	return NV_OK;
}

static uint32_t run_locked(struct driver *driver, struct sim_file *file,
			   const struct nvos54_parameters *api, const struct control *control,
			   struct control_call *call)
{
	uint32_t status;

	pthread_mutex_lock(&driver->lock);
	status = check_target(driver, file, api, control, call);
	if (!status)
		status = control->run(call);
	pthread_mutex_unlock(&driver->lock);
	return status;
}

static uint32_t copy_out(const struct control_call *call, const struct nvos54_parameters *api)
{
	if (call->embedded && call->embedded_size &&
	    user_write(call->tid, call->embedded_address, call->embedded, call->embedded_size))
		return NV_ERR_INVALID_ADDRESS;
	if (user_write(call->tid, api->params, call->params, api->paramsSize))
		return NV_ERR_INVALID_ADDRESS;
	return NV_OK;
}

static uint32_t execute(struct driver *driver, struct sim_file *file, const struct sim_call *from,
			const struct nvos54_parameters *api)
{
	const struct control *control = find_control(&driver->release, api->cmd);
	unsigned flags = control ? control->flags : 0;
	struct control_call call = {
		.driver = driver, .tid = from->tid, .gpu_index = -1, .size = api->paramsSize};
	cleanup_free void *params = NULL;
	struct task task;
	uint32_t status = check_early(driver, api, control);

	if (status)
		return status;
	/* Room for what the release has, however little was given. */
	params = calloc(1, (size_t)api->paramsSize + (control ? control->size(&driver->release) : 1));
	if (!params)
		return NV_ERR_NO_MEMORY;
	if (user_read(from->tid, api->params, params, api->paramsSize))
		return NV_ERR_INVALID_ADDRESS;
	call.params = params;
	if (flags & (CONTROL_PRIVILEGED | CONTROL_TASK)) {
		if (task_look(&driver->tasks, from->tid, &task))
			return NV_ERR_INVALID_CLIENT;
		call.task = &task;
	}
	if (flags & CONTROL_NS) {
		call.ns = task_ns_get(&driver->tasks, from->tid);
		if (!call.ns)
			return NV_ERR_INVALID_CLIENT;
	}
	if (flags & CONTROL_EMBEDDED)
		status = control->prepare(&call);
	if (!status)
		status = run_locked(driver, file, api, control, &call);
	if (!status)
		status = copy_out(&call, api);
	free(call.embedded);
	if (call.ns)
		pid_ns_put(&driver->tasks, call.ns);
	return status;
}

int escape_control(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		   struct nvos54_parameters *api)
{
	api->status = is_null_control(api->cmd) ? NV_OK : execute(driver, file, call, api);
	return 0;
}
