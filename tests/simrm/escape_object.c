/* Escapes on objects of more than one client, on OS events, and on the device itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/simrm/driver.h"
#include "tests/simrm/escapes.h"

enum {
	RS_SHARE_TYPE_MAX = 8,
	NVOS30_CHANNEL_SHIFT = 4,
	NVOS30_CHANNEL_MASK = 0xf,
	NVOS30_CHANNEL_LIST = 0,
	MAX_IDLE_LIST = 4096,
};

void events_end(struct driver *driver, const struct sim_file *file, uint32_t client)
{
	struct os_event **link = &driver->events;

	while (*link) {
		struct os_event *event = *link;

		if ((!file && !client) || event->file == file || event->client == client) {
			*link = event->next;
			free(event);
		} else {
			link = &event->next;
		}
	}
}

static int alloc_event(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		       void *data)
{
	struct os_event_parameters *api = data;
	struct os_event *event = calloc(1, sizeof(*event)), *at;

	(void)call;
	if (!event)
		return -ENOMEM;
	*event = (struct os_event){.client = api->hClient, .fd = api->fd, .file = file};
	pthread_mutex_lock(&driver->lock);
	for (at = driver->events; at; at = at->next)
		if (at->client == api->hClient && at->fd == api->fd)
			break;
	api->Status = at ? NV_ERR_INSUFFICIENT_RESOURCES : NV_OK;
	if (at) {
		free(event);
	} else {
		event->next = driver->events;
		driver->events = event;
	}
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

static int free_event(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		      void *data)
{
	struct os_event_parameters *api = data;

	(void)call;
	(void)file;
	pthread_mutex_lock(&driver->lock);
	api->Status = NV_ERR_INVALID_EVENT;
	for (struct os_event **link = &driver->events; *link; link = &(*link)->next) {
		struct os_event *event = *link;

		if (event->client != api->hClient || event->fd != api->fd)
			continue;
		*link = event->next;
		free(event);
		api->Status = NV_OK;
		break;
	}
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* No event ever fires here. */
static int get_event_data(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			  void *data)
{
	struct nvos41_parameters *api = data;

	(void)driver;
	(void)file;
	(void)call;
	api->status = NV_ERR_OPERATING_SYSTEM;
	return 0;
}

/* By default to clients of the same process only. */
static bool may_dup(const struct client *client, const struct client *from,
		    const struct object *object)
{
	return client->proc_id == from->proc_id || object->share == RS_SHARE_TYPE_ALL ||
	       (object->share == RS_SHARE_TYPE_OS_SECURITY_TOKEN &&
		client->task.euid == from->task.euid);
}

