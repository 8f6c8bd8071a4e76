/* Calls that no capability has, and that a file of rows can allow (tests/e2e/allow.py). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/e2e/tour.h"

/* What it says of the caller is the driver's own number natively, and no line. */
static void error_report(const struct tour *tour)
{
	struct rcerr_report params = {.owner = 0xffffffff};
	int result = rm_control(&tour->client, tour->client.handle,
				NV0000_CTRL_CMD_NVD_GET_RCERR_RPT, &params, sizeof(params));

	fprintf(stderr, "the error report (%#x) is of %s\n", result,
		!params.processId			 ? "nobody"
		: params.processId == (uint32_t)getpid() ? "the caller"
							 : "somebody else");
}

/* HEADER: for a pointer with which the class is not allowed. */
static int alloc_event_buffer(struct tour *tour, uint64_t header)
{
	uint64_t params[9] = {header};
	uint32_t handle;
	int result =
	    rm_alloc(&tour->client, tour->subdevice, 0x90cd, params, sizeof(params), &handle);

	if (!result)
		rm_free(&tour->client, tour->subdevice, handle);
	return result;
}

static int uvm(const char *root, unsigned number)
{
	unsigned char data[4096] = {0};
	char path[320];
	int fd, result;

	snprintf(path, sizeof(path), "%s/nvidia-uvm", root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	result = ioctl(fd, number, data) ? -errno : 0;
	close(fd);
	return result;
}

void tour_added(struct tour *tour, const char *root)
{
	tour_list(tour, "host caps", tour->device, 0x801401, 16, 0, 8, 1);
	tour_list(tour, "copy engine caps", tour->subdevice, 0x20802a01, 16, 4, 8, 1);
	tour_list(tour, "classes of an engine", tour->subdevice, 0x20800124, 16, 4, 8, 4);
	say("NV_EVENT_BUFFER", alloc_event_buffer(tour, 0));
	fprintf(stderr, "NV_EVENT_BUFFER with a pointer: %#x\n", alloc_event_buffer(tour, 4096));
	say("UVM_CLEAN_UP_ZOMBIE_RESOURCES", uvm(root, 69));
	error_report(tour);
}
