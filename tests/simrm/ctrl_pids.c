/* GPU_GET_PIDS and GPU_GET_PID_INFO, as gpu_rmapi.c and subdevice_ctrl_gpu_kernel.c have them. */
#include <string.h>

#include "tests/simrm/control.h"

enum {
	GET_PIDS_ID_TYPE_CLASS = 0,
	GET_PIDS_ID_TYPE_VGPU_GUEST = 1,
	PID_INFO_INDEX_VIDEO_MEMORY_USAGE = 0,
	PID_INFO_DATA = 16, /* offset in an entry: pid, index, result, then 8-aligned */
};

uint32_t size_get_pids(const struct release *release)
{
	(void)release;
	return sizeof(struct get_pids_params);
}

/* _gpuConvertPid(): false where the caller's namespace cannot see the process. The number is
 * written even then. */
static bool convert_pid(const struct client *client, const struct pid_ns *ns, uint32_t *number)
{
	*number = client->os_pid ? pid_nr_ns(client->os_pid, ns) : client->proc_id;
	return *number != 0;
}

static bool saved_already(uint32_t pid, const uint32_t *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i] == pid)
			return true;
	return false;
}

/* Whether the client has an object of the class that is asked for on this GPU. */
static bool has_element(const struct client *client, int gpu, uint32_t id)
{
	for (const struct object *object = client->objects; object; object = object->next) {
		if (id == NV20_SUBDEVICE_0 && object->kind == OBJECT_SUBDEVICE)
			return true;
		if (id == MPS_COMPUTE && object->kind == OBJECT_MPS)
			return true;
		if (object->kind == OBJECT_ENGINE && object->class_id == id && object->gpu == gpu)
			return true;
	}
	return false;
}

uint32_t run_get_pids(struct control_call *call)
{
	struct get_pids_params *params = call->params;
	uint32_t count = 0;

	if (params->idType == GET_PIDS_ID_TYPE_VGPU_GUEST) {
		params->pidTblCount = 0;
		return NV_OK;
	}
	if (params->idType != GET_PIDS_ID_TYPE_CLASS)
		return NV_ERR_INVALID_ARGUMENT;
	for (struct client *client = call->driver->first_client; client; client = client->next) {
		if (saved_already(client->proc_id, params->pidTbl, count))
			continue;
		if (!client_device(client, call->gpu_index) ||
		    !has_element(client, call->gpu_index, params->id))
			continue;
		if (convert_pid(client, call->ns, &params->pidTbl[count]))
			count++;
		if (count == NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT)
			break;
	}
	params->pidTblCount = count;
	return NV_OK;
}

uint32_t size_get_pid_info(const struct release *release)
{
	return 8 + NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT * release->pid_info_stride;
}

static bool match_client(const struct driver *driver, const struct client *client,
			 const struct pid_ns *ns, uint32_t pid)
{
	uint32_t number;

	if (driver->release.get_pid_info == SPACE_GLOBAL)
		return client->proc_id == pid;
	return convert_pid(client, ns, &number) && number == pid;
}

struct process_memory find_process_memory(struct driver *driver, const struct pid_ns *ns,
					  int gpu_index, uint32_t pid)
{
	struct process_memory memory = {0};

	for (struct client *client = driver->first_client; client; client = client->next) {
		if (!match_client(driver, client, ns, pid))
			continue;
		for (const struct object *object = client->objects; object; object = object->next)
			if (object->kind == OBJECT_MEMORY && object->gpu == gpu_index)
				memory.private_bytes += object->size;
	}
	return memory;
}

/* An entry of any stride: the SMC ids, where the release has them, end it. */
static void fill_entry(struct control_call *call, unsigned char *entry, unsigned stride)
{
	static const uint32_t no_partition[2] = {UINT32_MAX, UINT32_MAX};
	size_t data_size = stride == 40 ? 24 : stride - PID_INFO_DATA - sizeof(no_partition);
	struct process_memory memory;
	uint32_t head[3]; /* pid, index, result */

	memcpy(head, entry, sizeof(head));
	if (stride != 40)
		memcpy(entry + stride - sizeof(no_partition), no_partition, sizeof(no_partition));
	head[2] = NV_ERR_INVALID_ARGUMENT;
	if (head[1] == PID_INFO_INDEX_VIDEO_MEMORY_USAGE) {
		memset(entry + PID_INFO_DATA, 0, data_size);
		if (head[0]) {
			memory =
			    find_process_memory(call->driver, call->ns, call->gpu_index, head[0]);
			memcpy(entry + PID_INFO_DATA, &memory.private_bytes,
			       sizeof(memory.private_bytes));
			head[2] = NV_OK;
		}
	}
	memcpy(entry, head, sizeof(head));
}

uint32_t run_get_pid_info(struct control_call *call)
{
	unsigned stride = call->driver->release.pid_info_stride;
	unsigned char *params = call->params;
	uint32_t count;

	memcpy(&count, params, sizeof(count));
	if (!count || count > NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT)
		return NV_ERR_INVALID_ARGUMENT;
	for (uint32_t i = 0; i < count; i++)
		fill_entry(call, params + 8 + (size_t)i * stride, stride);
	return NV_OK;
}
