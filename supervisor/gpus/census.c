#include "supervisor/gpus/census.h"

#include "base/cleanup.h"
#include "supervisor/call.h"
#include "supervisor/engine.h"
#include "supervisor/handlers/fold.h"
#include "supervisor/handlers/memory_query.h"

#include <errno.h>
#include <string.h>

enum {
	CMD_NAME = 0x20800110,
	CMD_UUID = 0x2080014a,
	CMD_PIDS = 0x2080018d,
	CMD_PID_INFO = 0x2080018e,
	CMD_UTIL = 0x20802096, /* V2: the older one may reach firmware with a pointer of ours */
	UTIL_PERFMON = 2,      /* NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL */
	NO_PROCESS = -1,
};

/* A process that was not seen on an engine for so long is idle there (microseconds). */
#define LATELY UINT64_C(5000000)

/* Whom a class of channels belongs to (cl*.h); a process with a subdevice alone only asks, as
 * nvidia-smi does. */
static const struct {
	uint32_t class_id;
	unsigned int type;
} classes[] = {
    {0xa0c0, CENSUS_COMPUTE},  {0xa1c0, CENSUS_COMPUTE},  {0xb0c0, CENSUS_COMPUTE},
    {0xb1c0, CENSUS_COMPUTE},  {0xc0c0, CENSUS_COMPUTE},  {0xc1c0, CENSUS_COMPUTE},
    {0xc3c0, CENSUS_COMPUTE},  {0xc4c0, CENSUS_COMPUTE},  {0xc5c0, CENSUS_COMPUTE},
    {0xc6c0, CENSUS_COMPUTE},  {0xc7c0, CENSUS_COMPUTE},  {0xc9c0, CENSUS_COMPUTE},
    {0xcbc0, CENSUS_COMPUTE},  {0xcdc0, CENSUS_COMPUTE},  {0xcec0, CENSUS_COMPUTE},
    {0x900e, CENSUS_MPS},      {0xa097, CENSUS_GRAPHICS}, {0xa197, CENSUS_GRAPHICS},
    {0xb097, CENSUS_GRAPHICS}, {0xb197, CENSUS_GRAPHICS}, {0xc097, CENSUS_GRAPHICS},
    {0xc197, CENSUS_GRAPHICS}, {0xc397, CENSUS_GRAPHICS}, {0xc597, CENSUS_GRAPHICS},
    {0xc697, CENSUS_GRAPHICS}, {0xc797, CENSUS_GRAPHICS}, {0xc997, CENSUS_GRAPHICS},
    {0xcb97, CENSUS_GRAPHICS}, {0xcd97, CENSUS_GRAPHICS}, {0xce97, CENSUS_GRAPHICS},
    {NV20_SUBDEVICE_0, 0},
};

/* A question to one GPU, in the shape of a call that a process of the host makes. */
static struct call make_call(const struct census_source *source, const struct gpu_client *client,
			     const struct gpu_handle *handle)
{
	struct call call = {.pids = &source->pids,
			    .driver = &source->driver,
			    .roster = source->roster,
			    .journal = source->journal,
			    .proxied = source->proxied,
			    .label = "host",
			    .fd = client->control,
			    .view = {.method = engine_best_pid_lookup(), .host = true},
			    .control = {.hClient = client->handle, .hObject = handle->subdevice}};
	struct task_status own;

	call.target = (struct target)TARGET_NONE;
	call.target.tid = gettid();
	if (!task_status_read(gettid(), &own)) {
		call.target.euid = own.euid;
		call.target.egid = own.egid;
		call.target.capabilities = own.capabilities;
	}
	return call;
}

/* Runs HANDLER on the control CMD, with PREPARE's words in the params; they become the answer.
 * Returns the params, which the caller frees, or NULL with ERROR filled. */
static uint8_t *run(struct call *call, uint32_t cmd, call_handler *handler, const uint32_t *words,
		    size_t count, struct mpu_error *error)
{
	const struct nvabi_pid_control *layout = nvabi_pids_find(call->pids, cmd);
	uint32_t size = !layout ? 0 : layout->size ? layout->size : layout->assumed_size;
	cleanup_free uint8_t *params = calloc(2, size ? size : 1);
	int result = -EOPNOTSUPP;

	if (!params)
		result = -ENOMEM;
	if (params && size >= count * sizeof(*words)) {
		memcpy(params, words, count * sizeof(*words));
		memcpy(params + size, words, count * sizeof(*words));
		call->layout = layout;
		call->control.cmd = cmd;
		call->control.paramsSize = size;
		call->params = params;
		call->before = params + size;
		result = handler(call);
	}
	call->params = NULL;
	call->before = NULL;
	if (!result && call->control.status == NV_OK)
		return steal_ptr(params);
	if (result)
		mpu_fail(error, -result, "control 0x%08x: %s", cmd, strerror(-result));
	else
		mpu_fail(error, EIO, "control 0x%08x: the driver answers with status 0x%x", cmd,
			 call->control.status);
	return NULL;
}

