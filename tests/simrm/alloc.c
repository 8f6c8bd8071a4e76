/* Clients and objects: NV_ESC_RM_ALLOC and NV_ESC_RM_FREE. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simrm/driver.h"
#include "tests/simrm/escapes.h"

struct nv_vaspace_parameters { /* FERMI_VASPACE_A: 56 bytes from 580 on */
	uint32_t index, flags;
	uint64_t vaSize, vaStartInternal, vaLimitInternal;
	uint32_t bigPageSize;
	uint64_t vaBase;
	uint32_t pasid;
};

/* The parameters of an allocation, copied in: the largest class that is looked at. */
union alloc_params {
	struct nv0080_alloc_parameters device;
	struct nv_memory_allocation_params memory;
	struct nva0bc_alloc_parameters nvenc;
	struct nva0bd_alloc_parameters nvfbc;
	struct nv0005_alloc_parameters event;
	struct nv_vaspace_parameters vaspace;
	struct {
		uint64_t offset, limit;
		uint32_t hVASpace;
	} virtual_memory;
	uint32_t handle;
	uint32_t subdevice;
	uint64_t rusd_mask;
};

struct alloc {
	struct driver *driver;
	struct client *client;
	struct pid_ns *ns; /* the caller's, where it is needed */
	uint32_t handle, parent, class_id;
	union alloc_params params;
};

static bool is_root(uint32_t class_id)
{
	return class_id == NV01_ROOT || class_id == NV01_ROOT_NON_PRIV ||
	       class_id == NV01_ROOT_CLIENT;
}

/* Classes by their last two digits, as NVIDIA numbers them in every architecture from Fermi on. */
static bool is_channel(uint32_t class_id)
{
	return class_id >= 0x506f && (class_id & 0xff) == 0x6f;
}

static bool is_engine(uint32_t class_id)
{
	switch (class_id & 0xff) {
	case 0xc0: /* compute */
	case 0x97: /* graphics */
	case 0x2d: /* two dimensions */
	case 0xb5: /* copy */
	case 0xb7: /* video encoder */
	case 0xb0: /* video decoder */
	case 0xd1: /* JPEG decoder */
	case 0xfa: /* optical flow */
		return class_id >= 0x9000;
	default:
		return false;
	}
}

/* The size of the class's parameters, as far as it is read. */
static size_t params_size(const struct release *release, uint32_t class_id)
{
	switch (class_id) {
	case NV01_DEVICE_0:
		return sizeof(struct nv0080_alloc_parameters);
	case NV20_SUBDEVICE_0:
		return sizeof(uint32_t);
	case NV01_MEMORY_LOCAL_USER:
	case NV01_MEMORY_SYSTEM:
		return release->memory_numa_node ? 128 : 120;
	case NVENC_SW_SESSION:
		return sizeof(struct nva0bc_alloc_parameters);
	case NVFBC_SW_SESSION:
		return sizeof(struct nva0bd_alloc_parameters);
	case RM_USER_SHARED_DATA:
		return release->rusd_params;
	case NV01_EVENT_OS_EVENT:
		return sizeof(struct nv0005_alloc_parameters);
	case NV01_MEMORY_VIRTUAL:
		return 24;
	case FERMI_VASPACE_A:
		return release->version.major >= 580 ? 56 : 48;
	default:
		return 0;
	}
}

static void link_client(struct driver *driver, struct client *client)
{
	struct client **bucket = &driver->bucket[client->handle % CLIENT_BUCKETS];

	client->bucket_next = *bucket;
	*bucket = client;
	client->previous = driver->last_client;
	if (driver->last_client)
		driver->last_client->next = client;
	else
		driver->first_client = client;
	driver->last_client = client;
}

static void unlink_client(struct driver *driver, struct client *client)
{
	struct client **link = &driver->bucket[client->handle % CLIENT_BUCKETS];

	while (*link != client)
		link = &(*link)->bucket_next;
	*link = client->bucket_next;
	*(client->previous ? &client->previous->next : &driver->first_client) = client->next;
	*(client->next ? &client->next->previous : &driver->last_client) = client->previous;
}

