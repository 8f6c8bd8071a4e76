/* RM controls: what a handler gets, and which there are. */
#ifndef SIMRM_CONTROL_H
#define SIMRM_CONTROL_H

#include "tests/simrm/driver.h"

enum { EMBEDDED = 3 };

/* A control in execution. Params are a copy; the lock is held. */
struct control_call {
	struct driver *driver;
	struct client *client;
	struct object *object; /* NULL: the client itself */
	struct gpu *gpu;       /* of a subdevice or device */
	int gpu_index;
	uint32_t cmd;
	pid_t tid;
	const struct sim_call *from;
	const void *asked;	 /* the file behind an fd in the parameters */
	struct pid_ns *ns;	 /* the caller's; where the control asks for it */
	const struct task *task; /* the caller; where the control asks for it */
	void *params;
	uint32_t size;
	/* Memory of the caller behind embedded pointers: written out after the lock is dropped. */
	struct {
		uint64_t address;
		void *data;
		uint32_t size;
	} embedded[EMBEDDED];
};

enum {
	CONTROL_PRIVILEGED = 1, /* CAP_SYS_ADMIN in the initial user namespace */
	CONTROL_NS = 2,		/* wants the caller's PID namespace */
	CONTROL_TASK = 4,	/* wants the caller's task */
	CONTROL_PREPARED = 8,	/* has pointers in its parameters: prepare() before the lock */
};

struct control {
	uint32_t cmd;
	enum object_kind object; /* whose class exports it */
	unsigned flags;
	uint32_t (*size)(const struct release *release); /* 0: not exported by this release */
	uint32_t (*run)(struct control_call *call);
	/* Before the lock: looks at the embedded pointers, makes room for what goes there. */
	uint32_t (*prepare)(struct control_call *call);
};

/* Makes room for SIZE bytes that go to ADDRESS. Returns NV_OK or a status. */
uint32_t control_embed(struct control_call *call, unsigned index, uint64_t address, uint64_t size);

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

/* ctrl_util.c */
uint32_t size_util_v2(const struct release *release);
uint32_t run_util_v2(struct control_call *call);
uint32_t size_util_v1(const struct release *release);
uint32_t run_util_v1(struct control_call *call);
uint32_t prepare_util_v1(struct control_call *call);

/* ctrl_acct.c */
uint32_t size_acct_state(const struct release *release);
uint32_t run_set_acct_state(struct control_call *call);
uint32_t run_get_acct_state(struct control_call *call);
uint32_t size_acct_proc_info(const struct release *release);
uint32_t run_acct_proc_info(struct control_call *call);
uint32_t size_acct_pids(const struct release *release);
uint32_t run_acct_pids(struct control_call *call);
uint32_t size_acct_clear(const struct release *release);
uint32_t run_acct_clear(struct control_call *call);

/* ctrl_session.c */
uint32_t size_nvenc(const struct release *release);
uint32_t run_nvenc(struct control_call *call);
uint32_t prepare_nvenc(struct control_call *call);
uint32_t size_nvenc_v2(const struct release *release);
uint32_t run_nvenc_v2(struct control_call *call);
uint32_t size_nvfbc(const struct release *release);
uint32_t run_nvfbc(struct control_call *call);
uint32_t size_sub_process_id(const struct release *release);
uint32_t run_sub_process_id(struct control_call *call);

/* ctrl_lists.c: all that end in a list of the caller's; 0 where CMD is none of them. */
uint32_t list_size(const struct release *release, uint32_t cmd);
enum object_kind list_object(uint32_t cmd);
uint32_t prepare_list(struct control_call *call);
uint32_t run_list(struct control_call *call);

/* ctrl_files.c: all with an fd, of the client itself; 0 where CMD is none of them. */
uint32_t file_control_size(const struct release *release, uint32_t cmd);
uint32_t prepare_file(struct control_call *call);
uint32_t run_file(struct control_call *call);

/* ctrl_shared.c */
uint32_t size_rcerr_report(const struct release *release);
uint32_t run_rcerr_report(struct control_call *call);
uint32_t size_fecs_bind(const struct release *release);
uint32_t size_fecs_bind_v2(const struct release *release);
uint32_t run_event_bind(struct control_call *call);
uint32_t size_video_bind(const struct release *release);
uint32_t run_video_bind(struct control_call *call);
uint32_t size_rusd_features(const struct release *release);
uint32_t run_rusd_features(struct control_call *call);
uint32_t size_rusd_set(const struct release *release);
uint32_t run_rusd_set(struct control_call *call);
uint32_t size_rusd_poll(const struct release *release);
uint32_t run_rusd_poll(struct control_call *call);
uint32_t size_rusd_interval(const struct release *release);

#endif
