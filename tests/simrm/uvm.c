/* nvidia-uvm: which ioctls there are, with their parameters; the space that belongs to the process
 * which initialised the file. No memory is ever managed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/simrm/driver.h"
#include "tests/simrm/escapes.h"

enum {
	UVM_REGISTER_GPU = 37,
	UVM_PAGEABLE_MEM_ACCESS = 39,
	UVM_MIGRATE = 51,
	UVM_POPULATE_PAGEABLE = 71,
	UVM_MM_INITIALIZE = 75,
	UVM_INITIALIZE = 0x30000001,
	UVM_DEINITIALIZE = 0x30000002,
	NV_WARN_NOTHING_TO_DO = 0x10006,
	NO_FD = 0xffff,
};

struct uvm_command {
	uint32_t number, size, status; /* bytes; where rmStatus is */
	uint32_t
	    fd; /* where rmCtrlFd is, which the driver ignores, with hClient behind it; or NO_FD */
};

static const struct uvm_command commands[] = {
    {UVM_INITIALIZE, 16, 8, NO_FD},
    {23, 16, 8, NO_FD},	    /* CREATE_RANGE_GROUP */
    {24, 16, 8, NO_FD},	    /* DESTROY_RANGE_GROUP */
    {25, 32, 28, 16},	    /* REGISTER_GPU_VASPACE */
    {26, 20, 16, NO_FD},    /* UNREGISTER_GPU_VASPACE */
    {27, 56, 48, 16},	    /* REGISTER_CHANNEL */
    {28, 28, 24, NO_FD},    /* UNREGISTER_CHANNEL */
    {29, 36, 32, NO_FD},    /* ENABLE_PEER_ACCESS */
    {30, 36, 32, NO_FD},    /* DISABLE_PEER_ACCESS */
    {31, 32, 24, NO_FD},    /* SET_RANGE_GROUP */
    {33, 9264, 9260, 9248}, /* MAP_EXTERNAL_ALLOCATION */
    {34, 24, 16, NO_FD},    /* FREE */
    {UVM_REGISTER_GPU, 40, 36, 24},
    {38, 20, 16, NO_FD}, /* UNREGISTER_GPU */
    {UVM_PAGEABLE_MEM_ACCESS, 8, 4, NO_FD},
    {40, 272, 264, NO_FD}, /* PREVENT_MIGRATION_RANGE_GROUPS */
    {41, 272, 264, NO_FD}, /* ALLOW_MIGRATION_RANGE_GROUPS */
    {42, 40, 36, NO_FD},   /* SET_PREFERRED_LOCATION */
    {43, 24, 16, NO_FD},   /* UNSET_PREFERRED_LOCATION */
    {44, 24, 16, NO_FD},   /* ENABLE_READ_DUPLICATION */
    {45, 24, 16, NO_FD},   /* DISABLE_READ_DUPLICATION */
    {46, 40, 32, NO_FD},   /* SET_ACCESSED_BY */
    {47, 40, 32, NO_FD},   /* UNSET_ACCESSED_BY */
    {UVM_MIGRATE, 80, 72, NO_FD},
    {53, 32, 24, NO_FD},     /* MIGRATE_RANGE_GROUP */
    {54, 20, 16, NO_FD},     /* ENABLE_SYSTEM_WIDE_ATOMICS */
    {55, 20, 16, NO_FD},     /* DISABLE_SYSTEM_WIDE_ATOMICS */
    {65, 40, 32, NO_FD},     /* MAP_DYNAMIC_PARALLELISM_REGION */
    {66, 40, 32, NO_FD},     /* UNMAP_EXTERNAL */
    {68, 9248, 9240, NO_FD}, /* ALLOC_SEMAPHORE_POOL */
    {69, 4, 0, NO_FD},	     /* CLEAN_UP_ZOMBIE_RESOURCES */
    {70, 24, 20, NO_FD},     /* PAGEABLE_MEM_ACCESS_ON_GPU */
    {UVM_POPULATE_PAGEABLE, 24, 20, NO_FD},
    {72, 24, 16, NO_FD}, /* VALIDATE_VA_RANGE */
    {73, 24, 16, NO_FD}, /* CREATE_EXTERNAL_RANGE */
    {74, 40, 32, NO_FD}, /* MAP_EXTERNAL_SPARSE */
    {UVM_MM_INITIALIZE, 8, 4, NO_FD},
};

/* Where the release differs from 580.95.05. */
static struct uvm_command of_release(const struct release *release, const struct uvm_command *at)
{
	struct uvm_command command = *at;
	unsigned major = release->version.major;
	bool small = major < 550 || (major == 550 && release->version.minor < 54);

	if (at->number == 33 && small) {
		command.size = 1200;
		command.status = 1196;
		command.fd = 1184;
	} else if (at->number == 68 && small) {
		command.size = 1184;
		command.status = 1176;
	} else if (at->number == 34 && major >= 590) {
		command.size = 16;
		command.status = 8;
	} else if (at->number == 28 && major >= 590) {
		command.size = 12;
		command.status = 8;
	} else if (at->number == 42 && major < 545) {
		command.status = 32;
	}
	return command;
}

