/* The calls that a confined program may make. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/tour.h"

enum { MEMORY = 0x7000, VIRTUAL, SPACE, HEAP, DMA, COPY, EVENT, PINNED, CHANNEL, SYSTEM };
enum { EVENT_FD = 4321 };

/* An allocation by NVOS64, with rights, and with a handle of our choice. */
static int alloc_with_rights(const struct tour *tour, uint32_t parent, uint32_t handle,
			     uint32_t class_id, void *params, uint32_t size)
{
	uint32_t rights = 0;
	struct nvos64_parameters api = {.hRoot = tour->client.handle,
					.hObjectParent = parent,
					.hObjectNew = handle,
					.hClass = class_id,
					.pAllocParms = (uint64_t)(uintptr_t)params,
					.pRightsRequested = (uint64_t)(uintptr_t)&rights,
					.paramsSize = size};
	int err = tour_escape(tour->rm.ctl, NV_ESC_RM_ALLOC, sizeof(api), &api);

	return err ? err : (int)api.status;
}

static int alloc_video(const struct tour *tour, uint32_t handle)
{
	struct nv_memory_allocation_params params = {.size = 1 << 20};

	return alloc_with_rights(tour, tour->device, handle, NV01_MEMORY_LOCAL_USER, &params,
				 tour->rm.layout.memory_params_size);
}

static void heap(struct tour *tour)
{
	struct nvos32_parameters api = {.hRoot = tour->client.handle,
					.hObjectParent = tour->device,
					.function = NVOS32_ALLOC_SIZE};
	int ctl = tour->rm.ctl, result;

	api.data.alloc_size.hMemory = HEAP;
	api.data.alloc_size.size = 1 << 20;
	result = tour_escape(ctl, NV_ESC_RM_VID_HEAP_CONTROL, sizeof(api), &api);
	say("heap alloc", result ? result : (int)api.status);
	result = tour_escape(ctl, NV_ESC_RM_VID_HEAP_CONTROL, sizeof(api), &api);
	say("heap alloc again", result ? result : (int)api.status);
	say("heap free", rm_free(&tour->client, tour->device, HEAP));
}

static void mappings(struct tour *tour)
{
	struct nvos33_with_fd map = {.hClient = tour->client.handle,
				     .hDevice = tour->device,
				     .hMemory = MEMORY,
				     .length = 4096};
	struct nvos34_parameters unmap = {
	    .hClient = tour->client.handle, .hDevice = tour->device, .hMemory = MEMORY};
	char path[320];
	int ctl = tour->rm.ctl, result;

	map.fd = ctl;
	result = tour_escape(ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map);
	say("map on the wrong device", result ? result : (int)map.status);
	map.fd = 9999;
	result = tour_escape(ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map);
	say("map without a file", result ? result : (int)map.status);
	printf("the number of the fd comes back: %d\n", map.fd);
	snprintf(path, sizeof(path), "%s/nvidia0", tour->rm.root);
	map.fd = open(path, O_RDWR | O_CLOEXEC);
	result = tour_escape(ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map);
	say("map", result ? result : (int)map.status);
	unmap.pLinearAddress = map.pLinearAddress;
	result = tour_escape(ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map);
	say("map twice on one file", result ? result : (int)map.status);
	result = tour_escape(ctl, NV_ESC_RM_UNMAP_MEMORY, sizeof(unmap), &unmap);
	say("unmap", result ? result : (int)unmap.status);
	result = tour_escape(ctl, NV_ESC_RM_UNMAP_MEMORY, sizeof(unmap), &unmap);
	say("unmap again", result ? result : (int)unmap.status);
	close(map.fd);
}

