/* The ioctls of the device files: which of them there are, and how their data travels. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/simrm/driver.h"
#include "tests/simrm/escapes.h"

enum { NV_ABSOLUTE_MAX_IOCTL_SIZE = 16384 };

static int read_card_info(struct driver *driver, void *data, uint32_t size)
{
	struct nv_ioctl_card_info *info = data;

	if (size / sizeof(*info) < driver->gpus)
		return -EINVAL;
	memset(data, 0, size);
	for (unsigned i = 0; i < driver->gpus; i++)
		info[i] = (struct nv_ioctl_card_info){.valid = 1,
						      .bus = (uint8_t)(i + 1),
						      .vendor_id = 0x10de,
						      .device_id = 0x2330,
						      .gpu_id = driver->gpu[i].gpu_id,
						      .fb_size = driver->gpu[i].memory,
						      .minor_number = i};
	return 0;
}

static int check_version(struct driver *driver, void *data, uint32_t size)
{
	struct nv_ioctl_rm_api_version *api = data;
	const char *own = driver->release.text;

	if (size != sizeof(*api))
		return -EINVAL;
	api->reply = 1;
	if (api->cmd != '2' &&
	    strncmp(api->versionString, own,
		    api->cmd == '1' ? strcspn(own, ".") + 1 : sizeof(api->versionString))) {
		strcpy(api->versionString, own);
		return -EINVAL;
	}
	if (api->cmd == '2')
		strcpy(api->versionString, own);
	return 0;
}

/* Registers FILE to the control file behind the caller's fd: FILE's calls use its clients. */
static int register_fd(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		       const void *data, uint32_t size)
{
	struct sim_file *ctl;
	const void *found;
	int fd, err = 0;

	if (size != sizeof(fd))
		return -EINVAL;
	memcpy(&fd, data, sizeof(fd));
	found = file_ask(driver, call, fd);
	pthread_mutex_lock(&driver->lock);
	ctl = file_asked(driver, found);
	if (!ctl || ctl == file || ctl->device != DEVICE_CTL || ctl->ctl || file->ctl) {
		err = -EINVAL;
	} else {
		file->ctl = ctl;
		ctl->refs++;
	}
	pthread_mutex_unlock(&driver->lock);
	return err;
}

static int attach_gpus(struct driver *driver, struct sim_file *file, const uint32_t *ids,
		       uint32_t size)
{
	int err = 0;

	if (!size || size % sizeof(*ids) || file->device != DEVICE_CTL)
		return -EINVAL;
	pthread_mutex_lock(&driver->lock);
	for (uint32_t i = 0; i < size / sizeof(*ids); i++)
		if (ids[i] && gpu_of_id(driver, ids[i]) < 0)
			err = -EINVAL;
	if (file->gpus_attached)
		err = -EINVAL;
	file->gpus_attached |= !err;
	pthread_mutex_unlock(&driver->lock);
	return err;
}

static int sys_params(struct driver *driver, const uint64_t *block_size, uint32_t size)
{
	int err = 0;

	if (size != sizeof(*block_size))
		return -EINVAL;
	pthread_mutex_lock(&driver->lock);
	if (!driver->memory_block_size)
		driver->memory_block_size = *block_size;
	else if (driver->memory_block_size != *block_size)
		err = -EBUSY;
	pthread_mutex_unlock(&driver->lock);
	return err;
}