static uint32_t alloc_client(struct driver *driver, struct sim_file *file, const struct task *task,
			     uint32_t *handle)
{
	struct client *client;

	if (*handle && client_find(driver, *handle))
		return NV_ERR_INSERT_DUPLICATE_NAME;
	client = calloc(1, sizeof(*client));
	if (!client)
		return NV_ERR_NO_MEMORY;
	while (!*handle || client_find(driver, *handle))
		*handle = driver->next_client++;
	client->handle = *handle;
	client->file = file_owner(file);
	client->task = *task;
	client->proc_id = (uint32_t)task->tgid;
	if (driver->release.get_pids != SPACE_GLOBAL)
		client->os_pid = task_pid_get(&driver->tasks, task, driver->release.kind);
	link_client(driver, client);
	return NV_OK;
}

static uint32_t object_kind(const struct alloc *alloc, const struct object *parent,
			    enum object_kind *kind)
{
	uint32_t class_id = alloc->class_id;

	if (class_id == NV01_DEVICE_0) {
		*kind = OBJECT_DEVICE;
		return parent ? NV_ERR_INVALID_OBJECT_PARENT : NV_OK;
	}
	if (class_id == MPS_COMPUTE) {
		*kind = OBJECT_MPS;
		return parent ? NV_ERR_INVALID_OBJECT_PARENT : NV_OK;
	}
	if (class_id == FECS_EVENT_BUFFER || class_id == NV01_EVENT_OS_EVENT) {
		*kind = class_id == FECS_EVENT_BUFFER ? OBJECT_EVENT_BUFFER : OBJECT_EVENT;
		return NV_OK;
	}
	if (!parent)
		return NV_ERR_INVALID_OBJECT_PARENT;
	switch (class_id) {
	case NV20_SUBDEVICE_0:
		*kind = OBJECT_SUBDEVICE;
		return parent->kind == OBJECT_DEVICE ? NV_OK : NV_ERR_INVALID_OBJECT_PARENT;
	case NV01_MEMORY_LOCAL_USER:
		*kind = OBJECT_MEMORY;
		return NV_OK;
	case NVENC_SW_SESSION:
		*kind = OBJECT_NVENC;
		return parent->kind == OBJECT_SUBDEVICE ? NV_OK : NV_ERR_INVALID_OBJECT_PARENT;
	case NVFBC_SW_SESSION:
		*kind = OBJECT_NVFBC;
		return parent->kind == OBJECT_SUBDEVICE ? NV_OK : NV_ERR_INVALID_OBJECT_PARENT;
	case NV01_MEMORY_SYSTEM:
	case NV01_MEMORY_VIRTUAL:
	case FERMI_VASPACE_A:
	case KEPLER_CHANNEL_GROUP_A:
		*kind = OBJECT_OTHER;
		return NV_OK;
	case RM_USER_SHARED_DATA:
		*kind = OBJECT_RUSD;
		if (!alloc->driver->release.rusd_params)
			return NV_ERR_INVALID_CLASS;
		return parent->kind == OBJECT_SUBDEVICE ? NV_OK : NV_ERR_INVALID_OBJECT_PARENT;
	default:
		break;
	}
	if (is_channel(class_id)) {
		*kind = OBJECT_CHANNEL;
		return NV_OK;
	}
	if (is_engine(class_id)) {
		*kind = OBJECT_ENGINE;
		return parent->kind == OBJECT_CHANNEL ? NV_OK : NV_ERR_INVALID_OBJECT_PARENT;
	}
	return NV_ERR_INVALID_CLASS;
}

