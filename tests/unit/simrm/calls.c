/* What the calls answer. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/unit/simrm/world.h"

static const unsigned long control_request = 0xc020462a;

static struct nvos54_parameters get_pids_api(const struct world *world,
					     struct get_pids_params *params)
{
	params->idType = 0;
	params->id = TURING_COMPUTE_A;
	return (struct nvos54_parameters){.hClient = world->client.handle,
					  .hObject = world->gpu.subdevice,
					  .cmd = NV2080_CTRL_CMD_GPU_GET_PIDS,
					  .params = (uint64_t)(uintptr_t)params,
					  .paramsSize = sizeof(*params),
					  .status = 0xdead};
}

Test(simrm_calls, any_magic_direction_and_high_bits_are_the_same_control)
{
	static const unsigned long requests[] = {0xc020462a, 0xffffffffc020462a, 0x4020462a,
						 0x8020462a, 0x0020462a,	 0xc020002a,
						 0xc020ff2a};
	struct get_pids_params params;
	struct world world;

	world_open(&world, "580.142");
	world_compute(&world.client, &world.gpu);
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct nvos54_parameters api = get_pids_api(&world, &params);

		cr_assert_eq(sim_control_by(world.rm.ctl, requests[i], &api), 0, "0x%lx",
			     requests[i]);
		cr_assert_eq(api.status, NV_OK);
		cr_assert_eq(params.pidTblCount, 1);
		cr_assert_eq(params.pidTbl[0], (uint32_t)getpid());
	}
	world_close(&world);
}

Test(simrm_calls, xfer_carries_a_control_under_its_bare_number_only)
{
	struct get_pids_params params;
	struct nvos54_parameters api;
	struct world world;

	world_open(&world, "550.100");
	world_compute(&world.client, &world.gpu);
	api = get_pids_api(&world, &params);
	cr_assert_eq(sim_control_xfer(world.rm.ctl, NV_ESC_RM_CONTROL, sizeof(api), &api), 0);
	cr_assert_eq(api.status, NV_OK);
	cr_assert_eq(params.pidTblCount, 1);
	cr_assert_eq(sim_control_xfer(world.rm.ctl, 0xc020462a, sizeof(api), &api), -EINVAL);
	cr_assert_eq(sim_control_xfer(world.rm.ctl, NV_ESC_RM_CONTROL, 31, &api), -EINVAL);
	cr_assert_eq(sim_control_xfer(world.rm.ctl, NV_ESC_RM_CONTROL, 16385, &api), -EINVAL);
	cr_assert_eq(sim_control_xfer(world.rm.ctl, NV_ESC_RM_CONTROL, sizeof(api), NULL), -EFAULT);
	cr_assert_eq(sim_control_xfer(world.rm.ctl, NV_ESC_IOCTL_XFER_CMD, 16, &api), -EINVAL);
	world_close(&world);
}

#ifdef __x86_64__
Test(simrm_calls, programs_of_32_bits_are_served)
{
	struct {
		struct nvos54_parameters api;
		struct get_pids_params params;
	} *low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct world world;

	cr_assert_neq(low, MAP_FAILED);
	world_open(&world, "580.142");
	world_compute(&world.client, &world.gpu);
	low->api = get_pids_api(&world, &low->params);
	cr_assert_eq(sim_control_compat(world.rm.ctl, 0xc020462a, &low->api), 0);
	cr_assert_eq(low->api.status, NV_OK);
	cr_assert_eq(low->params.pidTblCount, 1);
	world_close(&world);
}
#endif

Test(simrm_calls, controls_are_for_the_control_device_and_its_own_clients)
{
	struct get_pids_params params;
	struct nvos54_parameters api;
	int gpu_fd, other, target, registered;
	struct world world;

	world_open(&world, "580.142");
	gpu_fd = sim_open(&world.sim, "nvidia0");
	other = sim_open(&world.sim, "nvidiactl");
	registered = sim_open(&world.sim, "nvidiactl");
	api = get_pids_api(&world, &params);
	cr_assert_eq(sim_control_by(gpu_fd, control_request, &api), -EINVAL);
	cr_assert_eq(api.status, 0xdead, "the structure is left alone");
	cr_assert_eq(sim_control_by(other, control_request, &api), 0);
	cr_assert_eq(api.status, NV_ERR_INVALID_CLIENT);
	target = world.rm.ctl;
	cr_assert_eq(ioctl(registered, _IOWR('F', NV_ESC_REGISTER_FD, int), &target), 0);
	cr_assert_eq(sim_control_by(registered, control_request, &api), 0);
	cr_assert_eq(api.status, NV_OK, "a registered file uses the other's clients");
	cr_assert_eq(ioctl(registered, _IOWR('F', NV_ESC_REGISTER_FD, int), &target), -1);
	close(gpu_fd);
	close(other);
	close(registered);
	world_close(&world);
}

Test(simrm_calls, clients_end_with_the_last_close_of_their_file)
{
	struct get_pids_params params;
	struct rm_client client;
	struct rm_gpu gpu;
	struct world world;
	struct rm second;

	world_open(&world, "580.142");
	cr_assert_eq(rm_open(&second, world.sim.directory), 0);
	cr_assert_eq(rm_client_alloc(&second, &client), 0);
	cr_assert_eq(rm_gpu_open(&client, world.gpu.gpu_id, &gpu), 0);
	world_compute(&client, &gpu);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 1);
	rm_close(&second);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 1, "nvidia0 is registered to the file and keeps it");
	close(gpu.fd);
	cr_assert_eq(sim_settle(&world.sim, 2), 0);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 0);
	world_close(&world);
}

Test(simrm_calls, entries_past_the_count_are_the_callers_own)
{
	struct get_pids_params params;
	struct world world;

	world_open(&world, "515.65.01");
	world_compute(&world.client, &world.gpu);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 1);
	cr_assert_eq(params.pidTbl[1], 0xeeeeeeee);
	world_close(&world);
}

Test(simrm_calls, translating_releases_list_a_process_once_per_client_outside_the_initial_namespace)
{
	/* In the initial namespace the listed number is the global one, and is found again. */
	struct get_pids_params params;
	struct rm_client second;
	struct rm_gpu gpu;
	struct world world;

	world_open(&world, "580.142");
	world_compute(&world.client, &world.gpu);
	world_client(&world, &second, &gpu);
	world_compute(&second, &gpu);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 1);
	close(gpu.fd);
	world_close(&world);
}

