/* NV_ESC_RM_CONTROL: the checks in the driver's order, then the control itself. */
#include "tests/simrm/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/simrm/escapes.h"

enum {
	NVOS54_FLAGS_IRQL_RAISED = 1,
	NVOS54_FLAGS_LOCK_BYPASS = 2,
	NVOS54_FLAGS_FINN_SERIALIZED = 4,
	RMAPI_PARAM_COPY_MAX_PARAMS_SIZE = 1 << 20,
};

/* A control and the size of its parameters in the release. */
struct found {
	struct control control;
	uint32_t size;
};

static const struct control controls[] = {
    {NV0000_CTRL_CMD_SYSTEM_GET_BUILD_VERSION, OBJECT_CLIENT, CONTROL_PREPARED, size_build_version,
     run_build_version, prepare_build_version},
    {NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS, OBJECT_CLIENT, 0, size_gpu_ids, run_attached_ids, NULL},
    {NV0000_CTRL_CMD_GPU_GET_PROBED_IDS, OBJECT_CLIENT, 0, size_probed_ids, run_probed_ids, NULL},
    {NV0000_CTRL_CMD_GPU_ATTACH_IDS, OBJECT_CLIENT, 0, size_attach_ids, run_attach_ids, NULL},
    {NV0000_CTRL_CMD_GPU_DETACH_IDS, OBJECT_CLIENT, 0, size_gpu_ids, run_detach_ids, NULL},
    {NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2, OBJECT_CLIENT, 0, size_id_info, run_id_info, NULL},
    {NV2080_CTRL_CMD_GPU_GET_NAME_STRING, OBJECT_SUBDEVICE, 0, size_name_string, run_name_string,
     NULL},
    {NV2080_CTRL_CMD_GPU_GET_ID, OBJECT_SUBDEVICE, 0, size_get_id, run_get_id, NULL},
    {NV2080_CTRL_CMD_GPU_GET_GID_INFO, OBJECT_SUBDEVICE, 0, size_gid_info, run_gid_info, NULL},
    {NV2080_CTRL_CMD_FB_GET_INFO_V2, OBJECT_SUBDEVICE, 0, size_fb_info, run_fb_info, NULL},
    {NV2080_CTRL_CMD_GPU_GET_PIDS, OBJECT_SUBDEVICE, CONTROL_NS, size_get_pids, run_get_pids, NULL},
    {NV2080_CTRL_CMD_GPU_GET_PID_INFO, OBJECT_SUBDEVICE, CONTROL_NS, size_get_pid_info,
     run_get_pid_info, NULL},
    {NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2, OBJECT_SUBDEVICE, CONTROL_NS,
     size_util_v2, run_util_v2, NULL},
    {NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES, OBJECT_SUBDEVICE, CONTROL_PREPARED,
     size_util_v1, run_util_v1, prepare_util_v1},
    {NV0000_CTRL_CMD_GPUACCT_SET_ACCOUNTING_STATE, OBJECT_CLIENT, CONTROL_PRIVILEGED,
     size_acct_state, run_set_acct_state, NULL},
    {NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_STATE, OBJECT_CLIENT, 0, size_acct_state,
     run_get_acct_state, NULL},
    {NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO, OBJECT_CLIENT, CONTROL_NS,
     size_acct_proc_info, run_acct_proc_info, NULL},
    {NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS, OBJECT_CLIENT, CONTROL_NS, size_acct_pids,
     run_acct_pids, NULL},
    {NV0000_CTRL_CMD_GPUACCT_CLEAR_ACCOUNTING_DATA, OBJECT_CLIENT, CONTROL_PRIVILEGED,
     size_acct_clear, run_acct_clear, NULL},
    {NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO, OBJECT_SUBDEVICE, CONTROL_PREPARED, size_nvenc,
     run_nvenc, prepare_nvenc},
    {NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO_V2, OBJECT_SUBDEVICE, 0, size_nvenc_v2,
     run_nvenc_v2, NULL},
    {NV2080_CTRL_CMD_GPU_GET_NVFBC_SW_SESSION_INFO, OBJECT_SUBDEVICE, 0, size_nvfbc, run_nvfbc,
     NULL},
    {NV0000_CTRL_CMD_SET_SUB_PROCESS_ID, OBJECT_CLIENT, 0, size_sub_process_id, run_sub_process_id,
     NULL},
    {NV0000_CTRL_CMD_NVD_GET_RCERR_RPT, OBJECT_CLIENT, CONTROL_TASK, size_rcerr_report,
     run_rcerr_report, NULL},
    {NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID, OBJECT_SUBDEVICE, 0, size_fecs_bind,
     run_event_bind, NULL},
    {NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID_V2, OBJECT_SUBDEVICE, 0, size_fecs_bind_v2,
     run_event_bind, NULL},
    {NV2080_CTRL_CMD_EVENT_VIDEO_BIND_EVTBUF, OBJECT_SUBDEVICE, 0, size_video_bind, run_video_bind,
     NULL},
    {NV2080_CTRL_CMD_GPU_RUSD_GET_SUPPORTED_FEATURES, OBJECT_SUBDEVICE, 0, size_rusd_features,
     run_rusd_features, NULL},
    {NV2080_CTRL_CMD_GPU_RUSD_SET_FEATURES, OBJECT_SUBDEVICE, CONTROL_PRIVILEGED, size_rusd_set,
     run_rusd_set, NULL},
    {NV00DE_CTRL_CMD_REQUEST_DATA_POLL, OBJECT_RUSD, 0, size_rusd_poll, run_rusd_poll, NULL},
    {NV00DE_CTRL_CMD_REQUEST_POLL_INTERVAL, OBJECT_RUSD, CONTROL_PRIVILEGED, size_rusd_interval,
     run_rusd_set, NULL},
};