static bool find(const struct release *release, uint32_t number, struct uvm_command *command)
{
	bool groups_gone = release->version.major >= 610;

	if (groups_gone && (number == 23 || number == 24 || number == 31 || number == 53))
		return false;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].number == number) {
			*command = of_release(release, &commands[i]);
			return true;
		}
	}
	return false;
}

/* Whether some release looks at more than the number, with its tests switched off. */
static bool is_taken(const struct release *release, uint32_t number)
{
	/* The tools' own; ALLOC_DEVICE_P2P, CLEAR_ALL_ACCESS_COUNTERS, DISCARD. */
	static const uint32_t others[] = {56, 57, 58, 59, 60, 61, 62, 63,
					  64, 67, 76, 77, 78, 79, 80};
	struct uvm_command command;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i] == number)
			return true;
	return number == UVM_DEINITIALIZE || find(release, number, &command);
}

static uint32_t initialize(struct sim_file *file, const uint64_t *flags, pid_t tgid)
{
	if (file->uvm.initialized)
		return file->uvm.flags == *flags ? NV_OK : NV_ERR_INVALID_ARGUMENT;
	file->uvm.initialized = true;
	file->uvm.flags = *flags;
	file->uvm.tgid = tgid;
	return NV_OK;
}

/* Objects of RM are duplicated for the process that has them, and for no other. */
static uint32_t check_owner(struct driver *driver, const struct uvm_command *command,
			    const unsigned char *params, pid_t tgid)
{
	const struct client *client;
	uint32_t handle;

	memcpy(&handle, params + command->fd + sizeof(int), sizeof(handle));
	client = client_find(driver, handle);
	if (!client)
		return NV_ERR_INVALID_CLIENT;
	/* Registering a GPU duplicates a partition of it, of which there is none. */
	return client->proc_id == (uint32_t)tgid || command->number == UVM_REGISTER_GPU
		   ? NV_OK
		   : NV_ERR_INSUFFICIENT_PERMISSIONS;
}

/* The lock is held. ASKED is the file behind the fd of MM_INITIALIZE. */
static uint32_t run(struct driver *driver, struct sim_file *file, const struct uvm_command *command,
		    unsigned char *params, pid_t tgid, const void *asked)
{
	const struct sim_file *first = file_asked(driver, asked);

	if (command->number == UVM_INITIALIZE)
		return initialize(file, (uint64_t *)params, tgid);
	if (command->number == UVM_MM_INITIALIZE)
		return first && first->device == DEVICE_UVM && first->uvm.initialized
			   ? (uint32_t)NV_WARN_NOTHING_TO_DO
			   : NV_ERR_INVALID_ARGUMENT;
	if (!file->uvm.initialized)
		return NV_ERR_ILLEGAL_ACTION;
	if (command->fd != NO_FD)
		return check_owner(driver, command, params, tgid);
	/* Pages of a process are reached by its own calls only. */
	if ((command->number == UVM_MIGRATE || command->number == UVM_POPULATE_PAGEABLE) &&
	    file->uvm.tgid != tgid)
		return NV_ERR_INVALID_ADDRESS;
	if (command->number == UVM_PAGEABLE_MEM_ACCESS)
		params[0] = 0;
	return NV_OK;
}

static int serve(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 const struct uvm_command *command, uint64_t arg, uint32_t *status)
{
	cleanup_free unsigned char *params = malloc(command->size);
	const void *asked = NULL;
	struct task task;
	int fd;

	if (!params)
		return -ENOMEM;
	if (user_read(driver, call->tid, arg, params, command->size) ||
	    task_look(&driver->tasks, call->tid, &task))
		return -EFAULT;
	if (command->number == UVM_MM_INITIALIZE) {
		memcpy(&fd, params, sizeof(fd));
		asked = file_ask(driver, call, fd);
	}
	pthread_mutex_lock(&driver->lock);
	*status = run(driver, file, command, params, task.tgid, asked);
	pthread_mutex_unlock(&driver->lock);
	memcpy(params + command->status, status, sizeof(*status));
	return user_write(driver, call->tid, arg, params, command->size);
}

int uvm_ioctl(struct driver *driver, struct sim_file *file, const struct sim_call *call,
	      uint32_t request, uint64_t arg)
{
	struct arrival arrival = {.kind = ARRIVAL_UVM, .number = request};
	struct uvm_command command;
	uint32_t status = NV_OK;
	int err;

	if (is_taken(&driver->release, request))
		arrivals_check(&driver->arrivals, call->tid, &arrival);
	if (request == UVM_DEINITIALIZE)
		err = 0;
	else if (find(&driver->release, request, &command))
		err = serve(driver, file, call, &command, arg, &status);
	else
		err = driver->release.version.major < 570 ? -EINVAL : -ENOSYS;
	arrival.result = err ? err : (int32_t)status;
	arrivals_count(&driver->arrivals, call->tid, &arrival);
	return err;
}
