/* Who may map and find what, what arrives, and what must not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "tests/simrm/escapes.h"
#include "tests/unit/simrm/world.h"

static int escape(int fd, unsigned number, size_t size, void *data)
{
	return ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'F', number, size), data) ? -errno : 0;
}

static uint32_t some_memory(struct world *world)
{
	struct nv_memory_allocation_params params = {.size = 1 << 20};
	uint32_t handle;

	cr_assert_eq(rm_alloc(&world->client, world->gpu.device, NV01_MEMORY_LOCAL_USER, &params,
			      world->rm.layout.memory_params_size, &handle),
		     0);
	return handle;
}

static struct nvos33_with_fd map_of(const struct world *world, uint32_t memory, int fd)
{
	return (struct nvos33_with_fd){.hClient = world->client.handle,
				       .hDevice = world->gpu.device,
				       .hMemory = memory,
				       .length = 4096,
				       .fd = fd};
}

/* Runs CHECK in a child that has the parent's files. Returns its exit status. */
static int in_child(int (*check)(struct world *world, uint32_t memory), struct world *world,
		    uint32_t memory)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(check(world, memory));
	cr_assert_eq(waitpid(child, &status, 0), child);
	return WEXITSTATUS(status);
}

static int map_by(struct world *world, uint32_t memory)
{
	struct nvos33_with_fd map = map_of(world, memory, sim_open(&world->sim, "nvidia0"));

	return escape(world->rm.ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map) ? 255
									      : (int)map.status;
}

Test(simrm_arrivals, memory_is_mapped_by_the_process_that_has_the_client_only)
{
	struct nvos34_parameters unmap;
	struct nvos33_with_fd map;
	struct world world;
	uint32_t memory;
	int node;

	world_open(&world, "580.95.05");
	memory = some_memory(&world);
	cr_expect_eq(in_child(map_by, &world, memory), NV_ERR_INVALID_CLIENT);
	node = sim_open(&world.sim, "nvidia0");
	map = map_of(&world, memory, world.rm.ctl);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map), 0);
	cr_expect_eq(map.status, NV_ERR_INVALID_ARGUMENT, "video memory is not of nvidiactl");
	map = map_of(&world, memory, node);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map), 0);
	cr_expect_eq(map.status, NV_OK);
	unmap = (struct nvos34_parameters){.hClient = world.client.handle,
					   .hDevice = world.gpu.device,
					   .hMemory = memory,
					   .pLinearAddress = map.pLinearAddress};
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map), 0);
	cr_expect_eq(map.status, NV_ERR_STATE_IN_USE, "one mapping for each open file");
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_RM_UNMAP_MEMORY, sizeof(unmap), &unmap), 0);
	cr_expect_eq(unmap.status, NV_OK);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_RM_UNMAP_MEMORY, sizeof(unmap), &unmap), 0);
	cr_expect_eq(unmap.status, NV_ERR_OBJECT_NOT_FOUND);
	close(node);
	world_close(&world);
}

Test(simrm_arrivals, an_event_is_known_by_its_client_and_the_number_of_the_fd)
{
	struct nv0005_alloc_parameters params = {.notifyIndex = 1, .data = 1234};
	struct os_event_parameters event;
	struct world world;
	uint32_t handle;

	world_open(&world, "580.95.05");
	event = (struct os_event_parameters){.hClient = world.client.handle, .fd = 1234};
	cr_expect_eq(rm_alloc(&world.client, world.gpu.subdevice, NV01_EVENT_OS_EVENT, &params,
			      sizeof(params), &handle),
		     NV_ERR_OBJECT_NOT_FOUND);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_ALLOC_OS_EVENT, sizeof(event), &event), 0);
	cr_expect_eq(event.Status, NV_OK);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_ALLOC_OS_EVENT, sizeof(event), &event), 0);
	cr_expect_eq(event.Status, NV_ERR_INSUFFICIENT_RESOURCES);
	cr_expect_eq(rm_alloc(&world.client, world.gpu.subdevice, NV01_EVENT_OS_EVENT, &params,
			      sizeof(params), &handle),
		     0);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_FREE_OS_EVENT, sizeof(event), &event), 0);
	cr_expect_eq(event.Status, NV_OK);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_FREE_OS_EVENT, sizeof(event), &event), 0);
	cr_expect_eq(event.Status, NV_ERR_INVALID_EVENT);
	world_close(&world);
}