/* Memory of the system that is to be mapped at once: the file is that of the parameters. */
static void system_memory(struct tour *tour)
{
	struct nvos02_with_fd api = {.hRoot = tour->client.handle,
				     .hObjectParent = tour->device,
				     .hObjectNew = SYSTEM,
				     .hClass = NV01_MEMORY_SYSTEM,
				     .limit = 8191,
				     .fd = tour->node};
	char path[320];
	int result;

	result = tour_escape(tour->node, NV_ESC_RM_ALLOC_MEMORY, sizeof(api), &api);
	say("system memory, wrong file", result ? result : (int)api.status);
	snprintf(path, sizeof(path), "%s/nvidiactl", tour->rm.root);
	api.hObjectNew++;
	api.fd = open(path, O_RDWR | O_CLOEXEC);
	result = tour_escape(tour->node, NV_ESC_RM_ALLOC_MEMORY, sizeof(api), &api);
	say("system memory", result ? result : (int)api.status);
	close(api.fd);
}

static void map_for_gpu(struct tour *tour)
{
	bool flags2 = tour->rm.major >= 580, size = tour->rm.major >= 550;
	union {
		struct nvos46_parameters now;
		struct nvos46_parameters_550 then;
	} map = {.now = {tour->client.handle, tour->device, VIRTUAL, MEMORY, .length = 4096}};
	union {
		struct nvos47_parameters now;
		struct nvos47_parameters_535 then;
	} unmap = {.now = {tour->client.handle, tour->device, VIRTUAL, MEMORY, .flags = 0}};
	int result;

	result = tour_escape(tour->rm.ctl, NV_ESC_RM_MAP_MEMORY_DMA,
			     flags2 ? sizeof(map.now) : sizeof(map.then), &map);
	if (!result)
		result = (int)(flags2 ? map.now.status : map.then.status);
	say_bytes("map for the GPU", result, flags2 ? &map.now.dmaOffset : &map.then.dmaOffset, 8);
	result = tour_escape(tour->rm.ctl, NV_ESC_RM_UNMAP_MEMORY_DMA,
			     size ? sizeof(unmap.now) : sizeof(unmap.then), &unmap);
	say("unmap for the GPU",
	    result ? result : (int)(size ? unmap.now.status : unmap.then.status));
}

void tour_memory(struct tour *tour)
{
	uint64_t space[7] = {0}, range[3] = {0};

	say("video memory", alloc_video(tour, MEMORY));
	say("video memory again", alloc_video(tour, MEMORY));
	say_bytes("address space",
		  alloc_with_rights(tour, tour->device, SPACE, FERMI_VASPACE_A, space,
				    tour->rm.major >= 580 ? 56 : 48),
		  space, sizeof(space));
	say_bytes("virtual memory",
		  alloc_with_rights(tour, tour->device, VIRTUAL, NV01_MEMORY_VIRTUAL, range, 24),
		  range, sizeof(range));
	say("bad pointer to parameters",
	    alloc_with_rights(tour, tour->device, 0x7100, FERMI_VASPACE_A, (void *)4096,
			      tour->rm.major >= 580 ? 56 : 48));
	heap(tour);
	mappings(tour);
	map_for_gpu(tour);
	system_memory(tour);
	say("free", rm_free(&tour->client, tour->device, SPACE));
	say("free again", rm_free(&tour->client, tour->device, SPACE));
}

static void events(struct tour *tour)
{
	struct nv0005_alloc_parameters params = {.hParentClient = tour->client.handle,
						 .hSrcResource = tour->subdevice,
						 .hClass = NV01_EVENT_OS_EVENT,
						 .notifyIndex = 1,
						 .data = EVENT_FD};
	struct os_event_parameters event = {.hClient = tour->client.handle, .fd = EVENT_FD};
	int ctl = tour->rm.ctl, result;

	dup2(tour->node, EVENT_FD);
	say("event before its fd is known",
	    alloc_with_rights(tour, tour->subdevice, EVENT, NV01_EVENT_OS_EVENT, &params,
			      sizeof(params)));
	result = tour_escape(EVENT_FD, NV_ESC_ALLOC_OS_EVENT, sizeof(event), &event);
	say("alloc OS event", result ? result : (int)event.Status);
	result = tour_escape(ctl, NV_ESC_ALLOC_OS_EVENT, sizeof(event), &event);
	say("alloc OS event again", result ? result : (int)event.Status);
	say("event", alloc_with_rights(tour, tour->subdevice, EVENT, NV01_EVENT_OS_EVENT, &params,
				       sizeof(params)));
	say("event by its general class", alloc_with_rights(tour, tour->subdevice, EVENT + 0x100,
							    NV01_EVENT, &params, sizeof(params)));
	result = tour_escape(ctl, NV_ESC_FREE_OS_EVENT, sizeof(event), &event);
	say("free OS event", result ? result : (int)event.Status);
	result = tour_escape(ctl, NV_ESC_FREE_OS_EVENT, sizeof(event), &event);
	say("free OS event again", result ? result : (int)event.Status);
	close(EVENT_FD);
}

