/* The ring of utilisation samples: who was seen on which engine (kern_perf_ctrl.c, and what GSP
 * was seen to answer). */
#include <string.h>

#include "tests/simrm/control.h"

enum {
	SAMPLE_PERIOD_US = 166000,
	ENGINE_BYTES = 16 + NV_SUBPROC_NAME_MAX_LENGTH, /* util, vgpuScale, procId, subProcessID */
	ENGINE_BYTES_WITH_OS_PID = 128,
	OS_PID_INFO = 120,
};

static size_t sample_bytes(const struct release *release)
{
	return 8 + (size_t)release->util_engines *
		       (release->util_os_pid_info ? ENGINE_BYTES_WITH_OS_PID : ENGINE_BYTES);
}

static size_t ring_bytes(const struct release *release)
{
	return release->util_samples * sample_bytes(release);
}

/* The client that is the TURN-th to be seen on ENGINE, or NULL when none works there. */
static struct client *worker(struct driver *driver, int gpu, unsigned engine, unsigned turn)
{
	unsigned count = 0;

	for (struct client *client = driver->first_client; client; client = client->next)
		count += client->util[engine] && client_device(client, gpu);
	if (!count)
		return NULL;
	turn %= count;
	for (struct client *client = driver->first_client; client; client = client->next)
		if (client->util[engine] && client_device(client, gpu) && turn-- == 0)
			return client;
	return NULL;
}

static unsigned most_workers(struct driver *driver, int gpu)
{
	unsigned most = 1;

	for (unsigned engine = 0; engine < driver->release.util_engines; engine++) {
		unsigned count = 0;

		for (struct client *client = driver->first_client; client; client = client->next)
			count += client->util[engine] && client_device(client, gpu);
		most = count > most ? count : most;
	}
	return most;
}

static void take_sample(struct driver *driver, int index, uint64_t timestamp)
{
	struct gpu *gpu = &driver->gpu[index];
	struct util_sample *sample = &gpu->ring[gpu->ring_next];

	sample->timestamp = timestamp;
	for (unsigned engine = 0; engine < ENGINES; engine++) {
		const struct client *client = worker(driver, index, engine, gpu->ring_turn);

		sim_pid_put(&driver->tasks, sample->engine[engine].os_pid);
		sample->engine[engine].os_pid =
		    client ? sim_pid_ref(&driver->tasks, client->os_pid) : NULL;
		sample->engine[engine].util = client ? client->util[engine] * 100 : 0;
		sample->engine[engine].proc_id =
		    client ? client->proc_id : NV2080_GPUMON_PID_INVALID;
		sample->engine[engine].sub_process_id =
		    client ? client->sub_process_id : NV2080_GPUMON_PID_INVALID;
	}
	gpu->ring_turn++;
	gpu->ring_next = (gpu->ring_next + 1) % driver->release.util_samples;
	gpu->ring_time = timestamp;
}

/* Takes the samples that are due since the last call, and at least as many as show each process
 * that works now, so that a test need not wait. */
static void advance(struct driver *driver, int index)
{
	struct gpu *gpu = &driver->gpu[index];
	uint64_t now = now_us();
	unsigned due = most_workers(driver, index);

	if (gpu->ring_time && (now - gpu->ring_time) / SAMPLE_PERIOD_US > due)
		due = driver->release.util_samples;
	if (due > driver->release.util_samples)
		due = driver->release.util_samples;
	for (unsigned i = due; i-- > 0;)
		take_sample(driver, index, now - i);
}

static void put_engine(const struct release *release, const struct util_sample *sample,
		       unsigned engine, unsigned char *at)
{
	const uint32_t words[4] = {sample->engine[engine].util, 100, sample->engine[engine].proc_id,
				   sample->engine[engine].sub_process_id};

	memcpy(at, words, sizeof(words));
	if (release->util_os_pid_info && sample->engine[engine].os_pid)
		memcpy(at + OS_PID_INFO, &sample->engine[engine].os_pid->address, 8);
}

/* What the firmware answers: global process ids, and kernel addresses where the release has them.
 */
static void put_raw(const struct control_call *call, unsigned char *samples)
{
	const struct release *release = &call->driver->release;
	size_t engine_bytes = release->util_os_pid_info ? ENGINE_BYTES_WITH_OS_PID : ENGINE_BYTES;

	memset(samples, 0, ring_bytes(release));
	for (unsigned i = 0; i < release->util_samples; i++) {
		const struct util_sample *sample = &call->gpu->ring[i];
		unsigned char *at = samples + i * sample_bytes(release);

		if (!sample->timestamp)
			continue;
		memcpy(at, &sample->timestamp, 8);
		for (unsigned engine = 0; engine < release->util_engines; engine++)
			put_engine(release, sample, engine, at + 8 + engine * engine_bytes);
	}
}

/* What the kernel side makes of it: numbers of the caller's namespace in the first ENTRIES samples
 * where it can see the process. */
static void translate(const struct control_call *call, unsigned char *samples, uint32_t entries)
{
	const struct release *release = &call->driver->release;

	for (uint32_t i = 0; i < entries; i++) {
		const struct util_sample *sample = &call->gpu->ring[i];
		unsigned char *at = samples + i * sample_bytes(release) + 8;

		for (unsigned engine = 0; sample->timestamp && engine < release->util_engines;
		     engine++, at += ENGINE_BYTES_WITH_OS_PID) {
			struct sim_pid *pid = sample->engine[engine].os_pid;
			uint32_t number = pid ? pid_nr_ns(pid, call->ns) : 0;

			if (!number)
				continue;
			memcpy(at + 8, &number, sizeof(number));
			memset(at + OS_PID_INFO, 0, 8);
		}
	}
}

uint32_t size_util_v2(const struct release *release)
{
	return (uint32_t)(sizeof(struct util_samples_header) + ring_bytes(release));
}

uint32_t run_util_v2(struct control_call *call)
{
	const struct release *release = &call->driver->release;
	struct util_samples_header *head = call->params;
	unsigned char *samples = (unsigned char *)(head + 1);
	uint32_t entries = (uint32_t)(head->bufSize / sample_bytes(release));

	if (head->type != NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL ||
	    head->bufSize > ring_bytes(release))
		return NV_ERR_INVALID_ARGUMENT;
	advance(call->driver, call->gpu_index);
	put_raw(call, samples);
	head->count = 0;
	head->tracker = (uint32_t)(call->gpu->ring_next * sample_bytes(release));
	if (release->util == SPACE_GLOBAL ||
	    (release->util_raw_for_init_ns && pid_ns_is_init(call->ns)))
		return NV_OK;
	translate(call, samples, entries);
	return NV_OK;
}

uint32_t size_util_v1(const struct release *release)
{
	return release->util_v1 ? sizeof(struct util_samples_v1) : 0;
}

uint32_t prepare_util_v1(struct control_call *call)
{
	const struct util_samples_v1 *params = call->params;

	if (params->type != NV2080_CTRL_GPUMON_SAMPLE_TYPE_PERFMON_UTIL ||
	    params->bufSize != ring_bytes(&call->driver->release) || !params->pSamples)
		return NV_ERR_INVALID_ARGUMENT;
	return control_embed(call, 0, params->pSamples, params->bufSize);
}

/* Releases that export it have no translation of samples. */
uint32_t run_util_v1(struct control_call *call)
{
	struct util_samples_v1 *params = call->params;

	advance(call->driver, call->gpu_index);
	put_raw(call, call->embedded[0].data);
	params->count = 0;
	params->tracker = (uint32_t)(call->gpu->ring_next * sample_bytes(&call->driver->release));
	return NV_OK;
}
