/* Escapes on memory: allocation beside RM_ALLOC, and mappings for the CPU and the GPU. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simrm/driver.h"
#include "tests/simrm/escapes.h"

enum { PAGE = 4096, DMA_BASE = 0x200000000 >> 12 };

/* The caller's client, where it belongs to FILE, or NULL. */
static struct client *own_client(struct driver *driver, struct sim_file *file, uint32_t handle)
{
	struct client *client = client_find(driver, handle);

	return client && client->file == file_owner(file) ? client : NULL;
}

static pid_t caller_tgid(struct driver *driver, const struct sim_call *call)
{
	struct task task;

	return task_look(&driver->tasks, call->tid, &task) ? 0 : task.tgid;
}

/* What rm_create_mmap_context() checks: the client's own process, and a file of the right device
 * that has no context yet. */
static uint32_t set_context(struct client *client, struct sim_file *file,
			    const struct object *object, pid_t tgid, uint64_t address,
			    uint64_t size)
{
	bool video = object->class_id == NV01_MEMORY_LOCAL_USER;

	if (client->proc_id != (uint32_t)tgid)
		return NV_ERR_INVALID_CLIENT;
	if (!file || file->device != (video ? DEVICE_GPU : DEVICE_CTL) ||
	    (video && (int)file->minor != object->gpu))
		return NV_ERR_INVALID_ARGUMENT;
	if (file->mmap_context.size)
		return NV_ERR_STATE_IN_USE;
	file->mmap_context.client = client->handle;
	file->mmap_context.memory = object->handle;
	file->mmap_context.address = address;
	file->mmap_context.size = size;
	file->mmap_context.tgid = tgid;
	return NV_OK;
}

static uint32_t map_locked(struct driver *driver, struct sim_file *file, struct sim_file *target,
			   struct nvos33_with_fd *api, pid_t tgid)
{
	struct client *client = own_client(driver, file, api->hClient);
	const struct object *object = client ? object_find(client, api->hMemory) : NULL;
	struct mapping *mapping;
	uint32_t status;

	if (!client)
		return NV_ERR_INVALID_CLIENT;
	if (!object)
		return NV_ERR_OBJECT_NOT_FOUND;
	if (!api->length || api->offset + api->length < api->offset ||
	    api->offset + api->length > object->size)
		return NV_ERR_INVALID_LIMIT;
	api->pLinearAddress = driver->next_address + api->offset;
	status = set_context(client, target, object, tgid, api->pLinearAddress, api->length);
	if (status)
		return status;
	mapping = calloc(1, sizeof(*mapping));
	if (!mapping)
		return NV_ERR_NO_MEMORY;
	*mapping = (struct mapping){.memory = api->hMemory,
				    .address = api->pLinearAddress,
				    .size = api->length,
				    .tgid = tgid,
				    .next = client->mappings};
	client->mappings = mapping;
	driver->next_address += (object->size + PAGE - 1) / PAGE * PAGE;
	return NV_OK;
}