static void *allocate_in_thread(void *argument)
{
	struct world *world = argument;
	static struct rm_client client;
	struct rm_gpu gpu;

	world_client(world, &client, &gpu);
	world_compute(&client, &gpu);
	world_memory(&client, &gpu, 1 << 20);
	close(gpu.fd);
	return (void *)(uintptr_t)gettid();
}

static void expect_listed(const char *version, bool thread)
{
	struct get_pids_params params;
	struct world world;
	pthread_t id;
	void *tid;

	world_open(&world, version);
	cr_assert_eq(pthread_create(&id, NULL, allocate_in_thread, &world), 0);
	pthread_join(id, &tid);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 1);
	cr_assert_eq(params.pidTbl[0], thread ? (uint32_t)(uintptr_t)tid : (uint32_t)getpid(),
		     "%s lists %u", version, params.pidTbl[0]);
	world_close(&world);
}

Test(simrm_calls, a_thread_that_has_ended_stays_listed_by_its_number_where_the_release_records_it)
{
	expect_listed("550.100", true);
	expect_listed("570.86.15", true);
	expect_listed("515.65.01", false);
	expect_listed("570.148.08", false);
	expect_listed("580.142", false);
}

static struct pid_info ask_info(const struct world *world, uint32_t pid, uint32_t index)
{
	static struct {
		uint32_t count;
		struct pid_info entry[NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT];
	} params;

	memset(&params, 0xee, sizeof(params));
	params.count = 1;
	params.entry[0].pid = pid;
	params.entry[0].index = index;
	cr_assert_eq(rm_control(&world->client, world->gpu.subdevice,
				NV2080_CTRL_CMD_GPU_GET_PID_INFO, &params, sizeof(params)),
		     0);
	return params.entry[0];
}