/* Finds what the release exports as CMD. */
static bool find_control(const struct release *release, uint32_t cmd, struct found *found)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		found->control = controls[i];
		found->size = controls[i].size(release);
		if (controls[i].cmd == cmd && found->size)
			return true;
	}
	found->control = (struct control){.cmd = cmd,
					  .object = list_object(cmd),
					  .flags = CONTROL_PREPARED,
					  .run = run_list,
					  .prepare = prepare_list};
	found->size = list_size(release, cmd);
	if (found->size)
		return true;
	found->control.object = OBJECT_CLIENT;
	found->control.run = run_file;
	found->control.prepare = prepare_file;
	found->size = file_control_size(release, cmd);
	return found->size;
}

/* NVXXXX_CTRL_CMD: category in bits 8 to 13, index in bits 0 to 7. */
static bool is_null_control(uint32_t cmd)
{
	return !(cmd & 0x3fff);
}

/* What is refused before the client is looked at closely and anything is copied in. */
static uint32_t check_early(struct driver *driver, const struct nvos54_parameters *api,
			    const struct found *control)
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
	if (driver->release.size_checked_first && control && api->paramsSize != control->size)
		return NV_ERR_INVALID_ARGUMENT;
	if (api->flags & NVOS54_FLAGS_FINN_SERIALIZED)
		return NV_ERR_LIB_RM_VERSION_MISMATCH;
	if (api->paramsSize > RMAPI_PARAM_COPY_MAX_PARAMS_SIZE)
		return NV_ERR_INVALID_ARGUMENT;
	return NV_OK;
}

/* What is refused once the client is locked. */
static uint32_t check_target(struct driver *driver, struct sim_file *file,
			     const struct nvos54_parameters *api, const struct found *control,
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
	    control->control.object != (call->object ? call->object->kind : OBJECT_CLIENT))
		return NV_ERR_NOT_SUPPORTED;
	if (api->paramsSize != control->size)
		return NV_ERR_INVALID_PARAM_STRUCT;
	if ((control->control.flags & CONTROL_PRIVILEGED) && !call->task->admin)
		return NV_ERR_INSUFFICIENT_PERMISSIONS;
	call->gpu_index = call->object ? call->object->gpu : -1;
	if (call->gpu_index >= 0)
		call->gpu = &driver->gpu[call->gpu_index];
	return NV_OK;
}