static void idle(struct tour *tour, uint32_t channel)
{
	uint32_t clients[] = {tour->client.handle}, devices[] = {tour->device};
	uint32_t channels[] = {channel};
	struct nvos30_parameters api = {.hClient = tour->client.handle,
					.hDevice = tour->device,
					.hChannel = channel,
					.numChannels = 1,
					.phClients = (uint64_t)(uintptr_t)clients,
					.phDevices = (uint64_t)(uintptr_t)devices,
					.phChannels = (uint64_t)(uintptr_t)channels};
	int result = tour_escape(tour->rm.ctl, NV_ESC_RM_IDLE_CHANNELS, sizeof(api), &api);

	say("idle a list of channels", result ? result : (int)api.status);
	channels[0] = 0xbad;
	result = tour_escape(tour->rm.ctl, NV_ESC_RM_IDLE_CHANNELS, sizeof(api), &api);
	say("idle a channel that is none", result ? result : (int)api.status);
	api.phChannels = 4096;
	result = tour_escape(tour->rm.ctl, NV_ESC_RM_IDLE_CHANNELS, sizeof(api), &api);
	say("idle a list that is nowhere", result ? result : (int)api.status);
}

static void share_and_dup(struct tour *tour)
{
	struct nvos57_parameters share = {
	    .hClient = tour->client.handle, .hObject = COPY, .type = RS_SHARE_TYPE_ALL};
	struct nvos55_parameters dup = {.hParent = tour->device,
					.hObject = COPY + 0x100,
					.hClientSrc = tour->client.handle,
					.hObjectSrc = COPY};
	int result;

	say("memory to share", alloc_video(tour, COPY));
	result = tour_escape(tour->rm.ctl, NV_ESC_RM_SHARE, sizeof(share), &share);
	say("share", result ? result : (int)share.status);
	dup.hClient = tour->client.handle;
	result = tour_escape(tour->rm.ctl, NV_ESC_RM_DUP_OBJECT, sizeof(dup), &dup);
	say("duplicate", result ? result : (int)dup.status);
	dup.hClientSrc = 0xbad;
	result = tour_escape(tour->rm.ctl, NV_ESC_RM_DUP_OBJECT, sizeof(dup), &dup);
	say("duplicate from no client", result ? result : (int)dup.status);
}

void tour_objects(struct tour *tour)
{
	uint32_t channel, engine;

	say("channel",
	    rm_alloc(&tour->client, tour->device, TURING_CHANNEL_GPFIFO_A, NULL, 0, &channel));
	say("engine", rm_alloc(&tour->client, channel, TURING_COMPUTE_A, NULL, 0, &engine));
	idle(tour, channel);
	events(tour);
	share_and_dup(tour);
	say("free the channel", rm_free(&tour->client, tour->device, channel));
	say("free the engine below it", rm_free(&tour->client, channel, engine));
}

