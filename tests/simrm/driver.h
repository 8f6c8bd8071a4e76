/* The simulated resource manager, apart from any front end: devices opened, ioctls served with the
 * caller's memory read and written by process_vm_readv/writev, clients and their objects. One lock
 * guards the state; it is never held while a caller's memory is touched or a call is made to wait.
 */
#ifndef SIMRM_DRIVER_H
#define SIMRM_DRIVER_H

#include <pthread.h>
#include <stdio.h>

#include "base/error.h"
#include "examples/rm.h"
#include "tests/simrm/arrivals.h"
#include "tests/simrm/fault.h"
#include "tests/simrm/identify.h"
#include "tests/simrm/release.h"
#include "tests/simrm/task.h"

enum { SIM_GPUS = 32, ENGINES = 6, CLIENT_BUCKETS = 1024, XID_REPORTS = 64 };

/* The order of the engines in a utilisation sample. */
enum engine { ENGINE_FB, ENGINE_GR, ENGINE_NVENC, ENGINE_NVDEC, ENGINE_NVJPG, ENGINE_NVOFA };

enum sim_device { DEVICE_CTL, DEVICE_GPU, DEVICE_UVM };
enum { SIM_CTL_MINOR = 255 };

struct driver;
struct client;

/* An object that was exported to a file: it outlives the client that had it. */
struct exported {
	uint32_t class_id; /* 0: none */
	int gpu;
	uint64_t size;
};

enum { EXPORT_METADATA = 64 };

/* An open file of a device: what the driver keeps as nv_file_private_t. */
struct sim_file {
	enum sim_device device;
	unsigned minor;
	unsigned refs;	      /* the open file itself, and each file registered to it */
	struct sim_file *ctl; /* by NV_ESC_REGISTER_FD: clients belong to that file instead */
	bool gpus_attached;
	struct { /* what mmap() of the file would map, by NV_ESC_RM_MAP_MEMORY; size 0: nothing */
		uint32_t client, memory;
		uint64_t address, size;
		pid_t tgid;
	} mmap_context;
	struct exported *exported;
	unsigned max_exported;
	int exported_gpu; /* device instance, -1 for none */
	unsigned char export_metadata[EXPORT_METADATA];
	struct { /* of nvidia-uvm */
		bool initialized;
		uint64_t flags;
		pid_t tgid; /* stands for its mm */
	} uvm;
	struct sim_file *next;
};

enum object_kind {
	OBJECT_CLIENT, /* the client itself */
	OBJECT_DEVICE,
	OBJECT_SUBDEVICE,
	OBJECT_MEMORY,
	OBJECT_CHANNEL,
	OBJECT_ENGINE, /* a channel descendant: compute, graphics, copy, ... */
	OBJECT_MPS,
	OBJECT_NVENC,
	OBJECT_NVFBC,
	OBJECT_RUSD,	     /* RM_USER_SHARED_DATA */
	OBJECT_EVENT_BUFFER, /* NV_EVENT_BUFFER */
	OBJECT_EVENT,	     /* NV01_EVENT_OS_EVENT */
	OBJECT_OTHER,
};

struct object {
	uint32_t handle, parent, class_id;
	enum object_kind kind;
	int gpu; /* index, -1 for none */
	uint64_t size;
	uint32_t session[8]; /* OBJECT_NVENC, OBJECT_NVFBC: as the lists show it, from sessionId */
	uint32_t share;	     /* RS_SHARE_TYPE_* by NV_ESC_RM_SHARE; 0: the default, by process */
	struct {	     /* memory of a process, pinned by an OS descriptor */
		pid_t tgid;
		uint64_t address, first; /* the first 8 bytes there */
	} pinned;
	struct object *next;
};

/* Memory mapped for the CPU of the process that asked. */
struct mapping {
	uint32_t memory;
	uint64_t address, size;
	pid_t tgid;
	struct mapping *next;
};

/* NV_ESC_ALLOC_OS_EVENT: known by client and fd number, gone with the file that it came on. */
struct os_event {
	uint32_t client, fd;
	const struct sim_file *file;
	struct os_event *next;
};