static uint32_t run_locked(struct driver *driver, struct sim_file *file,
			   const struct nvos54_parameters *api, const struct found *control,
			   struct control_call *call)
{
	uint32_t status;

	pthread_mutex_lock(&driver->lock);
	status = check_target(driver, file, api, control, call);
	if (!status)
		status = control->control.run(call);
	pthread_mutex_unlock(&driver->lock);
	return status;
}

uint32_t control_embed(struct control_call *call, unsigned index, uint64_t address, uint64_t size)
{
	if (!address != !size || size > RMAPI_PARAM_COPY_MAX_PARAMS_SIZE)
		return NV_ERR_INVALID_ARGUMENT;
	if (!size)
		return NV_OK;
	call->embedded[index].data = calloc(1, size);
	if (!call->embedded[index].data)
		return NV_ERR_NO_MEMORY;
	call->embedded[index].address = address;
	call->embedded[index].size = (uint32_t)size;
	return NV_OK;
}

static uint32_t copy_out(const struct control_call *call, const struct nvos54_parameters *api)
{
	for (unsigned i = 0; i < EMBEDDED; i++)
		if (user_write(call->driver, call->tid, call->embedded[i].address,
			       call->embedded[i].data, call->embedded[i].size))
			return NV_ERR_INVALID_ADDRESS;
	if (user_write(call->driver, call->tid, api->params, call->params, api->paramsSize))
		return NV_ERR_INVALID_ADDRESS;
	return NV_OK;
}

static uint32_t execute(struct driver *driver, struct sim_file *file, const struct sim_call *from,
			const struct nvos54_parameters *api)
{
	struct found found;
	const struct found *control =
	    find_control(&driver->release, api->cmd, &found) ? &found : NULL;
	unsigned flags = control ? control->control.flags : 0;
	struct control_call call = {.driver = driver,
				    .cmd = api->cmd,
				    .tid = from->tid,
				    .from = from,
				    .gpu_index = -1,
				    .size = api->paramsSize};
	cleanup_free void *params = NULL;
	struct task task;
	uint32_t status = check_early(driver, api, control);

	if (status)
		return status;
	/* Room for what the release has, however little was given. */
	params = calloc(1, (size_t)api->paramsSize + (control ? control->size : 1));
	if (!params)
		return NV_ERR_NO_MEMORY;
	if (user_read(driver, from->tid, api->params, params, api->paramsSize))
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
	if (flags & CONTROL_PREPARED)
		status = control->control.prepare(&call);
	if (!status)
		status = run_locked(driver, file, api, control, &call);
	if (!status)
		status = copy_out(&call, api);
	for (unsigned i = 0; i < EMBEDDED; i++)
		free(call.embedded[i].data);
	pid_ns_put(&driver->tasks, call.ns);
	return status;
}

/* Two controls name a file of a GPU, which is looked up before all else, in parameters that are
 * read as long as they should be. */
static int look_up_device(struct driver *driver, const struct sim_call *call,
			  const struct nvos54_parameters *api)
{
	struct attach_gpu params;
	struct sim_file *file;
	const void *asked;
	int err = 0;

	if (api->cmd != NV00FD_CTRL_CMD_ATTACH_GPU)
		return 0;
	if (user_read(driver, call->tid, api->params, &params, sizeof(params)))
		return -EINVAL;
	asked = file_ask(driver, call, (int)params.devDescriptor);
	pthread_mutex_lock(&driver->lock);
	file = file_asked(driver, asked);
	if (!file || file->device != DEVICE_GPU || file->ctl)
		err = -EINVAL;
	pthread_mutex_unlock(&driver->lock);
	return err;
}

int escape_control(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		   struct nvos54_parameters *api)
{
	int err = look_up_device(driver, call, api);

	if (!err)
		api->status = is_null_control(api->cmd) ? NV_OK : execute(driver, file, call, api);
	return err;
}