/* A control with one list, and what is wrong with it in turn. */
void tour_list(const struct tour *tour, const char *name, uint32_t object, uint32_t cmd,
	       uint32_t size, uint32_t count_at, uint32_t pointer_at, uint32_t entry)
{
	unsigned char params[192] = {0}, bytes[1024];
	const uint64_t pointers[] = {(uint64_t)(uintptr_t)bytes, 4096, 0};
	static const char *const said[] = {"", " nowhere", " without a pointer"};
	uint32_t counts[] = {5, 0};
	char line[96];

	for (unsigned i = 0; i < 6; i++) {
		for (unsigned at = 0; at < sizeof(bytes); at++)
			bytes[at] = (unsigned char)(at * 7);
		memcpy(params + count_at, &counts[i / 3], 4);
		memcpy(params + pointer_at, &pointers[i % 3], 8);
		snprintf(line, sizeof(line), "%s%s%s", name, said[i % 3], i / 3 ? ", empty" : "");
		say_bytes(line, rm_control(&tour->client, object, cmd, params, size), bytes,
			  sizeof(bytes));
	}
	(void)entry;
}

static void build_version(const struct tour *tour)
{
	char driver[64] = {0}, version[64] = {0}, title[64] = {0};
	struct {
		uint32_t size;
		uint64_t driver, version, title;
		uint32_t changelist, official;
	} params = {sizeof(driver),
		    (uint64_t)(uintptr_t)driver,
		    (uint64_t)(uintptr_t)version,
		    (uint64_t)(uintptr_t)title,
		    0,
		    0};
	int result = rm_control(&tour->client, tour->client.handle,
				NV0000_CTRL_CMD_SYSTEM_GET_BUILD_VERSION, &params, sizeof(params));

	say_bytes("build version: driver", result, driver, sizeof(driver));
	say_bytes("build version: version", result, version, sizeof(version));
	say_bytes("build version: title", result, title, sizeof(title));
	say_bytes("build version: changelists", result, &params.changelist, 8);
}

/* count * count entries in each of two lists. */
static void peers(const struct tour *tour)
{
	uint32_t own[9] = {0}, egm[9] = {0};
	struct {
		uint32_t ids[32], count, caps, read, write;
		uint8_t status[9];
		uint64_t own, egm;
	} params = {.ids = {tour->gpu_id}, .count = 3, .own = (uint64_t)(uintptr_t)own};
	uint32_t size = tour->rm.major >= 550 ? 176 : 168;

	say_bytes("peers, one list",
		  rm_control(&tour->client, tour->client.handle, 0x127, &params, size), own,
		  sizeof(own));
	params.egm = (uint64_t)(uintptr_t)egm;
	say_bytes("peers, both lists",
		  rm_control(&tour->client, tour->client.handle, 0x127, &params, size), egm,
		  sizeof(egm));
	params.count = 0x10001;
	say("peers, too many",
	    rm_control(&tour->client, tour->client.handle, 0x127, &params, size));
}

void tour_lists(struct tour *tour)
{
	build_version(tour);
	peers(tour);
	tour_list(tour, "device classes", tour->device, 0x800201, 16, 0, 8, 4);
	tour_list(tour, "device GR caps", tour->device, 0x801102, 16, 0, 8, 1);
	tour_list(tour, "device GR info", tour->device, 0x801104, 16, 0, 8, 8);
	tour_list(tour, "device FB caps", tour->device, 0x801301, 16, 0, 8, 1);
	tour_list(tour, "device FIFO caps", tour->device, 0x801701, 16, 0, 8, 1);
	tour_list(tour, "device channels", tour->device, 0x80170d, 24, 0, 8, 4);
	tour_list(tour, "device encoder caps", tour->device, 0x801b01, 16, 0, 8, 1);
	tour_list(tour, "engines", tour->subdevice, 0x20800123, 16, 0, 8, 4);
	tour_list(tour, "BIOS info", tour->subdevice, 0x20800802, 16, 0, 8, 8);
	tour_list(tour, "GR info", tour->subdevice, 0x20801201, 32, 0, 8, 8);
	tour_list(tour, "FB info", tour->subdevice, 0x20801301, 16, 0, 8, 8);
	tour_list(tour, "bus info", tour->subdevice, 0x20801802, 16, 0, 8, 8);
}

