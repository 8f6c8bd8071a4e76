/* Asking for numbers that nobody has told: a container that tries them all. */
#include "tests/e2e/hostile.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_PIDS = 4000, ENTRIES = NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT };

/* Prints the PIDs among COUNT numbers of PID of which the driver tells memory. */
static void ask_memory(const struct gpu *gpu, const uint32_t *pid, uint32_t count)
{
	const struct nvabi_pid_control *control =
	    nvabi_pids_find(&gpu->pids, NV2080_CTRL_CMD_GPU_GET_PID_INFO);
	unsigned char *params = calloc(1, control_size(control));
	struct nvos54_parameters call = gpu_call(gpu, control, params);
	struct result result;

	memcpy(params + control->list_count, &count, sizeof(count));
	for (uint32_t i = 0; i < count; i++)
		memcpy(params + control->list_first + i * control->list_stride + control->entry_pid,
		       &pid[i], sizeof(pid[i]));
	result = call_control(gpu->ctl, RM_CONTROL, &call);
	if (result.error || result.status)
		say_result("memory", "refused", result);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t bytes;

		memcpy(&bytes,
		       params + control->list_first + i * control->list_stride +
			   control->entry_data,
		       sizeof(bytes));
		if (bytes)
			say("memory", "%u %lu", pid[i], bytes);
	}
	free(params);
}

static void ask_account(const struct gpu *gpu, uint32_t pid)
{
	struct acct_proc_info info = {.gpuId = gpu->gpu_id, .pid = pid};
	struct result result =
	    gpu_control(gpu, NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO, &info, sizeof(info));

	if (!result.error && !result.status)
		say("accounting", "%u answers as %u, %lu", pid, info.pid, info.startTime);
}

void probe(struct gpu *gpu, char **pids)
{
	uint32_t batch[ENTRIES], filled = 0;

	for (uint32_t pid = 1; pid <= SMALL_PIDS || *pids; pid++) {
		uint32_t number = pid;

		if (pid > SMALL_PIDS)
			number = (uint32_t)strtoul(*pids++, NULL, 10);
		ask_account(gpu, number);
		batch[filled++] = number;
		if (filled == ENTRIES) {
			ask_memory(gpu, batch, filled);
			filled = 0;
		}
	}
	if (filled)
		ask_memory(gpu, batch, filled);
}
