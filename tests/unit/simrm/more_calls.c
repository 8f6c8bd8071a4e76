/* Shared memory with process ids, accounting by its own calls, and what passes through. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/unit/simrm/world.h"

static int control(const struct world *world, uint32_t object, uint32_t cmd, void *params,
		   uint32_t size)
{
	return rm_control(&world->client, object, cmd, params, size);
}

Test(simrm_more_calls, event_buffers_are_bound_by_those_who_have_one)
{
	struct {
		struct bind_event_buffer bind;
		uint32_t reasonCode;
	} params = {.bind.hEventBuffer = 0x1234};
	struct world world;
	uint32_t buffer;

	world_open(&world, "580.142");
	cr_assert_eq(control(&world, world.gpu.subdevice,
			     NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID, &params.bind,
			     sizeof(params.bind)),
		     NV_ERR_OBJECT_NOT_FOUND);
	cr_assert_eq(
	    rm_alloc(&world.client, world.client.handle, FECS_EVENT_BUFFER, NULL, 0, &buffer), 0);
	params.bind.hEventBuffer = buffer;
	cr_assert_eq(control(&world, world.gpu.subdevice,
			     NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID, &params.bind,
			     sizeof(params.bind)),
		     NV_OK);
	cr_assert_eq(control(&world, world.gpu.subdevice,
			     NV2080_CTRL_CMD_GR_FECS_BIND_EVTBUF_FOR_UID_V2, &params,
			     sizeof(params)),
		     NV_OK);
	cr_assert_eq(control(&world, world.gpu.subdevice, NV2080_CTRL_CMD_EVENT_VIDEO_BIND_EVTBUF,
			     &params.bind, sizeof(params.bind)),
		     NV_ERR_NOT_SUPPORTED, "video traces are of all users or none");
	params.bind.bAllUsers = 1;
	cr_assert_eq(control(&world, world.gpu.subdevice, NV2080_CTRL_CMD_EVENT_VIDEO_BIND_EVTBUF,
			     &params.bind, sizeof(params.bind)),
		     NV_OK);
	world_close(&world);
}

/* Allocates RUSD and says what the controls about it answer. */
static void expect_rusd(const char *version, uint32_t alloc, uint32_t poll, uint32_t features)
{
	uint64_t mask = 0x80;
	uint32_t rusd, bits = 0;
	struct world world;

	world_open(&world, version);
	cr_expect_eq(rm_alloc(&world.client, world.gpu.subdevice, RM_USER_SHARED_DATA, &mask,
			      sizeof(mask), &rusd),
		     (int)alloc, "%s", version);
	if (!alloc)
		cr_expect_eq(
		    control(&world, rusd, NV00DE_CTRL_CMD_REQUEST_DATA_POLL, &mask, sizeof(mask)),
		    (int)poll, "%s", version);
	cr_expect_eq(control(&world, world.gpu.subdevice,
			     NV2080_CTRL_CMD_GPU_RUSD_GET_SUPPORTED_FEATURES, &bits, sizeof(bits)),
		     (int)features, "%s", version);
	cr_expect_eq(bits, features ? 0 : 3);
	world_close(&world);
}

Test(simrm_more_calls, user_shared_data_is_there_as_the_release_has_it)
{
	expect_rusd("515.65.01", NV_ERR_INVALID_CLASS, 0, NV_ERR_NOT_SUPPORTED);
	expect_rusd("535.183.06", NV_OK, NV_ERR_NOT_SUPPORTED, NV_ERR_NOT_SUPPORTED);
	expect_rusd("580.142", NV_OK, NV_OK, NV_ERR_NOT_SUPPORTED);
	expect_rusd("590.44.01", NV_OK, NV_OK, NV_OK);
}

static int account_of(const struct world *world, uint32_t gpu_id, uint32_t pid,
		      struct acct_proc_info *info)
{
	*info = (struct acct_proc_info){.gpuId = gpu_id, .pid = pid};
	return control(world, world->client.handle,
		       NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO, info, sizeof(*info));
}