struct client {
	uint32_t handle;
	struct sim_file *file;
	struct task task;	/* the thread that allocated it, as it was then */
	uint32_t proc_id;	/* ProcID: the global process id */
	struct sim_pid *os_pid; /* pOsPidInfo, NULL in releases without one */
	uint32_t sub_process_id;
	uint32_t util[ENGINES]; /* per cent, what the process is simulated to do */
	struct object *objects;
	struct mapping *mappings;
	struct client *previous, *next; /* in order of allocation */
	struct client *bucket_next;
};

/* GPU accounting: a process that lives or has ended. */
struct acct_entry {
	uint32_t proc_id;
	bool on_gpu;		/* procType GPU, not CPU */
	struct sim_pid *os_pid; /* of the first client, while it lives; NULL where none is kept */
	unsigned refs;		/* devices that the process has */
	uint32_t gpu_util, fb_util;
	uint64_t max_fb_usage, start_time, end_time;
	struct acct_entry *next;
};

struct acct_list {
	struct acct_entry *head;
	unsigned count;
};

/* A session without a client, by command. */
struct injected_session {
	enum object_kind kind; /* OBJECT_NVENC or OBJECT_NVFBC */
	uint32_t proc_id, session[8];
	struct injected_session *next;
};

struct util_sample {
	uint64_t timestamp; /* us; 0: empty */
	struct {
		uint32_t util, proc_id, sub_process_id;
		struct sim_pid *os_pid;
	} engine[ENGINES];
};

enum { UTIL_RING = 100 };

struct gpu {
	uint32_t gpu_id;
	uint64_t memory;
	bool accounting;
	struct acct_list live, dead;
	struct util_sample ring[UTIL_RING];
	unsigned ring_next, ring_turn;
	uint64_t ring_time;
	struct injected_session *sessions;
};

/* A complete RC error report of the journal. */
struct xid_report {
	uint32_t proc_id, code, gpu_id, time;
};

struct driver {
	struct release release;
	struct tasks tasks;
	struct faults faults;
	struct identifier identifier;
	struct arrivals arrivals;
	pthread_mutex_t lock;
	struct gpu gpu[SIM_GPUS];
	unsigned gpus;
	struct sim_file *files;
	struct client *first_client, *last_client;
	struct client *bucket[CLIENT_BUCKETS];
	uint32_t next_client, next_object, next_session;
	struct xid_report xid[XID_REPORTS];
	unsigned xids;
	uint64_t memory_block_size;
	struct os_event *events;
	uint64_t next_address;
	uint64_t opens, releases;
};

/* One ioctl on its way: who makes it, and how to learn that it was interrupted. */
struct sim_call {
	pid_t tid;
	bool (*interrupted)(void *context);
	void *context;
};

/* Makes a driver. Forks a helper: no thread may run yet. */
int driver_init(struct driver *driver, const struct release *release, unsigned gpus,
		struct mpu_error *error);
void driver_destroy(struct driver *driver);

/* Opens a device; NULL when memory is short. driver_close() is the file's last close: its clients
 * are freed, unless files that are still open are registered to it. */
struct sim_file *driver_open(struct driver *driver, enum sim_device device, unsigned minor);
void driver_close(struct driver *driver, struct sim_file *file);

/* Serves an ioctl. Returns 0 or a negative errno, as nvidia_ioctl() does. ARG is the caller's
 * pointer. */
int driver_ioctl(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 uint32_t request, uint64_t arg);

/* Writes /proc/driver/nvidia/version for the driver's release. */
void driver_version_text(const struct driver *driver, bool open_module, char *text, size_t size);

/* Writes the true state as one JSON object. */
void driver_write_state(struct driver *driver, FILE *out);

/* --- within the model; the lock is held except where noted --- */

/* Reads or writes SIZE bytes at ADDRESS in the thread's memory, without the lock. 0 or -EFAULT. */
int user_read(struct driver *driver, pid_t tid, uint64_t address, void *data, size_t size);
int user_write(struct driver *driver, pid_t tid, uint64_t address, const void *data, size_t size);