Test(simrm_arrivals, an_exported_object_outlives_its_client)
{
	struct {
		uint32_t type, device, parent, object;
		int32_t fd;
		uint32_t flags;
	} give;
	struct {
		int32_t fd;
		uint32_t type, device, parent, object;
	} take;
	struct world world;
	struct rm_client other;
	struct rm_gpu gpu;
	int carrier;

	world_open(&world, "580.95.05");
	carrier = sim_open(&world.sim, "nvidiactl");
	give =
	    (typeof(give)){1, world.gpu.device, world.gpu.device, some_memory(&world), carrier, 0};
	cr_expect_eq(rm_control(&world.client, world.client.handle, 0x3d05, &give, sizeof(give)),
		     0);
	cr_expect_eq(rm_free(&world.client, world.client.handle, world.client.handle), 0);
	world_client(&world, &other, &gpu);
	take = (typeof(take)){carrier, 1, gpu.device, gpu.device, 0};
	cr_expect_eq(rm_control(&other, other.handle, 0x3d06, &take, sizeof(take)), 0);
	cr_expect_neq(take.object, 0);
	take.fd = world.rm.ctl;
	cr_expect_eq(rm_control(&other, other.handle, 0x3d06, &take, sizeof(take)),
		     NV_ERR_INVALID_PARAMETER, "nothing was exported to it");
	take.fd = 9999;
	cr_expect_eq(rm_control(&other, other.handle, 0x3d06, &take, sizeof(take)),
		     NV_ERR_INVALID_PARAMETER);
	close(carrier);
	close(gpu.fd);
	world_close(&world);
}

Test(simrm_arrivals, a_list_is_read_and_written_where_its_pointer_says)
{
	struct {
		uint32_t count;
		uint64_t list;
	} params;
	unsigned char classes[12] = {1, 2, 3};
	struct world world;

	world_open(&world, "580.95.05");
	params = (typeof(params)){3, (uint64_t)(uintptr_t)classes};
	cr_expect_eq(rm_control(&world.client, world.gpu.device, 0x800201, &params, sizeof(params)),
		     0);
	cr_expect_eq(classes[0], (unsigned char)(1 * 3 + 0x01));
	cr_expect_eq(classes[2], (unsigned char)(3 * 3 + 0x01 + 2));
	params.list = 4096;
	cr_expect_eq(rm_control(&world.client, world.gpu.device, 0x800201, &params, sizeof(params)),
		     NV_ERR_INVALID_ADDRESS);
	params.list = 0;
	cr_expect_eq(rm_control(&world.client, world.gpu.device, 0x800201, &params, sizeof(params)),
		     NV_ERR_INVALID_ARGUMENT);
	world_close(&world);
}

Test(simrm_arrivals, uvm_has_its_own_numbers)
{
	struct {
		uint64_t flags;
		uint32_t status;
	} start = {0, 77};
	uint32_t access[2] = {7, 77};
	struct world world;
	int uvm;

	world_open(&world, "580.95.05");
	uvm = sim_open(&world.sim, "nvidia-uvm");
	cr_expect_eq(ioctl(uvm, 39, access), 0);
	cr_expect_eq(access[1], NV_ERR_ILLEGAL_ACTION);
	cr_expect_eq(ioctl(uvm, 0x30000001, &start), 0);
	cr_expect_eq(start.status, NV_OK);
	cr_expect_eq(ioctl(uvm, 39, access), 0);
	cr_expect_eq(access[1], NV_OK);
	cr_expect_eq(ioctl(uvm, 39, NULL) ? errno : 0, EFAULT);
	/* The driver says ENOSYS, of which FUSE in the kernel makes ENOTTY. */
	cr_expect_eq(ioctl(uvm, 200, access) ? errno : 0, ENOTTY);
	close(uvm);
	world_close(&world);
}

