/* What the programs that make calls by hand begin with. */
#include <errno.h>
#include <sys/ioctl.h>

#include "tests/e2e/tour.h"

int tour_escape(int fd, unsigned number, size_t size, void *data)
{
	return ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'F', number, size), data) ? -errno : 0;
}

void tour_client(struct tour *tour)
{
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS];
	struct rm_gpu gpu;

	if (rm_client_alloc(&tour->rm, &tour->client))
		die("client");
	if (rm_gpu_count(&tour->client, ids) < 1 || rm_gpu_open(&tour->client, ids[0], &gpu))
		die("GPU");
	tour->device = gpu.device;
	tour->subdevice = gpu.subdevice;
	tour->gpu_id = gpu.gpu_id;
	tour->node = gpu.fd;
}

void tour_open(struct tour *tour, const char *root)
{
	if (rm_open(&tour->rm, root))
		die(root);
	tour_client(tour);
}
