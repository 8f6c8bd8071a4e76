/* A simulated driver and one opened GPU for each test. */
#ifndef UNIT_SIMRM_WORLD_H
#define UNIT_SIMRM_WORLD_H

#include <criterion/criterion.h>
#include <unistd.h>

#include "tests/simrm/client.h"

struct world {
	struct sim sim;
	struct rm rm;
	struct rm_client client;
	struct rm_gpu gpu;
};

/* Starts a driver and opens its first GPU. Ends the test when it cannot. */
void world_open(struct world *world, const char *version);
/* Closes all; simrm must end with status 0, which it does not when a sanitizer complains. */
void world_close(struct world *world);

/* A further client with the first GPU opened. */
void world_client(struct world *world, struct rm_client *client, struct rm_gpu *gpu);
/* A compute object on a channel: the process is one that computes. */
void world_compute(struct rm_client *client, const struct rm_gpu *gpu);
void world_memory(struct rm_client *client, const struct rm_gpu *gpu, uint64_t bytes);

/* GET_PIDS for the compute class: returns the result of rm_control(). */
int world_pids(const struct rm_client *client, const struct rm_gpu *gpu,
	       struct get_pids_params *params);

#endif