static unsigned long breaches(const struct world *world)
{
	cleanup_free char *text = sim_read(&world->sim, "simrm-arrivals");
	const char *at = text ? strstr(text, "\"breaches\":") : NULL;

	cr_assert_not_null(at);
	return strtoul(at + strlen("\"breaches\":"), NULL, 10);
}

Test(simrm_arrivals, what_is_not_allowed_raises_the_alarm)
{
	struct world world;
	struct get_pids_params params;

	world_open(&world, "580.95.05");
	cr_expect_eq(sim_command(&world.sim, "allow from=host kind=control number=0x2080018d"), 0);
	cr_expect_eq(sim_command(&world.sim, "allow from=host kind=nothing number=1"), -EINVAL);
	cr_expect_eq(sim_command(&world.sim, "arrivals on=1"), 0);
	cr_expect_eq(sim_command(&world.sim, "alarm on=1"), 0);
	cr_expect_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_expect_eq(breaches(&world), 0);
	cr_expect_eq(rm_control(&world.client, world.gpu.subdevice, 0x20801234, NULL, 0),
		     NV_ERR_NOT_SUPPORTED);
	cr_expect_eq(breaches(&world), 1);
	cr_expect_eq(escape(world.rm.ctl, 0x99, 8, &params), -EINVAL);
	cr_expect_eq(escape(world.rm.ctl, NV_ESC_RM_MAP_MEMORY, 8, &params), -EINVAL);
	cr_expect_eq(breaches(&world), 1, "the driver looks at no more than number and size");
	cr_expect_eq(escape(world.rm.ctl, 0x4d, 72, &params), -EINVAL);
	cr_expect_eq(breaches(&world), 2);
	cr_expect_eq(sim_command(&world.sim, "alarm on=0"), 0);
	world_close(&world);
}

/* In a process with a proxy's name: memory that is private, and memory that is shared. */
static int ask_as_proxy(struct world *world, uint32_t memory)
{
	struct get_pids_params *params;
	struct nvos54_parameters *api;
	int area = memfd_create("lane", MFD_CLOEXEC);

	(void)memory;
	if (ftruncate(area, 1 << 20))
		return 1;
	api = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, area, 0);
	params = (struct get_pids_params *)(api + 1);
	*api = (struct nvos54_parameters){.hClient = world->client.handle,
					  .hObject = world->gpu.subdevice,
					  .cmd = NV2080_CTRL_CMD_GPU_GET_PIDS,
					  .params = (uint64_t)(uintptr_t)params,
					  .paramsSize = sizeof(*params)};
	if (sim_control_by(world->rm.ctl, 0xc020462a, api) || breaches(world))
		return 2;
	params = malloc(sizeof(*params));
	memset(params, 0, sizeof(*params));
	api->params = (uint64_t)(uintptr_t)params;
	if (sim_control_by(world->rm.ctl, 0xc020462a, api))
		return 3;
	return breaches(world) == 2 ? 0 : 4; /* read, and written */
}

static int run_as_proxy(struct world *world, uint32_t memory)
{
	static const char name[] = "mpu-proxy";
	FILE *comm = fopen("/proc/self/comm", "we");

	if (!comm || fputs(name, comm) < 0 || fclose(comm))
		return 9;
	return ask_as_proxy(world, memory);
}

Test(simrm_arrivals, memory_of_a_proxy_outside_its_lanes_raises_the_alarm)
{
	struct world world;

	world_open(&world, "580.95.05");
	cr_expect_eq(sim_command(&world.sim, "allow from=proxy kind=control number=0x2080018d"), 0);
	cr_expect_eq(sim_command(&world.sim, "alarm on=1 lanes=1"), 0);
	cr_expect_eq(in_child(run_as_proxy, &world, 0), 0);
	world_close(&world);
}