static int dup_object(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		      void *data)
{
	struct nvos55_parameters *api = data;
	struct client *client, *from;
	const struct object *object;

	(void)call;
	pthread_mutex_lock(&driver->lock);
	client = client_find(driver, api->hClient);
	from = client_find(driver, api->hClientSrc);
	object = from ? object_find(from, api->hObjectSrc) : NULL;
	if (!client || client->file != file_owner(file) || !from)
		api->status = NV_ERR_INVALID_CLIENT;
	else if (!object)
		api->status = NV_ERR_OBJECT_NOT_FOUND;
	else if (!may_dup(client, from, object))
		api->status = NV_ERR_INSUFFICIENT_PERMISSIONS;
	else
		api->status = object_add(driver, client, api->hParent,
					 &(struct exported){.class_id = object->class_id,
							    .gpu = object->gpu,
							    .size = object->size},
					 &api->hObject);
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

static int share(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 void *data)
{
	struct nvos57_parameters *api = data;
	struct client *client;
	struct object *object;

	(void)call;
	pthread_mutex_lock(&driver->lock);
	client = client_find(driver, api->hClient);
	object = client ? object_find(client, api->hObject) : NULL;
	if (!client || client->file != file_owner(file))
		api->status = NV_ERR_INVALID_CLIENT;
	else if (!object)
		api->status = NV_ERR_OBJECT_NOT_FOUND;
	else if (api->type >= RS_SHARE_TYPE_MAX)
		api->status = NV_ERR_INVALID_ARGUMENT;
	else
		api->status = NV_OK;
	if (!api->status)
		object->share = api->type;
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

static uint32_t read_lists(struct driver *driver, const struct sim_call *call,
			   const struct nvos30_parameters *api, uint32_t *channels)
{
	const uint64_t lists[] = {api->phClients, api->phDevices, api->phChannels};

	for (unsigned i = 0; i < 3; i++)
		if (user_read(driver, call->tid, lists[i], channels,
			      api->numChannels * sizeof(*channels)))
			return NV_ERR_INVALID_ADDRESS;
	return NV_OK;
}

static int idle_channels(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			 void *data)
{
	struct nvos30_parameters *api = data;
	uint32_t channels[MAX_IDLE_LIST] = {api->hChannel}, count = 1;
	struct client *client;

	api->status = NV_OK;
	if ((api->flags >> NVOS30_CHANNEL_SHIFT & NVOS30_CHANNEL_MASK) == NVOS30_CHANNEL_LIST) {
		count = api->numChannels;
		api->status = count > MAX_IDLE_LIST ? NV_ERR_INVALID_ARGUMENT
						    : read_lists(driver, call, api, channels);
	}
	pthread_mutex_lock(&driver->lock);
	client = client_find(driver, api->hClient);
	if (!client || client->file != file_owner(file))
		api->status = api->status ? api->status : NV_ERR_INVALID_CLIENT;
	for (uint32_t i = 0; !api->status && i < count; i++)
		if (!object_find(client, channels[i]))
			api->status = NV_ERR_OBJECT_NOT_FOUND;
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* No memory of a GPU is a NUMA node here. */
static int numa_info(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		     void *data)
{
	(void)driver;
	(void)file;
	(void)call;
	memset(data, 0, sizeof(struct numa_info));
	return -EBUSY;
}

static int wait_open_complete(struct driver *driver, struct sim_file *file,
			      const struct sim_call *call, void *data)
{
	(void)driver;
	(void)file;
	(void)call;
	memset(data, 0, sizeof(struct wait_open_complete));
	return 0;
}

enum { ANY_FILE, CTL_FILE, GPU_FILE };

static const struct {
	uint32_t number, size;
	int device;
	bool from_550;
	int (*run)(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		   void *data);
} escapes[] = {
    {NV_ESC_RM_DUP_OBJECT, sizeof(struct nvos55_parameters), CTL_FILE, false, dup_object},
    {NV_ESC_RM_SHARE, sizeof(struct nvos57_parameters), CTL_FILE, false, share},
    {NV_ESC_RM_IDLE_CHANNELS, sizeof(struct nvos30_parameters), CTL_FILE, false, idle_channels},
    {NV_ESC_RM_GET_EVENT_DATA, sizeof(struct nvos41_parameters), ANY_FILE, false, get_event_data},
    {NV_ESC_ALLOC_OS_EVENT, sizeof(struct os_event_parameters), ANY_FILE, false, alloc_event},
    {NV_ESC_FREE_OS_EVENT, sizeof(struct os_event_parameters), ANY_FILE, false, free_event},
    {NV_ESC_NUMA_INFO, sizeof(struct numa_info), GPU_FILE, false, numa_info},
    {NV_ESC_WAIT_OPEN_COMPLETE, sizeof(struct wait_open_complete), ANY_FILE, true,
     wait_open_complete},
};
enum { ESCAPES = sizeof(escapes) / sizeof(escapes[0]) };

bool escape_object_size(const struct release *release, uint32_t number, uint32_t size)
{
	for (unsigned i = 0; i < ESCAPES; i++)
		if (escapes[i].number == number)
			return escapes[i].size == size &&
			       (!escapes[i].from_550 || release->version.major >= 550);
	return false;
}

int escape_object(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		  uint32_t number, void *data, uint32_t size)
{
	for (unsigned i = 0; i < ESCAPES; i++) {
		if (escapes[i].number != number)
			continue;
		if (!escape_object_size(&driver->release, number, size) ||
		    (escapes[i].device == CTL_FILE && file->device != DEVICE_CTL) ||
		    (escapes[i].device == GPU_FILE && file->device != DEVICE_GPU))
			return -EINVAL;
		return escapes[i].run(driver, file, call, data);
	}
	return -ENOENT;
}