static void fill_session(struct alloc *alloc, struct object *object)
{
	object->session[0] = alloc->driver->next_session++;
	if (object->kind == OBJECT_NVENC) {
		object->session[1] = alloc->params.nvenc.codecType;
		object->session[2] = alloc->params.nvenc.hResolution;
		object->session[3] = alloc->params.nvenc.vResolution;
	} else {
		object->session[1] = alloc->params.nvfbc.sessionType;
		object->session[2] = alloc->params.nvfbc.displayOrdinal;
		object->session[3] = alloc->params.nvfbc.sessionFlags;
		object->session[4] = alloc->params.nvfbc.hMaxResolution;
		object->session[5] = alloc->params.nvfbc.vMaxResolution;
	}
}

/* What the driver chooses, told back in the parameters. */
static void fill_params(struct alloc *alloc)
{
	if (alloc->class_id == FERMI_VASPACE_A)
		alloc->params.vaspace.vaSize = (uint64_t)1 << 47;
	else if (alloc->class_id == NV01_MEMORY_VIRTUAL)
		alloc->params.virtual_memory.limit = ((uint64_t)1 << 47) - 1;
}

static void object_allocated(struct alloc *alloc, struct object *object)
{
	switch (object->kind) {
	case OBJECT_DEVICE:
		acct_device_allocated(alloc->driver, alloc->client, object->gpu);
		break;
	case OBJECT_CHANNEL:
		acct_channel_allocated(alloc->driver, alloc->client, object->gpu);
		break;
	case OBJECT_MEMORY:
		acct_memory_allocated(alloc->driver, alloc->client, object->gpu, alloc->ns);
		break;
	case OBJECT_NVENC:
	case OBJECT_NVFBC:
		fill_session(alloc, object);
		break;
	default:
		fill_params(alloc);
		break;
	}
}

/* An event is found by its client and by the fd number that the client's process gave. */
static bool has_os_event(const struct driver *driver, uint32_t client, uint32_t fd)
{
	const struct os_event *event = driver->events;

	while (event && (event->client != client || event->fd != fd))
		event = event->next;
	return event != NULL;
}

static void append(struct client *client, struct object *object)
{
	struct object **link = &client->objects;

	while (*link)
		link = &(*link)->next;
	*link = object;
}

uint32_t object_add(struct driver *driver, struct client *client, uint32_t parent,
		    const struct exported *like, uint32_t *handle)
{
	struct object *object;

	if (parent != client->handle && !object_find(client, parent))
		return NV_ERR_OBJECT_NOT_FOUND;
	if (*handle && (*handle == client->handle || object_find(client, *handle)))
		return NV_ERR_INSERT_DUPLICATE_NAME;
	object = calloc(1, sizeof(*object));
	if (!object)
		return NV_ERR_NO_MEMORY;
	while (!*handle || object_find(client, *handle))
		*handle = driver->next_object++;
	*object = (struct object){.handle = *handle,
				  .parent = parent,
				  .class_id = like->class_id,
				  .kind = like->class_id == NV01_MEMORY_LOCAL_USER ? OBJECT_MEMORY
										   : OBJECT_OTHER,
				  .gpu = like->gpu,
				  .size = like->size};
	append(client, object);
	return NV_OK;
}