/* ---- Who ---- */

static struct census_process *find(struct census_gpu *gpu, pid_t pid)
{
	for (size_t i = 0; i < gpu->count; i++)
		if (gpu->process[i].pid == pid)
			return &gpu->process[i];
	return NULL;
}

static int add(struct census_gpu *gpu, pid_t pid, unsigned int type)
{
	struct census_process *process = find(gpu, pid);

	if (!process) {
		process = realloc(gpu->process, (gpu->count + 1) * sizeof(*process));
		if (!process)
			return -ENOMEM;
		gpu->process = process;
		process += gpu->count++;
		*process = (struct census_process){.pid = pid};
		for (size_t i = 0; i < NVABI_ENGINES; i++)
			process->util[i] = CENSUS_IDLE;
	}
	process->types |= type;
	return 0;
}

static void list_class(struct call *call, size_t which, struct census_gpu *gpu)
{
	const uint32_t question[] = {NV2080_CTRL_GPU_GET_PIDS_ID_TYPE_CLASS,
				     classes[which].class_id};
	cleanup_free uint8_t *params =
	    run(call, CMD_PIDS, handle_get_pids, question, 2, &gpu->error);
	uint32_t count = params ? get_u32(params, call->layout->list_count) : 0;

	for (uint32_t i = 0; i < count; i++)
		if (add(gpu,
			(pid_t)get_u32(params,
				       call->layout->list_first + i * call->layout->list_stride),
			classes[which].type))
			mpu_fail(&gpu->error, ENOMEM, "out of memory");
}

/* ---- How much ---- */

static int ask_memory(struct call *call, struct census_gpu *gpu, struct memory_query *queries,
		      uint8_t *entries, const struct nvabi_pid_control *layout, uint32_t *status)
{
	uint32_t stride = layout->list_stride;
	int result;

	for (size_t i = 0; i < gpu->count; i++) {
		queries[i] = (struct memory_query){gpu->process[i].pid, entries + i * stride};
		put_u32(queries[i].entry, layout->entry_pid, (uint32_t)gpu->process[i].pid);
	}
	result = memory_query(call, layout, layout->size ? layout->size : layout->assumed_size,
			      stride, queries, gpu->count, status);
	for (size_t i = 0; !result && *status == NV_OK && i < gpu->count; i++)
		gpu->process[i].memory = get_u64(queries[i].entry, layout->entry_data) +
					 get_u64(queries[i].entry, layout->entry_data + 8);
	return result;
}

static void count_memory(struct call *call, struct census_gpu *gpu)
{
	const struct nvabi_pid_control *layout = nvabi_pids_find(call->pids, CMD_PID_INFO);
	cleanup_free struct memory_query *queries = calloc(gpu->count + 1, sizeof(*queries));
	cleanup_free uint8_t *entries =
	    calloc(gpu->count + 1, layout && layout->list_stride ? layout->list_stride : 1);
	uint32_t status = NV_OK;
	int result = -EOPNOTSUPP;

	if (!gpu->count)
		return;
	if (!queries || !entries)
		result = -ENOMEM;
	else if (layout)
		result = ask_memory(call, gpu, queries, entries, layout, &status);
	if (result)
		mpu_fail(&gpu->error, -result, "its processes' memory: %s", strerror(-result));
	else if (status != NV_OK)
		mpu_fail(&gpu->error, EIO,
			 "its processes' memory: the driver answers with status 0x%x", status);
}

/* ---- How busy ---- */

static uint64_t newest_sample(const struct nvabi_pid_control *layout, const uint8_t *samples)
{
	uint64_t newest = 0;

	for (uint32_t i = 0; i < layout->list_capacity; i++) {
		uint64_t at = get_u64(samples + i * layout->list_stride, layout->sample_timestamp);

		newest = at > newest ? at : newest;
	}
	return newest;
}

/* AT: when each process was last seen on each engine. */
static void read_sample(const struct nvabi_pid_control *layout, const uint8_t *sample,
			struct census_gpu *gpu, uint64_t (*at)[NVABI_ENGINES])
{
	uint64_t when = get_u64(sample, layout->sample_timestamp);

	for (size_t engine = 0; engine < layout->engine_count; engine++) {
		pid_t pid = (pid_t)get_u32(sample, layout->engine[engine].proc_id);
		struct census_process *process = pid && pid != NO_PROCESS ? find(gpu, pid) : NULL;

		if (!process || at[process - gpu->process][engine] > when)
			continue;
		at[process - gpu->process][engine] = when;
		process->util[engine] = (int)get_u32(sample, layout->engine[engine].util);
	}
}