struct export_to_fd {
	uint32_t type, device, parent, object;
	int32_t fd;
	uint32_t flags;
};

struct import_from_fd {
	int32_t fd;
	uint32_t type, device, parent, object;
};

static void send_fd(int socket, int fd)
{
	char space[CMSG_SPACE(sizeof(fd))] = {0}, byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = space,
				 .msg_controllen = sizeof(space)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(socket, &message, 0) != 1)
		die("sendmsg");
}

static int receive_fd(int socket)
{
	char space[CMSG_SPACE(sizeof(int))] = {0}, byte;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = space,
				 .msg_controllen = sizeof(space)};
	int fd;

	if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static void import(const char *root, int socket)
{
	struct import_from_fd params = {.fd = receive_fd(socket), .type = 1};
	uint32_t info[20] = {(uint32_t)params.fd};
	struct tour tour;
	int result;

	tour_open(&tour, root);
	result = rm_control(&tour.client, tour.client.handle, 0x3d08, info,
			    tour.rm.major >= 545 ? 80 : 76);
	say_bytes("look into it", result, info + 1, 12);
	params.device = params.parent = tour.device;
	say("import",
	    rm_control(&tour.client, tour.client.handle, 0x3d06, &params, sizeof(params)));
	printf("an object came: %s\n", params.object ? "yes" : "no");
	params.fd = tour.rm.ctl;
	say("import from a file without exports",
	    rm_control(&tour.client, tour.client.handle, 0x3d06, &params, sizeof(params)));
	params.fd = 9999;
	say("import from no file",
	    rm_control(&tour.client, tour.client.handle, 0x3d06, &params, sizeof(params)));
}

static void export_list(const struct tour *tour, int carrier)
{
	struct {
		int32_t fd;
		uint32_t device;
		uint16_t max;
		uint8_t metadata[64];
		uint32_t objects[512];
		uint16_t count, index;
	} give = {.fd = carrier,
		  .device = tour->device,
		  .max = 4,
		  .objects = {COPY + 0x200, COPY + 0x200},
		  .count = 2};
	struct {
		int32_t fd;
		uint32_t parent, objects[128];
		uint8_t types[128];
		uint16_t count, index;
	} take = {.fd = carrier, .parent = tour->device, .count = 3};

	say("export a list",
	    rm_control(&tour->client, tour->client.handle, 0x3d0b, &give, sizeof(give)));
	say_bytes("import a list",
		  rm_control(&tour->client, tour->client.handle, 0x3d0c, &take, sizeof(take)),
		  take.types, sizeof(take.types));
	give.index = 3;
	say("export behind the end",
	    rm_control(&tour->client, tour->client.handle, 0x3d0b, &give, sizeof(give)));
}

/* A control whose file is looked up before anything else; it needs an object that is not simulated.
 */
static void attach(const struct tour *tour)
{
	struct attach_gpu params = {.hSubdevice = tour->subdevice};
	const int files[] = {tour->rm.ctl, tour->node, 9999, -1, STDIN_FILENO};
	char path[320], name[64];
	int fresh;

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		params.devDescriptor = (uint64_t)(int64_t)files[i];
		snprintf(name, sizeof(name), "attach file %u", i);
		say(name, rm_control(&tour->client, tour->client.handle, NV00FD_CTRL_CMD_ATTACH_GPU,
				     &params, sizeof(params)));
	}
	snprintf(path, sizeof(path), "%s/nvidia0", tour->rm.root);
	fresh = open(path, O_RDWR | O_CLOEXEC);
	params.devDescriptor = (uint64_t)fresh;
	say("attach a GPU", rm_control(&tour->client, tour->client.handle,
				       NV00FD_CTRL_CMD_ATTACH_GPU, &params, sizeof(params)));
	say("attach with parameters nowhere",
	    rm_control(&tour->client, tour->client.handle, NV00FD_CTRL_CMD_ATTACH_GPU, (void *)4096,
		       sizeof(params)));
	close(fresh);
}