Test(simrm_more_calls, accounting_keeps_the_last_128_of_the_dead_and_the_latest_of_each)
{
	static struct acct_pids pids;
	struct acct_proc_info info;
	struct world world;
	uint32_t clear[2];

	world_open(&world, "535.104.05");
	for (unsigned pid = 100000; pid < 100130; pid++)
		cr_assert_eq(sim_command(&world.sim, "dead pid=%u memory=1", pid), 0);
	cr_assert_eq(sim_command(&world.sim, "dead pid=100129 memory=9"), 0);
	pids.gpuId = world.gpu.gpu_id;
	cr_assert_eq(control(&world, world.client.handle,
			     NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS, &pids, sizeof(pids)),
		     NV_OK);
	cr_assert_eq(pids.pidCount, 128);
	cr_assert_eq(pids.pidTbl[0], 100002);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, 100129, &info), NV_OK);
	cr_assert_eq(info.maxFbUsage, 9 << 20);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, 100001, &info), NV_ERR_OBJECT_NOT_FOUND);
	cr_assert_eq(account_of(&world, 0x777, 100129, &info), NV_ERR_INVALID_ARGUMENT);
	clear[0] = world.gpu.gpu_id;
	cr_assert_eq(control(&world, world.client.handle,
			     NV0000_CTRL_CMD_GPUACCT_CLEAR_ACCOUNTING_DATA, clear, sizeof(clear)),
		     NV_OK);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, 100129, &info), NV_ERR_OBJECT_NOT_FOUND);
	world_close(&world);
}

Test(simrm_more_calls, a_dead_record_shadows_a_live_one)
{
	struct acct_proc_info info;
	struct rm_client client;
	struct world world;
	struct rm_gpu gpu;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "accounting on=1"), 0);
	world_client(&world, &client, &gpu);
	world_compute(&client, &gpu);
	world_memory(&client, &gpu, 5 << 20);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, (uint32_t)getpid(), &info), NV_OK);
	cr_assert_eq(info.maxFbUsage, 5 << 20);
	cr_assert_eq(info.endTime, 0);
	cr_assert_eq(sim_command(&world.sim, "dead pid=%d memory=2", getpid()), 0);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, (uint32_t)getpid(), &info), NV_OK);
	cr_assert_eq(info.maxFbUsage, 2 << 20);
	close(gpu.fd);
	world_close(&world);
}

Test(simrm_more_calls, a_process_counts_as_one_of_the_gpu_once_it_has_a_channel_or_memory)
{
	struct acct_proc_info info;
	struct rm_client client;
	struct world world;
	struct rm_gpu gpu;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "accounting on=1"), 0);
	world_client(&world, &client, &gpu);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, (uint32_t)getpid(), &info),
		     NV_ERR_OBJECT_NOT_FOUND);
	world_compute(&client, &gpu);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, (uint32_t)getpid(), &info), NV_OK);
	cr_assert_eq(rm_free(&client, client.handle, gpu.device), 0);
	cr_assert_eq(account_of(&world, world.gpu.gpu_id, (uint32_t)getpid(), &info), NV_OK);
	cr_assert_neq(info.endTime, 0, "its last device is gone");
	close(gpu.fd);
	world_close(&world);
}

Test(simrm_more_calls, controls_without_processes_answer_too)
{
	struct {
		uint32_t size;
		uint64_t driver, version, title;
		uint32_t change, official;
	} build;
	char text[3][64] = {""};
	struct {
		uint32_t flags;
		char name[128];
	} name = {0};
	struct world world;

	world_open(&world, "550.100");
	build.size = sizeof(text[0]);
	build.driver = (uint64_t)(uintptr_t)text[0];
	build.version = (uint64_t)(uintptr_t)text[1];
	build.title = (uint64_t)(uintptr_t)text[2];
	cr_assert_eq(control(&world, world.client.handle, NV0000_CTRL_CMD_SYSTEM_GET_BUILD_VERSION,
			     &build, sizeof(build)),
		     NV_OK);
	cr_assert_str_eq(text[0], "550.100");
	cr_assert_eq(control(&world, world.gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_NAME_STRING,
			     &name, sizeof(name)),
		     NV_OK);
	cr_assert(strstr(name.name, "simulated"));
	world_close(&world);
}

Test(simrm_more_calls, the_version_file_has_the_wording_of_either_module)
{
	const char *const closed[] = {"--closed", NULL};
	cleanup_free char *open_text = NULL, *closed_text = NULL;
	struct sim sim;

	cr_assert_eq(sim_start(&sim, SIMRM, "535.104.05", NULL), 0);
	open_text = sim_read(&sim, "version");
	cr_assert_eq(sim_stop(&sim), 0);
	cr_assert_eq(sim_start(&sim, SIMRM, "535.104.05", closed), 0);
	closed_text = sim_read(&sim, "version");
	cr_assert_eq(sim_stop(&sim), 0);
	cr_assert(strstr(open_text, "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  "
				    "535.104.05  Release Build"));
	cr_assert(
	    strstr(closed_text, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  "));
}