/* A GPU that cannot tell is no error: those with MIG do not. */
static void read_utilisation(struct call *call, struct census_gpu *gpu)
{
	const struct nvabi_pid_control *layout = nvabi_pids_find(call->pids, CMD_UTIL);
	uint32_t bytes = layout ? (uint32_t)layout->list_capacity * layout->list_stride : 0;
	uint32_t question[] = {UTIL_PERFMON, bytes};
	cleanup_free uint8_t *params =
	    layout && layout->buffer_size == sizeof(uint32_t) && !layout->raw
		? run(call, CMD_UTIL, handle_util_samples, question, 2, NULL)
		: NULL;
	cleanup_free uint64_t(*at)[NVABI_ENGINES] = calloc(gpu->count + 1, sizeof(*at));
	const uint8_t *samples = params ? params + layout->list_first : NULL;
	uint64_t newest = params ? newest_sample(layout, samples) : 0;

	gpu->engines = params ? layout->engine_count : 0;
	for (uint32_t i = 0; at && newest && i < layout->list_capacity; i++) {
		const uint8_t *sample = samples + i * layout->list_stride;

		if (get_u64(sample, layout->sample_timestamp) + LATELY > newest)
			read_sample(layout, sample, gpu, at);
	}
}

/* ---- All of it ---- */

static void name_gpu(const struct gpu_client *client, const struct gpu_handle *handle,
		     struct census_gpu *gpu)
{
	struct {
		uint32_t flags; /* 0: ASCII */
		char text[128];
	} name = {0};
	struct {
		uint32_t index, flags, length; /* 0: text */
		char data[256];
	} uuid = {0};

	if (!gpu_client_control(client, handle->subdevice, CMD_NAME, &name, sizeof(name)))
		snprintf(gpu->name, sizeof(gpu->name), "%.*s", (int)sizeof(gpu->name) - 1,
			 name.text);
	if (!gpu_client_control(client, handle->subdevice, CMD_UUID, &uuid, sizeof(uuid)))
		snprintf(gpu->uuid, sizeof(gpu->uuid), "%.*s", (int)sizeof(gpu->uuid) - 1,
			 uuid.data);
}

static int compare(const void *one, const void *other)
{
	const struct census_process *a = one, *b = other;

	if (a->memory != b->memory)
		return a->memory < b->memory ? 1 : -1;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

/* Who has the GPU open and nothing on it only asks. */
static void drop_askers(struct census_gpu *gpu)
{
	size_t kept = 0;

	for (size_t i = 0; i < gpu->count; i++)
		if (gpu->process[i].types || gpu->process[i].memory)
			gpu->process[kept++] = gpu->process[i];
	gpu->count = kept;
	if (kept)
		qsort(gpu->process, kept, sizeof(*gpu->process), compare);
}

static void ask_gpu(const struct census_source *source, struct gpu_client *client,
		    struct census_gpu *gpu)
{
	struct gpu_handle handle = GPU_HANDLE_NONE;

	if (!gpu_client_open_gpu(client, &gpu->place, &handle, &gpu->error)) {
		struct call call = make_call(source, client, &handle);

		name_gpu(client, &handle, gpu);
		for (size_t i = 0; !gpu->error.code && i < sizeof(classes) / sizeof(classes[0]);
		     i++)
			list_class(&call, i, gpu);
		count_memory(&call, gpu);
		drop_askers(gpu);
		read_utilisation(&call, gpu);
	}
	gpu_client_close_gpu(client, &handle);
}

static int compare_gpus(const void *one, const void *other)
{
	const struct gpu_place *a = one, *b = other;

	return (a->index > b->index) - (a->index < b->index);
}

int census_find_driver(struct census_source *source, struct mpu_error *error)
{
	int result = driver_find(&source->driver, source->dev_root, NULL, error);

	return result ? result : driver_compose(&source->driver, &source->pids, error);
}

int census_take(struct census *census, const struct census_source *source, struct mpu_error *error)
{
	cleanup_gpu_client struct gpu_client client = GPU_CLIENT_NONE;
	struct gpu_place places[GPU_CLIENT_GPUS];
	int count;

	*census = (struct census){.pids = source->pids};
	count = gpu_client_open(&client, source->dev_root, &source->driver.version, error);
	if (!count)
		count = gpu_client_list(&client, places, error);
	if (count < 0)
		return count;
	qsort(places, (size_t)count, sizeof(places[0]), compare_gpus);
	for (; census->count < (size_t)count; census->count++) {
		census->gpu[census->count].place = places[census->count];
		ask_gpu(source, &client, &census->gpu[census->count]);
	}
	return 0;
}

void census_free(struct census *census)
{
	for (size_t i = 0; i < census->count; i++)
		free(census->gpu[i].process);
	census->count = 0;
}
