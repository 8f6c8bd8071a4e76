#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "examples/gpu-ps.h"

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		abort();
	return memory;
}

static void ask_name(struct rm_client *client, const struct rm_gpu *gpu, struct ps_gpu *out)
{
	struct {
		uint32_t flags;
		char ascii[128];
	} params = {0};

	if (!rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_NAME_STRING, &params,
			sizeof(params)))
		memcpy(out->name, params.ascii, sizeof(out->name) - 1);
}

static void ask_list(struct rm_client *client, const struct rm_gpu *gpu, struct ps_list *list)
{
	list->params = allocate(sizeof(*list->params));
	list->params->id = list->class_id;
	list->result = rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_PIDS,
				  list->params, sizeof(*list->params));
}

static void add_pid(struct ps_gpu *out, uint32_t pid)
{
	for (unsigned i = 0; i < out->pid_infos; i++)
		if (out->pid_info[i].pid == pid)
			return;
	out->pid_info[out->pid_infos++].pid = pid;
}

/* Asks for COUNT entries from FIRST on. The entry of older releases ends sooner. */
static int ask_pid_infos(struct rm_client *client, const struct rm_gpu *gpu, struct pid_info *first,
			 uint32_t count)
{
	unsigned stride = client->rm->layout.pid_info_stride;
	uint32_t size = 8 + NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT * stride;
	cleanup_free unsigned char *params = allocate(size);
	int result;

	memcpy(params, &count, sizeof(count));
	for (uint32_t i = 0; i < count; i++)
		memcpy(params + 8 + (size_t)i * stride, &first[i].pid, sizeof(uint32_t));
	result = rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_PID_INFO, params, size);
	if (result)
		return result;
	for (uint32_t i = 0; i < count; i++) {
		const unsigned char *entry = params + 8 + (size_t)i * stride;
		struct pid_info *info = &first[i];

		if (stride == sizeof(*info)) {
			memcpy(info, entry, sizeof(*info));
			continue;
		}
		memcpy(info, entry, 40);
		if (stride == 48)
			memcpy(&info->computeInstanceId, entry + 40, 8);
	}
	return NV_OK;
}

static void ask_memory(struct rm_client *client, const struct rm_gpu *gpu,
		       const struct ps_options *options, struct ps_gpu *out)
{
	out->pid_info = allocate(PS_CLASSES * PS_PIDS * sizeof(*out->pid_info));
	for (unsigned i = 0; i < options->classes; i++)
		if (!out->list[i].result)
			for (uint32_t at = 0; at < out->list[i].params->pidTblCount && at < PS_PIDS;
			     at++)
				add_pid(out, out->list[i].params->pidTbl[at]);
	for (unsigned first = 0; first < out->pid_infos && !out->pid_info_result;
	     first += NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT) {
		unsigned left = out->pid_infos - first;

		out->pid_info_result = ask_pid_infos(client, gpu, &out->pid_info[first],
						     left < NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT
							 ? left
							 : NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT);
	}
}

static size_t sample_size(const struct rm_layout *layout)
{
	return 8 + (size_t)layout->util_engines * layout->util_engine_size;
}

static void decode_samples(const struct rm_layout *layout, const unsigned char *data,
			   struct ps_samples *out)
{
	out->samples = layout->util_samples;
	out->engines = layout->util_engines;
	out->sample = allocate(out->samples * sizeof(*out->sample));
	for (unsigned i = 0; i < out->samples; i++) {
		const unsigned char *at = data + i * sample_size(layout);

		memcpy(&out->sample[i].timestamp, at, 8);
		for (unsigned engine = 0; engine < out->engines; engine++) {
			const unsigned char *part = at + 8 + engine * layout->util_engine_size;
			struct ps_engine *to = &out->sample[i].engine[engine];

			memcpy(&to->util, part, 4);
			memcpy(&to->pid, part + 8, 4);
			memcpy(&to->sub_pid, part + 12, 4);
			if (layout->util_engine_size == 128)
				memcpy(&to->os_pid_info, part + 120, 8);
		}
	}
}

static void ask_util(struct rm_client *client, const struct rm_gpu *gpu, struct ps_samples *out)
{
	const struct rm_layout *layout = &client->rm->layout;
	size_t samples = layout->util_samples * sample_size(layout);
	struct util_samples_header *head;
	cleanup_free unsigned char *params = allocate(sizeof(*head) + samples);

	head = (struct util_samples_header *)params;
	head->type = NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL;
	head->bufSize = (uint32_t)samples;
	out->result = rm_control(client, gpu->subdevice,
				 NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES_V2, params,
				 (uint32_t)(sizeof(*head) + samples));
	if (out->result)
		return;
	out->count = head->count;
	out->tracker = head->tracker;
	decode_samples(layout, params + sizeof(*head), out);
}