static int map_memory(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		      void *data)
{
	struct nvos33_with_fd *api = data;
	const void *asked = file_ask(driver, call, api->fd);
	pid_t tgid = caller_tgid(driver, call);

	pthread_mutex_lock(&driver->lock);
	api->status = map_locked(driver, file, file_asked(driver, asked), api, tgid);
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* Only mappings of the calling process are found. */
static int unmap_memory(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			void *data)
{
	struct nvos34_parameters *api = data;
	pid_t tgid = caller_tgid(driver, call);
	struct client *client;
	struct mapping **link;

	pthread_mutex_lock(&driver->lock);
	client = own_client(driver, file, api->hClient);
	api->status = client ? NV_ERR_OBJECT_NOT_FOUND : NV_ERR_INVALID_CLIENT;
	for (link = client ? &client->mappings : NULL; link && *link; link = &(*link)->next) {
		struct mapping *mapping = *link;

		if (mapping->memory != api->hMemory || mapping->address != api->pLinearAddress ||
		    mapping->tgid != tgid)
			continue;
		*link = mapping->next;
		free(mapping);
		api->status = NV_OK;
		break;
	}
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* Pins pages of the caller: each must be there, the first tells whose they are. */
static uint32_t pin(struct driver *driver, const struct sim_call *call, uint64_t address,
		    uint64_t limit, uint64_t *first)
{
	char byte;

	if (address % PAGE)
		return NV_ERR_NOT_SUPPORTED;
	if (limit + 1 == 0)
		return NV_ERR_INVALID_LIMIT;
	if (user_read(driver, call->tid, address, first, sizeof(*first)))
		return NV_ERR_INVALID_ADDRESS;
	for (uint64_t at = 0; at <= limit && at < (uint64_t)1 << 24; at += PAGE)
		if (user_read(driver, call->tid, address + at, &byte, 1))
			return NV_ERR_INVALID_ADDRESS;
	return NV_OK;
}

static uint32_t add_pinned(struct driver *driver, struct sim_file *file, uint32_t root,
			   uint32_t parent, uint32_t *handle, uint64_t address, uint64_t limit,
			   uint64_t first, pid_t tgid)
{
	struct client *client = own_client(driver, file, root);
	struct object *object;
	uint32_t status;

	if (!client)
		return NV_ERR_INVALID_CLIENT;
	status = object_add(driver, client, parent,
			    &(struct exported){.class_id = NV01_MEMORY_SYSTEM_OS_DESCRIPTOR,
					       .gpu = -1,
					       .size = limit + 1},
			    handle);
	if (status)
		return status;
	object = object_find(client, *handle);
	object->pinned.tgid = tgid;
	object->pinned.address = address;
	object->pinned.first = first;
	return NV_OK;
}

static uint32_t os_descriptor(struct driver *driver, struct sim_file *file,
			      const struct sim_call *call, struct nvos02_with_fd *api)
{
	uint32_t coherency = api->flags >> NVOS02_COHERENCY_SHIFT & NVOS02_COHERENCY_MASK;
	pid_t tgid = caller_tgid(driver, call);
	uint64_t first = 0;
	uint32_t status;

	if ((api->flags >> NVOS02_LOCATION_SHIFT & NVOS02_LOCATION_MASK) ||
	    api->flags >> NVOS02_MAPPING_SHIFT != NVOS02_MAPPING_NO_MAP ||
	    (coherency != NVOS02_COHERENCY_CACHED && coherency != NVOS02_COHERENCY_WRITE_BACK &&
	     coherency != NVOS02_COHERENCY_UNCACHED))
		return NV_ERR_INVALID_FLAGS;
	status = pin(driver, call, api->pMemory, api->limit, &first);
	if (status)
		return status;
	pthread_mutex_lock(&driver->lock);
	status = add_pinned(driver, file, api->hRoot, api->hObjectParent, &api->hObjectNew,
			    api->pMemory, api->limit, first, tgid);
	pthread_mutex_unlock(&driver->lock);
	return status;
}

/* Memory of the system, which may be mapped at once. */
static int system_memory(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			 struct nvos02_with_fd *api)
{
	bool map = (api->flags & NVOS02_ALLOC_MASK) != NVOS02_ALLOC_NONE &&
		   api->flags >> NVOS02_MAPPING_SHIFT != NVOS02_MAPPING_NO_MAP;
	const void *asked = map ? file_ask(driver, call, api->fd) : NULL;
	pid_t tgid = caller_tgid(driver, call);
	struct client *client;
	int err = 0;

	pthread_mutex_lock(&driver->lock);
	client = own_client(driver, file, api->hRoot);
	api->status = !client ? NV_ERR_INVALID_CLIENT
			      : object_add(driver, client, api->hObjectParent,
					   &(struct exported){.class_id = NV01_MEMORY_SYSTEM,
							      .gpu = -1,
							      .size = api->limit + 1},
					   &api->hObjectNew);
	if (!api->status && map) {
		api->pMemory = driver->next_address;
		driver->next_address += (api->limit + PAGE) / PAGE * PAGE;
		if (set_context(client, file_asked(driver, asked),
				object_find(client, api->hObjectNew), tgid, api->pMemory,
				api->limit + 1))
			err = -EINVAL;
	}
	pthread_mutex_unlock(&driver->lock);
	return err;
}

static int alloc_memory(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			void *data)
{
	struct nvos02_with_fd *api = data;

	if (api->hClass == NV01_MEMORY_SYSTEM)
		return system_memory(driver, file, call, api);
	api->status = api->hClass == NV01_MEMORY_SYSTEM_OS_DESCRIPTOR
			  ? os_descriptor(driver, file, call, api)
			  : NV_ERR_INVALID_CLASS;
	return 0;
}

static uint32_t heap_alloc(struct driver *driver, struct client *client,
			   struct nvos32_parameters *api)
{
	const struct object *parent = object_find(client, api->hObjectParent);

	return object_add(driver, client, api->hObjectParent,
			  &(struct exported){.class_id = NV01_MEMORY_LOCAL_USER,
					     .gpu = parent ? parent->gpu : -1,
					     .size = api->data.alloc_size.size},
			  &api->data.alloc_size.hMemory);
}

static uint32_t heap_locked(struct driver *driver, struct sim_file *file,
			    struct nvos32_parameters *api)
{
	struct client *client = own_client(driver, file, api->hRoot);

	if (!client)
		return NV_ERR_INVALID_CLIENT;
	switch (api->function) {
	case NVOS32_ALLOC_SIZE:
		return heap_alloc(driver, client, api);
	case NVOS32_FREE:
		return object_remove(driver, client, api->data.free_memory.hMemory);
	case NVOS32_INFO:
		api->total = driver->gpu[0].memory;
		api->free = api->data.info.size = driver->gpu[0].memory / 2;
		api->data.info.offset = api->data.info.base = 0;
		return NV_OK;
	case NVOS32_GET_MEM_ALIGNMENT:
		api->data.alignment.alignMask = PAGE - 1;
		return NV_OK;
	default:
		return NV_ERR_INVALID_ARGUMENT;
	}
}

static int heap_control(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			void *data)
{
	struct nvos32_parameters *api = data;
	pid_t tgid = caller_tgid(driver, call);
	bool pins = api->function == NVOS32_ALLOC_OS_DESCRIPTOR;
	uint64_t first = 0;

	api->status = NV_OK;
	if (pins)
		api->status = pin(driver, call, api->data.os_descriptor.descriptor,
				  api->data.os_descriptor.limit, &first);
	if (api->status)
		return 0;
	pthread_mutex_lock(&driver->lock);
	api->status =
	    pins ? add_pinned(driver, file, api->hRoot, api->hObjectParent,
			      &api->data.os_descriptor.hMemory, api->data.os_descriptor.descriptor,
			      api->data.os_descriptor.limit, first, tgid)
		 : heap_locked(driver, file, api);
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

static int alloc_context_dma(struct driver *driver, struct sim_file *file,
			     const struct sim_call *call, void *data)
{
	struct nvos39_parameters *api = data;
	struct client *client;

	(void)call;
	pthread_mutex_lock(&driver->lock);
	client = own_client(driver, file, api->hObjectParent);
	if (!client)
		api->status = NV_ERR_INVALID_CLIENT;
	else if (!object_find(client, api->hMemory))
		api->status = NV_ERR_OBJECT_NOT_FOUND;
	else if (api->hClass != NV01_CONTEXT_DMA)
		api->status = NV_ERR_INVALID_CLASS;
	else
		api->status =
		    object_add(driver, client, client->handle,
			       &(struct exported){
				   .class_id = NV01_CONTEXT_DMA, .gpu = -1, .size = api->limit + 1},
			       &api->hObjectNew);
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

static uint32_t check_dma(struct driver *driver, struct sim_file *file, const uint32_t handles[4])
{
	struct client *client = own_client(driver, file, handles[0]);

	if (!client)
		return NV_ERR_INVALID_CLIENT;
	for (unsigned i = 1; i < 4; i++)
		if (!object_find(client, handles[i]))
			return NV_ERR_OBJECT_NOT_FOUND;
	return NV_OK;
}

/* The GPU's page tables are nobody's business here: a mapping is an address. */
static int map_dma(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		   void *data)
{
	bool flags2 = driver->release.version.major >= 580;
	uint64_t *offset = flags2 ? &((struct nvos46_parameters *)data)->dmaOffset
				  : &((struct nvos46_parameters_550 *)data)->dmaOffset;
	uint32_t *status = flags2 ? &((struct nvos46_parameters *)data)->status
				  : &((struct nvos46_parameters_550 *)data)->status;

	(void)call;
	pthread_mutex_lock(&driver->lock);
	*status = check_dma(driver, file, data);
	if (!*status)
		*offset = (uint64_t)DMA_BASE << 12;
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

static int unmap_dma(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		     void *data)
{
	uint32_t *status = driver->release.version.major >= 550
			       ? &((struct nvos47_parameters *)data)->status
			       : &((struct nvos47_parameters_535 *)data)->status;

	(void)call;
	pthread_mutex_lock(&driver->lock);
	*status = check_dma(driver, file, data);
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* A mapping that was moved by mremap(): told by its process only. */
static int update_mapping(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			  void *data)
{
	struct nvos56_parameters *api = data;
	pid_t tgid = caller_tgid(driver, call);
	struct client *client;

	pthread_mutex_lock(&driver->lock);
	client = own_client(driver, file, api->hClient);
	api->status = client ? NV_ERR_OBJECT_NOT_FOUND : NV_ERR_INVALID_CLIENT;
	for (struct mapping *at = client ? client->mappings : NULL; at; at = at->next) {
		if (at->memory != api->hMemory || at->address != api->pOldCpuAddress ||
		    at->tgid != tgid)
			continue;
		at->address = api->pNewCpuAddress;
		api->status = NV_OK;
	}
	pthread_mutex_unlock(&driver->lock);
	return 0;
}

/* A dma-buf would be a new fd in the caller's table, which nothing outside a kernel can give it:
 * this GPU cannot export any. */
static int export_dmabuf(struct driver *driver, struct sim_file *file, const struct sim_call *call,
			 void *data)
{
	(void)file;
	(void)call;
	*(uint32_t *)((unsigned char *)data +
		      (driver->release.version.major >= 570 ? 2600 : 2592)) = NV_ERR_NOT_SUPPORTED;
	return 0;
}

static uint32_t size_of(const struct release *release, uint32_t number)
{
	switch (number) {
	case NV_ESC_RM_ALLOC_MEMORY:
		return sizeof(struct nvos02_with_fd);
	case NV_ESC_RM_MAP_MEMORY:
		return sizeof(struct nvos33_with_fd);
	case NV_ESC_RM_UNMAP_MEMORY:
		return sizeof(struct nvos34_parameters);
	case NV_ESC_RM_VID_HEAP_CONTROL:
		return sizeof(struct nvos32_parameters);
	case NV_ESC_RM_ALLOC_CONTEXT_DMA2:
		return sizeof(struct nvos39_parameters);
	case NV_ESC_RM_MAP_MEMORY_DMA:
		return release->version.major >= 580 ? sizeof(struct nvos46_parameters)
						     : sizeof(struct nvos46_parameters_550);
	case NV_ESC_RM_UNMAP_MEMORY_DMA:
		return release->version.major >= 550 ? sizeof(struct nvos47_parameters)
						     : sizeof(struct nvos47_parameters_535);
	case NV_ESC_RM_UPDATE_DEVICE_MAPPING_INFO:
		return sizeof(struct nvos56_parameters);
	case NV_ESC_EXPORT_TO_DMABUF_FD:
		return release->version.major >= 570 ? 2608 : 2600;
	default:
		return 0;
	}
}

bool escape_memory_size(const struct release *release, uint32_t number, uint32_t size)
{
	return size && size_of(release, number) == size;
}

static const struct {
	uint32_t number;
	enum sim_device device;
	int (*run)(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		   void *data);
} escapes[] = {
    {NV_ESC_RM_ALLOC_MEMORY, DEVICE_GPU, alloc_memory},
    {NV_ESC_RM_MAP_MEMORY, DEVICE_CTL, map_memory},
    {NV_ESC_RM_UNMAP_MEMORY, DEVICE_CTL, unmap_memory},
    {NV_ESC_RM_VID_HEAP_CONTROL, DEVICE_CTL, heap_control},
    {NV_ESC_RM_ALLOC_CONTEXT_DMA2, DEVICE_CTL, alloc_context_dma},
    {NV_ESC_RM_MAP_MEMORY_DMA, DEVICE_CTL, map_dma},
    {NV_ESC_RM_UNMAP_MEMORY_DMA, DEVICE_CTL, unmap_dma},
    {NV_ESC_RM_UPDATE_DEVICE_MAPPING_INFO, DEVICE_CTL, update_mapping},
    {NV_ESC_EXPORT_TO_DMABUF_FD, DEVICE_GPU, export_dmabuf},
};

int escape_memory(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		  uint32_t number, void *data, uint32_t size)
{
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
		if (escapes[i].number != number)
			continue;
		if (!escape_memory_size(&driver->release, number, size) ||
		    file->device != escapes[i].device)
			return -EINVAL;
		return escapes[i].run(driver, file, call, data);
	}
	return -ENOENT;
}