/* Memory that goes to another process by an open file. */
void tour_files(struct tour *tour)
{
	struct export_to_fd params = {1, tour->device, tour->device, COPY + 0x200, -1, 0};
	char path[320];
	int ends[2], status;
	pid_t child;

	snprintf(path, sizeof(path), "%s/nvidiactl", tour->rm.root);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends))
		die("socketpair");
	child = fork();
	if (!child) {
		import(tour->rm.root, ends[1]);
		_exit(0);
	}
	say("memory to export", alloc_video(tour, COPY + 0x200));
	say("export to no file",
	    rm_control(&tour->client, tour->client.handle, 0x3d05, &params, sizeof(params)));
	params.fd = open(path, O_RDWR | O_CLOEXEC);
	say("export",
	    rm_control(&tour->client, tour->client.handle, 0x3d05, &params, sizeof(params)));
	say("export again",
	    rm_control(&tour->client, tour->client.handle, 0x3d05, &params, sizeof(params)));
	say("free it", rm_free(&tour->client, tour->device, COPY + 0x200));
	send_fd(ends[0], params.fd);
	if (waitpid(child, &status, 0) != child || status)
		die("the importing child");
	say("memory to export once more", alloc_video(tour, COPY + 0x200));
	export_list(tour, open(path, O_RDWR | O_CLOEXEC));
	attach(tour);
}

static int register_space(const struct tour *tour, int fd)
{
	struct {
		uint8_t uuid[16];
		int32_t fd;
		uint32_t client, space, status;
	} params = {
	    .fd = tour->rm.ctl, .client = tour->client.handle, .space = SPACE, .status = 77};

	return ioctl(fd, 25, &params) ? -errno : (int)params.status;
}

