#include "tests/survival/holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int hold(struct holder *holder, unsigned int mib)
{
	struct nv_memory_allocation_params memory = {.size = (uint64_t)mib << 20};
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS], channel, handle;
	int result = rm_client_alloc(&holder->rm, &holder->client);

	if (!result && rm_gpu_count(&holder->client, ids) < 1)
		result = -ENODEV;
	if (!result)
		result = rm_gpu_open(&holder->client, ids[0], &holder->gpu);
	if (!result)
		result = rm_alloc(&holder->client, holder->gpu.device, TURING_CHANNEL_GPFIFO_A,
				  NULL, 0, &channel);
	if (!result)
		result = rm_alloc(&holder->client, channel, TURING_COMPUTE_A, NULL, 0, &handle);
	if (!result)
		result = rm_alloc(&holder->client, holder->gpu.device, NV01_MEMORY_LOCAL_USER,
				  &memory, holder->rm.layout.memory_params_size, &handle);
	return result;
}

void holder_start(struct holder *holder, const char *root, unsigned int mib)
{
	char text[64];
	int result;

	if (rm_open(&holder->rm, root))
		exit(1);
	result = hold(holder, mib);
	if (!result)
		return;
	fprintf(stderr, "cannot hold GPU memory: %s\n", rm_error_text(result, text));
	exit(1);
}