static int set_work(struct driver *driver, struct sim_file *file, struct simrm_work *work,
		    uint32_t size)
{
	struct client *client;

	if (size != sizeof(*work))
		return -EINVAL;
	pthread_mutex_lock(&driver->lock);
	client = client_find(driver, work->hClient);
	work->status = NV_ERR_INVALID_CLIENT;
	if (client && client->file == file_owner(file)) {
		memcpy(client->util, work->util, sizeof(client->util));
		work->status = NV_OK;
	}
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* One escape with its data in kernel memory, as nvidia_ioctl() and RmIoctl() have it. */
static int escape(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		  uint32_t number, void *data, uint32_t size)
{
	int err;

	switch (number) {
	case NV_ESC_RM_CONTROL:
		if (size != sizeof(struct nvos54_parameters) || file->device != DEVICE_CTL)
			return -EINVAL;
		return escape_control(driver, file, call, data);
	case NV_ESC_RM_ALLOC:
		return escape_alloc(driver, file, call, data, size);
	case NV_ESC_RM_FREE:
		return escape_free(driver, file, data, size);
	case NV_ESC_CARD_INFO:
		if (file->device != DEVICE_CTL)
			return -EINVAL;
		return read_card_info(driver, data, size);
	case NV_ESC_CHECK_VERSION_STR:
		return file->device == DEVICE_CTL ? check_version(driver, data, size) : -EINVAL;
	case NV_ESC_REGISTER_FD:
		return register_fd(driver, file, call, data, size);
	case NV_ESC_ATTACH_GPUS_TO_FD:
		return attach_gpus(driver, file, data, size);
	case NV_ESC_SYS_PARAMS:
		return file->device == DEVICE_CTL ? sys_params(driver, data, size) : -EINVAL;
	case SIMRM_ESC_WORK:
		return set_work(driver, file, data, size);
	default:
		err = escape_memory(driver, file, call, number, data, size);
		if (err == -ENOENT)
			err = escape_object(driver, file, call, number, data, size);
		return err == -ENOENT ? -EINVAL : err;
	}
}

static void count(struct driver *driver, const struct sim_call *call, uint32_t cmd, bool control)
{
	struct call_record record = {.cmd = cmd, .control = control};
	struct task task;

	if (faults_recording(&driver->faults) && !task_look(&driver->tasks, call->tid, &task)) {
		record.tgid = task.tgid;
		record.tid = task.tid;
		record.euid = task.euid;
		record.admin = task.admin;
	}
	faults_count(&driver->faults, &record);
}

/* Counts the call and does to it what simrm was told to do. Returns whether it is over, with the
 * result in ERR; a status to fail with goes into a control's own status. */
static bool interfere(struct driver *driver, const struct sim_call *call, uint32_t number,
		      void *data, uint32_t size, int *err)
{
	struct nvos54_parameters *api = data;
	bool control = number == NV_ESC_RM_CONTROL && size == sizeof(*api);
	uint32_t cmd = control ? api->cmd : number;
	struct fault_action action;

	count(driver, call, cmd, control);
	action = faults_apply(&driver->faults, cmd, control, call->interrupted, call->context);
	*err = action.error;
	if (action.signal)
		syscall(SYS_tkill, call->tid, action.signal);
	if (control && action.status)
		api->status = action.status;
	return action.error || (control && action.status);
}

/* Whether the outer ioctl is one that the driver has, with a size that it has. */
static bool is_valid(const struct release *release, uint32_t number, uint32_t size)
{
	switch (number) {
	case NV_ESC_RM_CONTROL:
		return size == sizeof(struct nvos54_parameters);
	case NV_ESC_RM_ALLOC:
		return size == sizeof(struct nvos21_parameters) ||
		       size == sizeof(struct nvos64_parameters);
	case NV_ESC_RM_FREE:
		return size == sizeof(struct nvos00_parameters);
	case NV_ESC_CARD_INFO:
		return size && size % sizeof(struct nv_ioctl_card_info) == 0;
	case NV_ESC_REGISTER_FD:
		return size == sizeof(int);
	case NV_ESC_CHECK_VERSION_STR:
		return size == sizeof(struct nv_ioctl_rm_api_version);
	case NV_ESC_IOCTL_XFER_CMD:
		return size == sizeof(struct nv_ioctl_xfer);
	case NV_ESC_ATTACH_GPUS_TO_FD:
		return size && size % sizeof(uint32_t) == 0;
	case NV_ESC_SYS_PARAMS:
		return size == sizeof(uint64_t);
	case SIMRM_ESC_WORK:
		return size == sizeof(struct simrm_work);
	default:
		return escape_memory_size(release, number, size) ||
		       escape_object_size(release, number, size);
	}
}

/* Whether some release looks at more of the call than its number and size: the escapes above, and
 * those that are not simulated. */
static bool is_taken(const struct release *release, uint32_t number, uint32_t size)
{
	static const struct {
		uint32_t number, size; /* 0: every size */
	} others[] = {
	    {0x28, 20},	  /* NV_ESC_RM_ALLOC_OBJECT */
	    {0x39, 32},	  /* NV_ESC_RM_I2C_ACCESS */
	    {0x4d, 72},	  /* NV_ESC_RM_ACCESS_REGISTRY */
	    {0x59, 16},	  /* NV_ESC_RM_BIND_CONTEXT_DMA */
	    {0x5f, 4024}, /* NV_ESC_RM_LOCKLESS_DIAGNOSTIC */
	    {209, 12},	  /* NV_ESC_STATUS_CODE */
	    {213, 0},	  /* NV_ESC_QUERY_DEVICE_INTR */
	    {216, 4},	  /* NV_ESC_SET_NUMA_STATUS */
	    {NV_ESC_CARD_INFO, 0},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i].number == number)
			return !others[i].size || others[i].size == size;
	return number != SIMRM_ESC_WORK && is_valid(release, number, size);
}