void tour_uvm(struct tour *tour, const char *root)
{
	struct {
		uint64_t flags;
		uint32_t status, pad;
	} start = {0, 77, 0};
	struct {
		uint8_t uuid[16], numa_enabled;
		int32_t node, fd;
		uint32_t client, partition, status;
	} gpu = {.fd = tour->rm.ctl, .client = tour->client.handle, .status = 77};
	uint32_t access[2] = {0, 77};
	uint64_t migrate[10] = {0};
	char path[320];
	int fd, result;
	pid_t child;

	snprintf(path, sizeof(path), "%s/nvidia-uvm", root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	result = ioctl(fd, 39, access) ? -errno : 0;
	say("UVM before it is initialised", result ? result : (int)access[1]);
	result = ioctl(fd, 0x30000001, &start) ? -errno : 0;
	say("UVM_INITIALIZE", result ? result : (int)start.status);
	result = ioctl(fd, 39, access) ? -errno : 0;
	say("UVM_PAGEABLE_MEM_ACCESS", result ? result : (int)access[1]);
	result = ioctl(fd, 37, &gpu) ? -errno : 0;
	say("UVM_REGISTER_GPU", result ? result : (int)gpu.status);
	gpu.fd = 9999;
	result = ioctl(fd, 37, &gpu) ? -errno : 0;
	say("UVM_REGISTER_GPU without a file", result ? result : (int)gpu.status);
	say("UVM_REGISTER_GPU_VASPACE", register_space(tour, fd));
	child = fork();
	if (!child) {
		say("UVM_REGISTER_GPU_VASPACE of the parent's", register_space(tour, fd));
		_exit(0);
	}
	waitpid(child, NULL, 0);
	result = ioctl(fd, 51, migrate) ? -errno : 0;
	say("UVM_MIGRATE", result ? result : (int)migrate[9]);
	say("UVM_MIGRATE without parameters", ioctl(fd, 51, NULL) ? -errno : 0);
	say("UVM_DEINITIALIZE", ioctl(fd, 0x30000002, NULL) ? -errno : 0);
	close(fd);
}

/* Pages of this process: what the driver saw in them is in its state. */
void tour_pinned(struct tour *tour)
{
	uint64_t *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct nvos02_with_fd api = {.hRoot = tour->client.handle,
				     .hObjectParent = tour->device,
				     .hObjectNew = PINNED,
				     .hClass = NV01_MEMORY_SYSTEM_OS_DESCRIPTOR,
				     .flags = NVOS02_MAPPING_NO_MAP << NVOS02_MAPPING_SHIFT |
					      NVOS02_COHERENCY_CACHED << NVOS02_COHERENCY_SHIFT,
				     .pMemory = (uint64_t)(uintptr_t)pages,
				     .limit = 4 * 4096 - 1,
				     .fd = -1};
	int result;

	if (pages == MAP_FAILED)
		die("mmap");
	pages[0] = 0x1122334455667788;
	result = tour_escape(tour->node, NV_ESC_RM_ALLOC_MEMORY, sizeof(api), &api);
	say("pin pages", result ? result : (int)api.status);
	api.hObjectNew++;
	api.pMemory = 4096;
	result = tour_escape(tour->node, NV_ESC_RM_ALLOC_MEMORY, sizeof(api), &api);
	say("pin pages that are not there", result ? result : (int)api.status);
}

/* One call in all its spellings. */
void tour_requests(struct tour *tour)
{
	static const unsigned long requests[] = {0xc020462a, 0xffffffffc020462a, 0x4020462a,
						 0x8020462a, 0x0020462a,	 0xc020002a,
						 0xc020ff2a, 0xc01f462a,	 0xc021462a};
	struct {
		uint32_t flags;
		char name[128];
	} params = {0};
	struct nvos54_parameters api = {.hClient = tour->client.handle,
					.hObject = tour->subdevice,
					.cmd = NV2080_CTRL_CMD_GPU_GET_NAME_STRING,
					.params = (uint64_t)(uintptr_t)&params,
					.paramsSize = sizeof(params)};
	struct nv_ioctl_xfer xfer = {NV_ESC_RM_CONTROL, sizeof(api), (uint64_t)(uintptr_t)&api};
	char name[64];

	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		memset(&params, 0, sizeof(params));
		api.status = 77;
		snprintf(name, sizeof(name), "request 0x%lx", requests[i]);
		say_bytes(name, ioctl(tour->rm.ctl, requests[i], &api) ? -errno : (int)api.status,
			  &params, sizeof(params));
	}
	for (uint32_t size = 31; size <= 33; size++) {
		xfer.size = size;
		api.status = 77;
		snprintf(name, sizeof(name), "wrapped, %u bytes", size);
		say(name, ioctl(tour->rm.ctl, 0xc01046d3, &xfer) ? -errno : (int)api.status);
	}
	xfer.size = sizeof(api);
	xfer.ptr = 4096;
	say("wrapped, nowhere", ioctl(tour->rm.ctl, 0xc01046d3, &xfer) ? -errno : 0);
	xfer = (struct nv_ioctl_xfer){NV_ESC_IOCTL_XFER_CMD, 16, (uint64_t)(uintptr_t)&xfer};
	say("wrapped twice", ioctl(tour->rm.ctl, 0xc01046d3, &xfer) ? -errno : 0);
	say("on the wrong device", ioctl(tour->node, 0xc020462a, &api) ? -errno : (int)api.status);
	say("on no device", ioctl(STDIN_FILENO, 0xc020462a, &api) ? -errno : 0);
	say("on no file", ioctl(9999, 0xc020462a, &api) ? -errno : 0);
	api.params = 4096;
	say("bad parameters", ioctl(tour->rm.ctl, 0xc020462a, &api) ? -errno : (int)api.status);
	api.paramsSize = 1;
	say("wrong size", ioctl(tour->rm.ctl, 0xc020462a, &api) ? -errno : (int)api.status);
	api.paramsSize = 2 << 20;
	say("size of 2 MiB", ioctl(tour->rm.ctl, 0xc020462a, &api) ? -errno : (int)api.status);
	say("bad pointer", ioctl(tour->rm.ctl, 0xc020462a, 4096) ? -errno : 0);
}