static uint32_t alloc_object(struct alloc *alloc)
{
	struct driver *driver = alloc->driver;
	struct client *client = alloc->client;
	const struct object *parent = NULL;
	struct object *object;
	enum object_kind kind;
	uint32_t status;

	if (alloc->parent != client->handle) {
		parent = object_find(client, alloc->parent);
		if (!parent)
			return NV_ERR_OBJECT_NOT_FOUND;
	}
	status = object_kind(alloc, parent, &kind);
	if (status)
		return status;
	if (kind == OBJECT_DEVICE && (alloc->params.device.deviceId >= driver->gpus ||
				      client_device(client, (int)alloc->params.device.deviceId)))
		return alloc->params.device.deviceId < driver->gpus ? NV_ERR_INVALID_ARGUMENT
								    : NV_ERR_INVALID_DEVICE;
	if (kind == OBJECT_EVENT &&
	    !has_os_event(driver, client->handle, (uint32_t)alloc->params.event.data))
		return NV_ERR_OBJECT_NOT_FOUND;
	if (alloc->handle == client->handle ||
	    (alloc->handle && object_find(client, alloc->handle)))
		return NV_ERR_INSERT_DUPLICATE_NAME;
	object = calloc(1, sizeof(*object));
	if (!object)
		return NV_ERR_NO_MEMORY;
	while (!alloc->handle || object_find(client, alloc->handle))
		alloc->handle = driver->next_object++;
	object->handle = alloc->handle;
	object->parent = alloc->parent;
	object->class_id = alloc->class_id;
	object->kind = kind;
	object->gpu = kind == OBJECT_DEVICE ? (int)alloc->params.device.deviceId
					    : (parent ? parent->gpu : -1);
	object->size = kind == OBJECT_MEMORY || object->class_id == NV01_MEMORY_SYSTEM
			   ? alloc->params.memory.size
			   : 0;
	append(client, object);
	object_allocated(alloc, object);
	return NV_OK;
}

/* Frees OBJECT and all below it. */
static void free_object(struct driver *driver, struct client *client, uint32_t handle)
{
	struct object **link = &client->objects, *object;

	for (object = client->objects; object;) {
		if (object->parent == handle) {
			free_object(driver, client, object->handle);
			object = client->objects;
		} else {
			object = object->next;
		}
	}
	while ((object = *link)->handle != handle)
		link = &object->next;
	*link = object->next;
	for (struct mapping **at = &client->mappings; *at;) {
		struct mapping *mapping = *at;

		if (mapping->memory != handle) {
			at = &mapping->next;
			continue;
		}
		*at = mapping->next;
		free(mapping);
	}
	if (object->kind == OBJECT_DEVICE)
		acct_device_freed(driver, client, object->gpu);
	free(object);
}

void client_free(struct driver *driver, struct client *client)
{
	while (client->objects)
		free_object(driver, client, client->objects->handle);
	while (client->mappings) {
		struct mapping *mapping = client->mappings;

		client->mappings = mapping->next;
		free(mapping);
	}
	unlink_client(driver, client);
	sim_pid_put(&driver->tasks, client->os_pid);
	free(client);
}

uint32_t object_remove(struct driver *driver, struct client *client, uint32_t handle)
{
	if (!object_find(client, handle))
		return NV_ERR_OBJECT_NOT_FOUND;
	free_object(driver, client, handle);
	return NV_OK;
}

/* Copies the class's parameters in, and the handle or the size that is told back out. */
static uint32_t copy_params_in(struct driver *driver, const struct sim_call *call, uint64_t address,
			       struct alloc *alloc)
{
	size_t size = params_size(&driver->release, alloc->class_id);

	if (!size || (!address && alloc->class_id == NV20_SUBDEVICE_0))
		return NV_OK;
	if (!address)
		return NV_ERR_INVALID_ARGUMENT;
	return user_read(driver, call->tid, address, &alloc->params, size) ? NV_ERR_INVALID_ADDRESS
									   : NV_OK;
}

static uint32_t copy_params_out(struct driver *driver, const struct sim_call *call,
				uint64_t address, struct alloc *alloc)
{
	size_t size = params_size(&driver->release, alloc->class_id);

	if (!address || !size)
		return NV_OK;
	return user_write(driver, call->tid, address, &alloc->params, size) ? NV_ERR_INVALID_ADDRESS
									    : NV_OK;
}

static uint32_t alloc_root(struct driver *driver, struct sim_file *file,
			   const struct sim_call *call, uint64_t address, uint32_t *handle)
{
	struct task task;
	uint32_t status;

	if (task_look(&driver->tasks, call->tid, &task))
		return NV_ERR_INVALID_ADDRESS;
	pthread_mutex_lock(&driver->lock);
	status = alloc_client(driver, file, &task, handle);
	pthread_mutex_unlock(&driver->lock);
	if (!status && address && user_write(driver, call->tid, address, handle, sizeof(*handle)))
		status = NV_ERR_INVALID_ADDRESS;
	return status;
}