/* What the call is, as far as it is told by its parameters. */
static struct arrival arrival_of(uint32_t number, const void *data, uint32_t size)
{
	const uint32_t *words = data;
	struct arrival arrival = {.kind = ARRIVAL_ESCAPE, .number = number};

	if (number == NV_ESC_RM_CONTROL && size == sizeof(struct nvos54_parameters)) {
		arrival.kind = ARRIVAL_CONTROL;
		arrival.number = words[2];
	} else if (number == NV_ESC_RM_ALLOC && size >= sizeof(struct nvos21_parameters)) {
		arrival.kind = ARRIVAL_CLASS;
		arrival.number = words[3];
	} else if (number == NV_ESC_RM_VID_HEAP_CONTROL &&
		   size == sizeof(struct nvos32_parameters)) {
		arrival.kind = ARRIVAL_HEAP;
		arrival.number = words[2];
	} else if (number == NV_ESC_RM_ALLOC_MEMORY && size == sizeof(struct nvos02_with_fd)) {
		arrival.kind = ARRIVAL_MEMORY;
		arrival.number = words[3];
	}
	return arrival;
}

/* The NV_STATUS in the parameters of what is counted by more than its number. */
static int32_t result_of(const struct release *release, const struct arrival *arrival,
			 const void *data, uint32_t size)
{
	const uint32_t *words = data;

	switch (arrival->kind) {
	case ARRIVAL_CONTROL:
		return (int32_t)words[7];
	case ARRIVAL_CLASS:
		return (int32_t)words[size == sizeof(struct nvos21_parameters)
					  ? 6 + release->alloc_params_size
					  : 8 + release->alloc_params_size + release->alloc_flags];
	case ARRIVAL_HEAP:
		return (int32_t)words[5];
	case ARRIVAL_MEMORY:
		return (int32_t)words[10];
	default:
		return 0;
	}
}

/* Serves what lies at ARG in the caller's memory. */
static int serve(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 uint32_t number, uint32_t size, uint64_t arg)
{
	cleanup_free void *data = calloc(1, size ? size : 1);
	struct arrival arrival = {.kind = ARRIVAL_ESCAPE, .number = number};
	int err;

	if (!data)
		return -ENOMEM;
	err = user_read(driver, call->tid, arg, data, size);
	if (!err)
		arrival = arrival_of(number, data, size);
	if (arrival.kind == ARRIVAL_CLASS)
		arrival.number = alloc_class(driver, call, data);
	if (is_taken(&driver->release, number, size))
		arrivals_check(&driver->arrivals, call->tid, &arrival);
	if (!err && !interfere(driver, call, number, data, size, &err))
		err = escape(driver, file, call, number, data, size);
	arrival.result = err ? err : result_of(&driver->release, &arrival, data, size);
	if (err != -EFAULT && user_write(driver, call->tid, arg, data, size))
		err = -EFAULT;
	arrivals_count(&driver->arrivals, call->tid, &arrival);
	return err;
}

/* One that ends before its parameters are read. */
static int reject(struct driver *driver, const struct sim_call *call, uint32_t number, int err)
{
	struct arrival arrival = {.kind = ARRIVAL_ESCAPE, .number = number, .result = err};

	arrivals_count(&driver->arrivals, call->tid, &arrival);
	return err;
}

int driver_ioctl(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 uint32_t request, uint64_t arg)
{
	uint32_t number = _IOC_NR(request), size = _IOC_SIZE(request);
	struct nv_ioctl_xfer xfer;

	if (number == SIMRM_ESC_IDENTIFY)
		return identifier_answer(&driver->identifier, call->tid, arg, file) ? 0 : -EINVAL;
	if (file->device == DEVICE_UVM)
		return uvm_ioctl(driver, file, call, request, arg);
	if (driver->release.ioctl_size_first && !is_valid(&driver->release, number, size))
		return reject(driver, call, number, -EINVAL);
	if (number != NV_ESC_IOCTL_XFER_CMD)
		return serve(driver, file, call, number, size, arg);
	if (size != sizeof(xfer))
		return reject(driver, call, number, -EINVAL);
	if (user_read(driver, call->tid, arg, &xfer, sizeof(xfer)))
		return reject(driver, call, number, -EFAULT);
	if (xfer.size > NV_ABSOLUTE_MAX_IOCTL_SIZE)
		return reject(driver, call, xfer.cmd, -EINVAL);
	return serve(driver, file, call, xfer.cmd, xfer.size, xfer.ptr);
}
