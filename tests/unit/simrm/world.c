#include "tests/unit/simrm/world.h"

#include <string.h>

void world_client(struct world *world, struct rm_client *client, struct rm_gpu *gpu)
{
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS];

	cr_assert_eq(rm_client_alloc(&world->rm, client), 0);
	cr_assert_eq(rm_gpu_count(client, ids), 1);
	cr_assert_eq(rm_gpu_open(client, ids[0], gpu), 0);
}

void world_open(struct world *world, const char *version)
{
	cr_assert_eq(sim_start(&world->sim, SIMRM, version, NULL), 0, "simrm does not start");
	cr_assert_eq(rm_open(&world->rm, world->sim.directory), 0);
	world_client(world, &world->client, &world->gpu);
}

void world_close(struct world *world)
{
	rm_close(&world->rm);
	close(world->gpu.fd);
	cr_assert_eq(sim_stop(&world->sim), 0, "simrm did not end well");
}

void world_compute(struct rm_client *client, const struct rm_gpu *gpu)
{
	uint32_t channel, engine;

	cr_assert_eq(rm_alloc(client, gpu->device, TURING_CHANNEL_GPFIFO_A, NULL, 0, &channel), 0);
	cr_assert_eq(rm_alloc(client, channel, TURING_COMPUTE_A, NULL, 0, &engine), 0);
}

void world_memory(struct rm_client *client, const struct rm_gpu *gpu, uint64_t bytes)
{
	struct nv_memory_allocation_params params = {.size = bytes};
	uint32_t handle;

	cr_assert_eq(rm_alloc(client, gpu->device, NV01_MEMORY_LOCAL_USER, &params,
			      client->rm->layout.memory_params_size, &handle),
		     0);
}

int world_pids(const struct rm_client *client, const struct rm_gpu *gpu,
	       struct get_pids_params *params)
{
	memset(params, 0xee, sizeof(*params));
	params->idType = 0;
	params->id = TURING_COMPUTE_A;
	return rm_control(client, gpu->subdevice, NV2080_CTRL_CMD_GPU_GET_PIDS, params,
			  sizeof(*params));
}