Test(simrm_calls, pid_info_answers_each_entry_by_itself)
{
	struct pid_info info;
	struct world world;
	uint32_t empty[3602] = {0};

	world_open(&world, "580.142");
	world_memory(&world.client, &world.gpu, 3 << 20);
	info = ask_info(&world, (uint32_t)getpid(), 0);
	cr_assert_eq(info.result, NV_OK);
	cr_assert_eq(info.memPrivate, 3 << 20);
	cr_assert_eq(info.computeInstanceId, UINT32_MAX);
	info = ask_info(&world, 0, 0);
	cr_assert_eq(info.result, NV_ERR_INVALID_ARGUMENT);
	cr_assert_eq(info.memPrivate, 0);
	info = ask_info(&world, 1, 0);
	cr_assert_eq(info.result, NV_OK, "an unknown process is none that uses memory");
	cr_assert_eq(info.memPrivate, 0);
	info = ask_info(&world, (uint32_t)getpid(), 1);
	cr_assert_eq(info.result, NV_ERR_INVALID_ARGUMENT);
	cr_assert_eq(info.memPrivate, 0xeeeeeeeeeeeeeeee, "data is untouched");
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice,
				NV2080_CTRL_CMD_GPU_GET_PID_INFO, empty, sizeof(empty)),
		     NV_ERR_INVALID_ARGUMENT);
	empty[0] = 201;
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice,
				NV2080_CTRL_CMD_GPU_GET_PID_INFO, empty, sizeof(empty)),
		     NV_ERR_INVALID_ARGUMENT);
	world_close(&world);
}

Test(simrm_calls, an_error_report_is_the_callers_own_and_only_after_its_own_xid)
{
	struct rcerr_report params = {.owner = 0xffffffff};
	struct world world;
	pid_t other;
	int status;

	world_open(&world, "580.142");
	cr_assert_eq(rm_control(&world.client, world.client.handle,
				NV0000_CTRL_CMD_NVD_GET_RCERR_RPT, &params, sizeof(params)),
		     NV_ERR_MISSING_TABLE_ENTRY);
	cr_assert_eq(params.processId, 0, "nothing is copied out");
	cr_assert_eq(sim_command(&world.sim, "xid pid=%d code=31", getpid()), 0);
	cr_assert_eq(rm_control(&world.client, world.client.handle,
				NV0000_CTRL_CMD_NVD_GET_RCERR_RPT, &params, sizeof(params)),
		     NV_OK);
	cr_assert_eq(params.processId, (uint32_t)getpid());
	params.owner = 0;
	cr_assert_eq(rm_control(&world.client, world.client.handle,
				NV0000_CTRL_CMD_NVD_GET_RCERR_RPT, &params, sizeof(params)),
		     NV_ERR_INSUFFICIENT_PERMISSIONS);
	params.owner = 0xffffffff;
	other = fork();
	if (!other)
		_exit(rm_control(&world.client, world.client.handle,
				 NV0000_CTRL_CMD_NVD_GET_RCERR_RPT, &params, sizeof(params)));
	waitpid(other, &status, 0);
	cr_assert_eq(WEXITSTATUS(status), NV_ERR_MISSING_TABLE_ENTRY,
		     "it is the caller that counts");
	world_close(&world);
}

Test(simrm_calls, encoder_sessions_come_behind_a_pointer_to_exactly_512)
{
	static struct nvenc_session sessions[NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES];
	struct nvenc_sessions params = {.sessionInfoTblEntry = 0};
	struct world world;
	const uint32_t cmd = NV2080_CTRL_CMD_GPU_GET_NVENC_SW_SESSION_INFO;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "session kind=nvenc pid=77"), 0);
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice, cmd, &params, sizeof(params)),
		     0);
	cr_assert_eq(params.sessionInfoTblEntry, 1, "without room it counts");
	params.sessionInfoTbl = (uint64_t)(uintptr_t)sessions;
	params.sessionInfoTblEntry = 511;
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice, cmd, &params, sizeof(params)),
		     NV_ERR_INVALID_ARGUMENT);
	params.sessionInfoTblEntry = 512;
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice, cmd, &params, sizeof(params)),
		     0);
	cr_assert_eq(params.sessionInfoTblEntry, 1);
	cr_assert_eq(sessions[0].processId, 77);
	params = (struct nvenc_sessions){.sessionInfoTblEntry = 512, .sessionInfoTbl = 1};
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice, cmd, &params, sizeof(params)),
		     NV_ERR_INVALID_ADDRESS);
	world_close(&world);
}
