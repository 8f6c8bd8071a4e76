#include "tests/simrm/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

enum { FIRST_GPU_ID = 0x100, GPU_ID_STEP = 0x100 };
static const uint64_t first_address = 0xd000000000; /* where mapped memory is on the bus */
static const uint64_t gpu_memory = (uint64_t)80 << 30;

int user_read(struct driver *driver, pid_t tid, uint64_t address, void *data, size_t size)
{
	struct iovec local = {data, size}, remote = {(void *)(uintptr_t)address, size};

	arrivals_memory(&driver->arrivals, tid, address, size);
	if (!size)
		return 0;
	return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

int user_write(struct driver *driver, pid_t tid, uint64_t address, const void *data, size_t size)
{
	struct iovec local = {(void *)(uintptr_t)data, size};
	struct iovec remote = {(void *)(uintptr_t)address, size};

	arrivals_memory(&driver->arrivals, tid, address, size);
	if (!size)
		return 0;
	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int driver_init(struct driver *driver, const struct release *release, unsigned gpus,
		struct mpu_error *error)
{
	memset(driver, 0, sizeof(*driver));
	driver->release = *release;
	driver->gpus = gpus;
	driver->next_client = 0xc1d00001;
	driver->next_object = 0xcaf00000;
	driver->next_session = 1;
	pthread_mutex_init(&driver->lock, NULL);
	faults_init(&driver->faults);
	arrivals_init(&driver->arrivals);
	driver->next_address = first_address;
	for (unsigned i = 0; i < gpus; i++) {
		driver->gpu[i].gpu_id = FIRST_GPU_ID + i * GPU_ID_STEP;
		driver->gpu[i].memory = gpu_memory;
	}
	return tasks_init(&driver->tasks, error) ?: identifier_start(&driver->identifier, error);
}

static void free_sessions(struct injected_session *session)
{
	while (session) {
		struct injected_session *next = session->next;

		free(session);
		session = next;
	}
}

void driver_destroy(struct driver *driver)
{
	while (driver->first_client)
		client_free(driver, driver->first_client);
	for (unsigned i = 0; i < driver->gpus; i++) {
		struct gpu *gpu = &driver->gpu[i];

		acct_clear(driver, &gpu->live);
		acct_clear(driver, &gpu->dead);
		free_sessions(gpu->sessions);
		for (unsigned at = 0; at < UTIL_RING; at++)
			for (unsigned engine = 0; engine < ENGINES; engine++)
				sim_pid_put(&driver->tasks, gpu->ring[at].engine[engine].os_pid);
	}
	while (driver->files) {
		struct sim_file *file = driver->files;

		driver->files = file->next;
		free(file->exported);
		free(file);
	}
	events_end(driver, NULL, 0);
	arrivals_destroy(&driver->arrivals);
	identifier_stop(&driver->identifier);
	tasks_destroy(&driver->tasks);
	faults_destroy(&driver->faults);
	pthread_mutex_destroy(&driver->lock);
}

struct sim_file *driver_open(struct driver *driver, enum sim_device device, unsigned minor)
{
	struct sim_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->device = device;
	file->minor = minor;
	file->refs = 1;
	pthread_mutex_lock(&driver->lock);
	file->next = driver->files;
	driver->files = file;
	driver->opens++;
	pthread_mutex_unlock(&driver->lock);
	return file;
}

static void free_clients_of(struct driver *driver, const struct sim_file *file)
{
	struct client *client = driver->first_client;

	while (client) {
		struct client *next = client->next;

		if (client->file == file)
			client_free(driver, client);
		client = next;
	}
}

static void file_put(struct driver *driver, struct sim_file *file)
{
	while (file && --file->refs == 0) {
		struct sim_file *ctl = file->ctl, **link = &driver->files;

		free_clients_of(driver, file);
		events_end(driver, file, 0);
		while (*link != file)
			link = &(*link)->next;
		*link = file->next;
		free(file->exported);
		free(file);
		file = ctl;
	}
}

void driver_close(struct driver *driver, struct sim_file *file)
{
	pthread_mutex_lock(&driver->lock);
	driver->releases++;
	file_put(driver, file);
	pthread_mutex_unlock(&driver->lock);
}

const void *file_ask(struct driver *driver, const struct sim_call *call, int fd)
{
	struct task task;

	if (fd < 0 || task_look(&driver->tasks, call->tid, &task))
		return NULL;
	return identifier_ask(&driver->identifier, task.tid, task.tgid, fd,
			      &driver->faults.stopping);
}

struct sim_file *file_asked(struct driver *driver, const void *asked)
{
	struct sim_file *file = driver->files;

	while (file && file != asked)
		file = file->next;
	return file;
}

struct sim_file *file_owner(struct sim_file *file)
{
	return file->ctl ? file->ctl : file;
}

struct client *client_find(struct driver *driver, uint32_t handle)
{
	struct client *client = driver->bucket[handle % CLIENT_BUCKETS];

	while (client && client->handle != handle)
		client = client->bucket_next;
	return client;
}

struct object *object_find(const struct client *client, uint32_t handle)
{
	struct object *object = client->objects;

	while (object && object->handle != handle)
		object = object->next;
	return object;
}

struct object *client_device(const struct client *client, int gpu)
{
	struct object *object = client->objects;

	while (object && (object->kind != OBJECT_DEVICE || object->gpu != gpu))
		object = object->next;
	return object;
}

int gpu_of_id(const struct driver *driver, uint32_t gpu_id)
{
	for (unsigned i = 0; i < driver->gpus; i++)
		if (driver->gpu[i].gpu_id == gpu_id)
			return (int)i;
	return -1;
}

/* The wording of the open module (from R515 on both exist) and of the closed one. */
void driver_version_text(const struct driver *driver, bool open_module, char *text, size_t size)
{
	const char *built = "Wed May 15 10:21:44 UTC 2024";

	if (open_module)
		snprintf(
		    text, size,
		    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  %s  Release Build  "
		    "(builder@host)  %s\n"
		    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14) \n",
		    driver->release.text, built);
	else
		snprintf(text, size,
			 "NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  %s\n"
			 "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14) \n",
			 driver->release.text, built);
}
