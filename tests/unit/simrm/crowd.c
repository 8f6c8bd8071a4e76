/* A thousand processes on one GPU. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/simrm/world.h"

enum { PROCESSES = 1000 };

/* In a child: computes until the other end of the pipe END is closed. */
static void compute_until(const struct world *world, int ready, int end)
{
	struct rm_client client;
	struct rm_gpu gpu;
	struct rm rm;
	char byte = 0;

	if (rm_open(&rm, world->sim.directory) || rm_client_alloc(&rm, &client) ||
	    rm_gpu_open(&client, world->gpu.gpu_id, &gpu))
		_exit(1);
	world_compute(&client, &gpu);
	world_memory(&client, &gpu, 1 << 20);
	if (write(ready, &byte, 1) != 1)
		_exit(1);
	_exit(read(end, &byte, 1) ? 1 : 0);
}

static void crowd(const char *version)
{
	static pid_t children[PROCESSES];
	struct get_pids_params params;
	struct timespec start, now;
	int ready[2], end[2];
	struct world world;
	char byte;

	world_open(&world, version);
	cr_assert_eq(pipe(ready), 0);
	cr_assert_eq(pipe(end), 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (!children[i]) {
			close(end[1]);
			compute_until(&world, ready[1], end[0]);
		}
		cr_assert_gt(children[i], 0);
	}
	for (unsigned i = 0; i < PROCESSES; i++)
		cr_assert_eq(read(ready[0], &byte, 1), 1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	cr_assert_eq(params.pidTblCount, NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT,
		     "the list is cut without another sign");
	cr_log_info("%s: GET_PIDS of %d processes: %ld us", version, PROCESSES,
		    (now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000);
	close(end[1]);
	for (unsigned i = 0; i < PROCESSES; i++)
		cr_assert_eq(waitpid(children[i], NULL, 0), children[i]);
	cr_assert_eq(sim_settle(&world.sim, 2), 0);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(params.pidTblCount, 0);
	world_close(&world);
}

Test(simrm_crowd, of_a_thousand_is_listed_as_950, .timeout = 120)
{
	crowd("580.142");
}

Test(simrm_crowd, of_a_thousand_is_listed_as_950_globally_too, .timeout = 120)
{
	crowd("515.65.01");
}
