/* RM controls: what a handler gets, and which there are. */
#ifndef SIMRM_CONTROL_H
#define SIMRM_CONTROL_H

#include "tests/simrm/driver.h"

/* A control in execution. Params are a copy; the lock is held. */
struct control_call {
	struct driver *driver;
	struct client *client;
	struct object *object; /* NULL: the client itself */
	struct gpu *gpu;       /* of a subdevice or device */
	int gpu_index;
	pid_t tid;
	struct pid_ns *ns;     /* the caller's; where the control asks for it */
	const struct task *task; /* the caller; where the control asks for it */
	void *params;
	uint32_t size;
	/* Memory of the caller behind an embedded pointer: written out after the lock is dropped. */
	uint64_t embedded_address;
	void *embedded;
	uint32_t embedded_size;
};

enum {
	CONTROL_PRIVILEGED = 1, /* CAP_SYS_ADMIN in the initial user namespace */
	CONTROL_NS = 2,		/* wants the caller's PID namespace */
	CONTROL_TASK = 4,	/* wants the caller's task */
	CONTROL_EMBEDDED = 8,	/* has a pointer in its parameters: prepared before the lock */
};

struct control {
	uint32_t cmd;
	enum object_kind object; /* OBJECT_OTHER: the client */
	unsigned flags;
	uint32_t (*size)(const struct release *release); /* 0: not exported by this release */
	uint32_t (*run)(struct control_call *call);
	/* Before the lock: reads what the embedded pointer points to. NULL without one. */
	uint32_t (*prepare)(struct control_call *call);
};

/* ctrl_pids.c */
uint32_t size_get_pids(const struct release *release);
uint32_t run_get_pids(struct control_call *call);
uint32_t size_get_pid_info(const struct release *release);
uint32_t run_get_pid_info(struct control_call *call);

/* The memory of the process that the driver finds for PID as GET_PID_INFO does, with NS as the
 * caller's namespace. */
struct process_memory {
	uint64_t private_bytes;
};
struct process_memory find_process_memory(struct driver *driver, const struct pid_ns *ns,
					  int gpu_index, uint32_t pid);

/* ctrl_info.c */
uint32_t prepare_build_version(struct control_call *call);
uint32_t size_gpu_ids(const struct release *release);
uint32_t size_build_version(const struct release *release);
uint32_t run_build_version(struct control_call *call);
uint32_t run_attached_ids(struct control_call *call);
uint32_t size_probed_ids(const struct release *release);
uint32_t run_probed_ids(struct control_call *call);
uint32_t size_attach_ids(const struct release *release);
uint32_t run_attach_ids(struct control_call *call);
uint32_t run_detach_ids(struct control_call *call);
uint32_t size_id_info(const struct release *release);
uint32_t run_id_info(struct control_call *call);
uint32_t size_name_string(const struct release *release);
uint32_t run_name_string(struct control_call *call);
uint32_t size_get_id(const struct release *release);
uint32_t run_get_id(struct control_call *call);
uint32_t size_gid_info(const struct release *release);
uint32_t run_gid_info(struct control_call *call);
uint32_t size_fb_info(const struct release *release);
uint32_t run_fb_info(struct control_call *call);

#endif