/* The file behind FD in the caller's table of files. file_ask() without the lock; what it gives
 * counts only as far as file_asked() finds it among the open ones. */
const void *file_ask(struct driver *driver, const struct sim_call *call, int fd);
struct sim_file *file_asked(struct driver *driver, const void *asked);

struct client *client_find(struct driver *driver, uint32_t handle);
struct object *object_find(const struct client *client, uint32_t handle);
/* The client's device on the GPU with that index, or NULL. */
struct object *client_device(const struct client *client, int gpu);
/* clientOSInfo: the file to which clients allocated through FILE belong. */
struct sim_file *file_owner(struct sim_file *file);
/* The index of the GPU with that id, or -1. */
int gpu_of_id(const struct driver *driver, uint32_t gpu_id);
uint64_t now_us(void);

/* NV_ESC_RM_ALLOC and NV_ESC_RM_FREE: DATA is the caller's structure, copied in; they take the
 * lock themselves. Return 0 or a negative errno. */
int escape_alloc(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		 void *data, uint32_t size);
/* The class of what is allocated: that of an event is told by its parameters. DATA has a class. */
uint32_t alloc_class(struct driver *driver, const struct sim_call *call, const void *data);
int escape_free(struct driver *driver, struct sim_file *file, void *data, uint32_t size);
void client_free(struct driver *driver, struct client *client);
/* Adds an object of CLASS_ID that is made without RM_ALLOC. *HANDLE 0: the driver chooses. */
uint32_t object_add(struct driver *driver, struct client *client, uint32_t parent,
		    const struct exported *like, uint32_t *handle);
/* Frees one that has nothing below it, or much. */
uint32_t object_remove(struct driver *driver, struct client *client, uint32_t handle);

/* The escapes on memory and its mappings (escape_memory.c), and all others that have a status in
 * their parameters (escape_object.c). Take the lock themselves. Return -ENOENT where NUMBER is not
 * theirs. */
int escape_memory(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		  uint32_t number, void *data, uint32_t size);
int escape_object(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		  uint32_t number, void *data, uint32_t size);
/* Whether the release takes SIZE for NUMBER; false for what is not theirs. */
bool escape_memory_size(const struct release *release, uint32_t number, uint32_t size);
bool escape_object_size(const struct release *release, uint32_t number, uint32_t size);
void events_end(struct driver *driver, const struct sim_file *file, uint32_t client);

/* nvidia-uvm. */
int uvm_ioctl(struct driver *driver, struct sim_file *file, const struct sim_call *call,
	      uint32_t request, uint64_t arg);

/* NV_ESC_RM_CONTROL with its NVOS54_PARAMETERS copied in. Takes the lock itself. */
int escape_control(struct driver *driver, struct sim_file *file, const struct sim_call *call,
		   struct nvos54_parameters *api);

/* GPU accounting's hooks in the life of clients and objects (gpu_acct.c). NS is the caller's PID
 * namespace: the driver measures peak memory by a look-up that goes through it. */
void acct_device_allocated(struct driver *driver, struct client *client, int gpu);
void acct_device_freed(struct driver *driver, struct client *client, int gpu);
void acct_channel_allocated(struct driver *driver, struct client *client, int gpu);
void acct_memory_allocated(struct driver *driver, struct client *client, int gpu,
			   const struct pid_ns *ns);
void acct_clear(struct driver *driver, struct acct_list *list);
/* Adds a record of a process that has ended. Returns 0 or -ENOMEM. */
int acct_add_dead(struct driver *driver, struct gpu *gpu, const struct acct_entry *record);

/* Private ioctl by which a program says what work it simulates (README.md). */
enum { SIMRM_ESC_WORK = 240 };
struct simrm_work {
	uint32_t hClient, status;
	uint32_t util[ENGINES]; /* per cent: fb, gr, nvenc, nvdec, nvjpg, nvofa */
};

#endif