/* NV2080_CTRL_GPUMON_SAMPLES: the same samples behind a pointer. */
static void ask_util_v1(struct rm_client *client, const struct rm_gpu *gpu, struct ps_samples *out)
{
	const struct rm_layout *layout = &client->rm->layout;
	size_t samples = layout->util_samples * sample_size(layout);
	cleanup_free unsigned char *data = allocate(samples);
	struct util_samples_v1 params = {.type = NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL,
					 .bufSize = (uint32_t)samples,
					 .pSamples = (uint64_t)(uintptr_t)data};

	/* A driver that does not export the control hands our pointer on to GSP firmware, which may
	 * write to that address of its own. Not to be tried: it counts as not supported. */
	if (!layout->util_v1) {
		out->result = NV_ERR_NOT_SUPPORTED;
		return;
	}
	out->result =
	    rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_PERF_GET_GPUMON_PERFMON_UTIL_SAMPLES,
		       &params, sizeof(params));
	if (out->result)
		return;
	out->count = params.count;
	out->tracker = params.tracker;
	decode_samples(layout, data, out);
}

static void ask_account(struct rm_client *client, uint32_t gpu_id, uint32_t pid,
			struct ps_account *out)
{
	out->asked = pid;
	out->info.gpuId = gpu_id;
	out->info.pid = pid;
	out->result =
	    rm_control(client, client->handle, NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO,
		       &out->info, sizeof(out->info));
}

static void ask_accounting(struct rm_client *client, uint32_t gpu_id,
			   const struct ps_options *options, struct ps_gpu *out)
{
	unsigned listed;
	uint32_t state[3] = {gpu_id}; /* gpuId, pid, state */

	out->acct_state_result =
	    rm_control(client, client->handle, NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_STATE, state,
		       sizeof(state));
	out->acct_state = state[2];
	out->acct_pids = allocate(sizeof(*out->acct_pids));
	out->acct_pids->gpuId = gpu_id;
	out->acct_pids_result =
	    rm_control(client, client->handle, NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS,
		       out->acct_pids, sizeof(*out->acct_pids));
	if (out->acct_pids_result || out->acct_pids->pidCount > NV0000_GPUACCT_PID_MAX_COUNT)
		out->acct_pids->pidCount = 0;
	listed = out->acct_pids->pidCount;
	out->accounts = listed + options->accounts;
	out->account = allocate((out->accounts + 1) * sizeof(*out->account));
	for (unsigned i = 0; i < out->accounts; i++)
		ask_account(client, gpu_id,
			    i < listed ? out->acct_pids->pidTbl[i] : options->account[i - listed],
			    &out->account[i]);
}

static void ask_sessions(struct rm_client *client, const struct rm_gpu *gpu, struct ps_gpu *out)
{
	struct nvenc_sessions pointed = {.sessionInfoTblEntry =
					     NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES};

	out->nvenc = allocate(sizeof(*out->nvenc));
	pointed.sessionInfoTbl = (uint64_t)(uintptr_t)out->nvenc->sessionInfoTbl;
	out->nvenc_result =
	    rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO,
		       &pointed, sizeof(pointed));
	out->nvenc->sessionInfoTblEntry = pointed.sessionInfoTblEntry;
	out->nvenc_v2 = allocate(sizeof(*out->nvenc_v2));
	out->nvenc_v2->sessionInfoTblEntry = NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES;
	out->nvenc_v2_result =
	    rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO_V2,
		       out->nvenc_v2, sizeof(*out->nvenc_v2));
	out->nvfbc = allocate(sizeof(*out->nvfbc));
	out->nvfbc_result =
	    rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_NVFBC_SW_SESSION_INFO,
		       out->nvfbc, sizeof(*out->nvfbc));
}

void ps_ask(struct rm_client *client, uint32_t gpu_id, const struct ps_options *options,
	    struct ps_gpu *out)
{
	struct rm_gpu gpu;

	out->gpu_id = gpu_id;
	out->opened = rm_gpu_open(client, gpu_id, &gpu);
	if (out->opened)
		return;
	ask_name(client, &gpu, out);
	for (unsigned i = 0; i < options->classes; i++) {
		out->list[i].class_id = options->class_id[i];
		ask_list(client, &gpu, &out->list[i]);
	}
	ask_memory(client, &gpu, options, out);
	ask_util(client, &gpu, &out->util);
	ask_util_v1(client, &gpu, &out->util_v1);
	ask_accounting(client, gpu_id, options, out);
	ask_sessions(client, &gpu, out);
}

void ps_free(struct ps_gpu *gpus, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct ps_gpu *gpu = &gpus[i];

		for (unsigned at = 0; at < PS_CLASSES; at++)
			free(gpu->list[at].params);
		free(gpu->pid_info);
		free(gpu->util.sample);
		free(gpu->util_v1.sample);
		free(gpu->acct_pids);
		free(gpu->account);
		free(gpu->nvenc);
		free(gpu->nvenc_v2);
		free(gpu->nvfbc);
	}
}