static uint32_t alloc_below(struct driver *driver, struct sim_file *file,
			    const struct sim_call *call, uint64_t address, uint32_t root,
			    struct alloc *alloc)
{
	uint32_t status = copy_params_in(driver, call, address, alloc);

	if (status)
		return status;
	alloc->ns = alloc->class_id == NV01_MEMORY_LOCAL_USER
			? task_ns_get(&driver->tasks, call->tid)
			: NULL;
	pthread_mutex_lock(&driver->lock);
	alloc->client = client_find(driver, root);
	if (alloc->client && alloc->client->file == file_owner(file))
		status = alloc_object(alloc);
	else
		status = NV_ERR_INVALID_CLIENT;
	pthread_mutex_unlock(&driver->lock);
	pid_ns_put(&driver->tasks, alloc->ns);
	return status ? status : copy_params_out(driver, call, address, alloc);
}

uint32_t alloc_class(struct driver *driver, const struct sim_call *call, const void *data)
{
	const struct nvos64_parameters *api = data;
	struct nv0005_alloc_parameters params;

	if (api->hClass != NV01_EVENT ||
	    user_read(driver, call->tid, api->pAllocParms, &params, sizeof(params)))
		return api->hClass;
	return params.hClass;
}

int escape_alloc(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 void *data, uint32_t size)
{
	const struct release *release = &driver->release;
	struct nvos64_parameters *api = data;
	uint32_t *words = data, *status;
	struct alloc alloc = {.driver = driver};
	uint32_t rights;

	/* What stands behind the pointers: paramsSize, flags, status, as far as the release has. */
	if (size == sizeof(struct nvos21_parameters))
		status = &words[release->alloc_params_size ? 7 : 6];
	else if (size == (release->alloc_params_size ? 48 : 40))
		status = &words[8 + release->alloc_params_size + release->alloc_flags];
	else
		return -EINVAL;
	alloc.class_id = alloc_class(driver, call, data);
	if (file->device != DEVICE_CTL && alloc.class_id != NV01_EVENT_OS_EVENT)
		return -EINVAL;
	if (size != sizeof(struct nvos21_parameters) && api->pRightsRequested &&
	    user_read(driver, call->tid, api->pRightsRequested, &rights, sizeof(rights))) {
		*status = NV_ERR_INVALID_ADDRESS;
		return 0;
	}
	alloc.handle = api->hObjectNew;
	alloc.parent = api->hObjectParent;
	if (is_root(api->hClass)) {
		api->hClass = NV01_ROOT_CLIENT;
		*status = alloc_root(driver, file, call, api->pAllocParms, &api->hObjectNew);
		return 0;
	}
	*status = alloc_below(driver, file, call, api->pAllocParms, api->hRoot, &alloc);
	if (!*status)
		api->hObjectNew = alloc.handle;
	return 0;
}

int escape_free(struct driver *driver, struct sim_file *file, void *data, uint32_t size)
{
	struct nvos00_parameters *api = data;
	struct client *client;

	if (size != sizeof(*api) || file->device != DEVICE_CTL)
		return -EINVAL;
	pthread_mutex_lock(&driver->lock);
	client = client_find(driver, api->hRoot);
	api->status = NV_OK;
	if (!client || client->file != file_owner(file))
		api->status = NV_ERR_INVALID_CLIENT;
	else if (api->hObjectOld != client->handle)
		api->status = object_remove(driver, client, api->hObjectOld);
	else
		client_free(driver, client);
	if (!api->status && api->hObjectOld == api->hRoot)
		events_end(driver, NULL, api->hRoot);
	pthread_mutex_unlock(&driver->lock);
	return 0;
}
