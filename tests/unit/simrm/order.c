/* In which order RM_CONTROL refuses, by release. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/simrm/world.h"

/* One call with every field open; returns the status, or a negative errno. */
struct ask {
	uint32_t client, object, cmd, flags;
	void *params;
	uint32_t size;
};

static int ask(int fd, struct ask ask)
{
	struct nvos54_parameters api = {.hClient = ask.client,
					.hObject = ask.object,
					.cmd = ask.cmd,
					.flags = ask.flags,
					.params = (uint64_t)(uintptr_t)ask.params,
					.paramsSize = ask.size};
	int err = sim_control_by(fd, 0xc020462a, &api);

	return err ? err : (int)api.status;
}

static void check_order(const char *version, bool size_first)
{
	struct get_pids_params params = {.id = TURING_COMPUTE_A};
	struct world world;
	int other;
	struct ask right;

	world_open(&world, version);
	other = sim_open(&world.sim, "nvidiactl");
	right = (struct ask){.client = world.client.handle,
			     .object = world.gpu.subdevice,
			     .cmd = NV2080_CTRL_CMD_GPU_GET_PIDS,
			     .params = &params,
			     .size = sizeof(params)};
	cr_assert_eq(ask(world.rm.ctl, right), NV_OK);
#define ASK(fd, ...)                                                                               \
	({                                                                                         \
		struct ask changed = right;                                                        \
		__VA_ARGS__;                                                                       \
		ask(fd, changed);                                                                  \
	})
	cr_expect_eq(ASK(world.rm.ctl, changed.cmd = 0; changed.client = 1), NV_OK);
	cr_expect_eq(ASK(world.rm.ctl, changed.cmd = 0x20800000; changed.client = 1), NV_OK);
	cr_expect_eq(ASK(world.rm.ctl, changed.client = 1; changed.params = NULL),
		     NV_ERR_INVALID_CLIENT);
	cr_expect_eq(ASK(world.rm.ctl, changed.params = NULL; changed.object = 1),
		     NV_ERR_INVALID_ARGUMENT);
	cr_expect_eq(ASK(other, changed.size = 0), NV_ERR_INVALID_ARGUMENT);
	cr_expect_eq(ASK(other, changed.size = 3808),
		     size_first ? NV_ERR_INVALID_ARGUMENT : NV_ERR_INVALID_CLIENT);
	cr_expect_eq(ASK(world.rm.ctl, changed.size = 3808; changed.object = 1),
		     size_first ? NV_ERR_INVALID_ARGUMENT : NV_ERR_OBJECT_NOT_FOUND);
	cr_expect_eq(ASK(world.rm.ctl, changed.size = 3808),
		     size_first ? NV_ERR_INVALID_ARGUMENT : NV_ERR_INVALID_PARAM_STRUCT);
	cr_expect_eq(ASK(world.rm.ctl, changed.flags = 1), NV_ERR_INVALID_ARGUMENT);
	cr_expect_eq(ASK(world.rm.ctl, changed.flags = 4), NV_ERR_LIB_RM_VERSION_MISMATCH);
	cr_expect_eq(ASK(other, changed.params = (void *)1), NV_ERR_INVALID_ADDRESS);
	cr_expect_eq(ASK(other, changed.object = 1), NV_ERR_INVALID_CLIENT);
	cr_expect_eq(ASK(world.rm.ctl, changed.object = 1), NV_ERR_OBJECT_NOT_FOUND);
	cr_expect_eq(ASK(world.rm.ctl, changed.object = world.client.handle), NV_ERR_NOT_SUPPORTED);
	cr_expect_eq(ASK(world.rm.ctl, changed.cmd = 0x2080ffff), NV_ERR_NOT_SUPPORTED);
	cr_expect_eq(ASK(world.rm.ctl, params.idType = 2), NV_ERR_INVALID_ARGUMENT);
#undef ASK
	cr_expect_eq(sim_control_by(world.rm.ctl, 0xc020462a, NULL), -EFAULT);
	cr_expect_eq(sim_control_by(world.rm.ctl, 0x0020462a, (void *)8), -EFAULT);
	cr_expect_eq(sim_control_by(world.rm.ctl, 0xc01f462a, (void *)&right), -EINVAL);
	close(other);
	world_close(&world);
}

Test(simrm_order, of_refusals_where_the_size_is_checked_last)
{
	check_order("515.65.01", false);
	check_order("535.154.05", false);
	check_order("545.29.06", false);
}

Test(simrm_order, of_refusals_where_the_size_is_checked_first)
{
	check_order("535.183.06", true);
	check_order("550.100", true);
	check_order("595.45.04", true);
}

Test(simrm_order, params_that_cannot_be_written_are_found_after_the_work)
{
	/* Constants lie in memory that can be read and not written. */
	static const struct get_pids_params constant = {.id = TURING_COMPUTE_A};
	struct nvos54_parameters api;
	struct world world;

	world_open(&world, "580.142");
	api = (struct nvos54_parameters){.hClient = world.client.handle,
					 .hObject = world.gpu.subdevice,
					 .cmd = NV2080_CTRL_CMD_GPU_GET_PIDS,
					 .params = (uint64_t)(uintptr_t)&constant,
					 .paramsSize = sizeof(constant)};
	cr_assert_eq(sim_control_by(world.rm.ctl, 0xc020462a, &api), 0);
	cr_assert_eq(api.status, NV_ERR_INVALID_ADDRESS);
	world_close(&world);
}

static int wrong_size_at_no_address(const char *version)
{
	struct world world;
	int err;

	world_open(&world, version);
	/* No direction bits: FUSE would read the data itself, and answer for it. */
	err = sim_control_by(world.rm.ctl, 0x001f462a, (void *)8);
	world_close(&world);
	return err;
}

Test(simrm_order, from_595_on_an_ioctls_size_is_checked_before_its_data_is_read)
{
	cr_assert_eq(wrong_size_at_no_address("590.48.01"), -EFAULT);
	cr_assert_eq(wrong_size_at_no_address("595.44.02"), -EINVAL);
	cr_assert_eq(wrong_size_at_no_address("595.45.04"), -EINVAL);
}

/* SET_ACCOUNTING_STATE in a child that PREPARE has made somebody else. */
static int set_accounting_as(const struct world *world, int (*prepare)(void))
{
	uint32_t params[3] = {world->gpu.gpu_id, 0, 0};
	pid_t child = fork();
	int status;

	if (!child) {
		if (prepare && prepare())
			_exit(99);
		_exit(rm_control(&world->client, world->client.handle,
				 NV0000_CTRL_CMD_GPUACCT_SET_ACCOUNTING_STATE, params,
				 sizeof(params)));
	}
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static int become_uid_1000(void)
{
	return setresuid(1000, 1000, 1000);
}

static int enter_user_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static int lower_effective_uid_and_come_back(void)
{
	return seteuid(1000) || seteuid(0);
}

Test(simrm_order, administration_wants_the_capability_in_the_initial_user_namespace)
{
	struct world world;

	world_open(&world, "580.142");
	cr_assert_eq(set_accounting_as(&world, NULL), NV_OK);
	cr_assert_eq(set_accounting_as(&world, become_uid_1000), NV_ERR_INSUFFICIENT_PERMISSIONS);
	cr_assert_eq(set_accounting_as(&world, enter_user_namespace),
		     NV_ERR_INSUFFICIENT_PERMISSIONS, "root of a namespace is not the host's");
	cr_assert_eq(set_accounting_as(&world, lower_effective_uid_and_come_back), NV_OK);
	world_close(&world);
}
