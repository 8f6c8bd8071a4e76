/* Where the driver's calls carry process ids, and whose ids they are, per release. */
#ifndef NVABI_PIDS_H
#define NVABI_PIDS_H

#include "nvabi/releases.h"

#include <stdbool.h>
#include <stdint.h>

/* Whose numbers a call speaks (tests/data/pid-semantics.csv; read from _gpuConvertPid and
 * _gpuMatchClientPid in gpu_rmapi.c, osFindNsPid in kern_perf_ctrl.c, gpu_acct.c and
 * client_resource.c of each release). */
enum nvabi_pid_space {
	NVABI_GLOBAL,	 /* PIDs of the initial namespace */
	NVABI_CALLER_NS, /* PIDs of the caller's namespace; what it cannot see is left out */
	NVABI_CALLER_NS_PARTIAL, /* translated where the caller can see the process, else global */
	NVABI_MIXED, /* in: the caller's namespace; out: global; dead processes hidden outside
			the initial namespace */
};

/* What a translated number names: the process, or the thread that allocated the RM client. */
enum nvabi_pid_kind { NVABI_TGID, NVABI_TID };

struct nvabi_pid_semantics {
	enum nvabi_pid_space get_pids;
	enum nvabi_pid_space get_pid_info;
	enum nvabi_pid_space util_samples;
	enum nvabi_pid_space accounting;
	enum nvabi_pid_kind kind;
	/* A caller in the initial namespace gets the utilisation samples untranslated. */
	bool util_raw_for_init_ns;
};

/* What a control does with process ids: the shape of its parameters and the work to be done. */
enum nvabi_pid_call {
	NVABI_GET_PIDS,	       /* out: list of PIDs */
	NVABI_GET_PID_INFO,    /* in: a PID in each entry; out: that process's memory */
	NVABI_UTIL_SAMPLES,    /* out: ring of samples, a PID per engine in each */
	NVABI_ACCT_STATE,      /* in: PID of a virtual machine, ignored on bare metal */
	NVABI_ACCT_PROC_INFO,  /* in and out: one PID */
	NVABI_ACCT_PIDS,       /* out: list of PIDs, dead processes among them */
	NVABI_SESSIONS,	       /* out: list of sessions, a PID in each */
	NVABI_RCERR_REPORT,    /* out: the caller's own PID */
	NVABI_SHARED_BIND,     /* in: binds memory in which the driver writes PIDs */
	NVABI_SHARED_ADVERTISE /* out: says that such memory can be had (RUSD) */
};

enum { NVABI_ENGINES = 6 };
/* Marks an offset that a layout does not have. */
#define NVABI_NONE UINT16_MAX

/* One engine's part of a utilisation sample: offsets from the start of the sample. */
struct nvabi_engine_layout {
	uint16_t util;		 /* u32, per cent */
	uint16_t proc_id;	 /* u32, 0xffffffff: no process */
	uint16_t sub_process_id; /* u32 */
	uint16_t os_pid_info;	 /* u64, kernel address of a struct pid, or NVABI_NONE */
};

/* A control that carries PIDs, as one release has it. All offsets and sizes in bytes. */
struct nvabi_pid_control {
	uint32_t cmd;
	const char *name; /* the driver's #define */
	enum nvabi_pid_call call;
	/* Exact size of the parameters, or 0 where a release's headers are not public; then the
	 * offsets are those of the oldest public release, and hold only for parameters of
	 * assumed_size bytes, the size which they have there. */
	uint32_t size;
	uint32_t assumed_size; /* 0 where size is known */
	/* 1 where the driver does not export the control and hands its params on to firmware as
	 * they are, pointers of the caller included (bit 15 set; rmapi_gss_legacy_control.c). */
	uint16_t raw;
	/* The GPU asked about (u32 gpuId of the GPUACCT calls), or NVABI_NONE. */
	uint16_t gpu_id;
	/* A single PID in the parameters themselves (u32), or NVABI_NONE. */
	uint16_t pid;
	/* The list: a u32 count (NVABI_NONE where the list has none that limits it), the first
	 * entry, the distance between entries, how many fit. first is an offset into the
	 * parameters, or, where list_pointer is not NVABI_NONE, into the memory to which the u64
	 * user pointer at list_pointer points. */
	uint16_t list_pointer;
	uint16_t list_count;
	uint16_t list_first;
	uint16_t list_stride;
	uint16_t list_capacity;
	/* In an entry: the PID (u32) for lists with one PID an entry, or NVABI_NONE; beside it the
	 * PID in a virtual machine or MPS client (u32, chosen by the caller; sessions), or
	 * NVABI_NONE. */
	uint16_t entry_pid;
	uint16_t entry_sub_pid;
	/* NVABI_GET_PID_INFO, in an entry: what is asked for (u32), its NV_STATUS (u32), the answer
	 * (u64 each: private, shared owned, shared duped, then the same three of protected memory),
	 * and smcSubscription (u32 computeInstanceId, u32 gpuInstanceId), NVABI_NONE before R450.
	 */
	uint16_t entry_index;
	uint16_t entry_result;
	uint16_t entry_data;
	uint16_t entry_data_count;
	uint16_t entry_smc;
	/* NVABI_ACCT_PROC_INFO: u32 subPid, u32 gpuUtil and fbUtil (per cent), u64 maxFbUsage
	 * (bytes), u64 startTime and endTime (microseconds since 1970; endTime 0: still alive). */
	uint16_t acct_sub_pid;
	uint16_t acct_gpu_util;
	uint16_t acct_fb_util;
	uint16_t acct_max_fb_usage;
	uint16_t acct_start_time;
	uint16_t acct_end_time;
	/* NVABI_SHARED_*: the field that asks for or advertises memory with PIDs, shared_width
	 * bytes (4 or 8) at shared_mask, and its bits that stand for that memory (RUSD); all_users
	 * is the NvBool (u8) by which an event buffer is bound for every user's processes. Or
	 * NVABI_NONE. */
	uint16_t shared_mask;
	uint16_t shared_width;
	uint32_t shared_bits;
	uint16_t all_users;
	/* NVABI_UTIL_SAMPLES: the sample's u64 time stamp, 0 in an empty one; in the parameters the
	 * buffer size (u32, bytes), number of samples (u32, 0 on 580) and tracker (u32, byte offset
	 * of the ring's tail); the engines of a sample: fb, gr, nvenc, nvdec, nvjpg, nvofa. */
	uint16_t sample_timestamp;
	uint16_t buffer_size;
	uint16_t sample_count;
	uint16_t tracker;
	uint8_t engine_count;
	struct nvabi_engine_layout engine[NVABI_ENGINES];
};

enum { NVABI_PID_CONTROLS = 24 };

/* All that is known about PIDs for one release: the tree of releases walked from its root to that
 * release, each applying its changes. A plain value; holds no resources. */
struct nvabi_pids {
	struct nvabi_version running; /* as asked for */
	struct nvabi_version release; /* the one that stands for it */
	enum nvabi_match match;
	struct nvabi_pid_semantics semantics;
	uint32_t control_count;
	struct nvabi_pid_control control[NVABI_PID_CONTROLS]; /* ordered by cmd */
};

/* Composes what is known for RUNNING into PIDS. Returns 0; -ENOENT when RUNNING is older than every
 * release in the tree (R418). Under 1 ms; no system call, no allocation. */
int nvabi_pids_compose(const struct nvabi_version *running, struct nvabi_pids *pids);

/* The control CMD of that release, or NULL when it carries no PIDs. */
const struct nvabi_pid_control *nvabi_pids_find(const struct nvabi_pids *pids, uint32_t cmd);

/* The size of one GET_PID_INFO entry told by the size of the whole parameters: 8 + 200 entries of
 * 40 (R440), 48 (R460) or 72 bytes (every public release). Returns 0 for any other size. */
uint32_t nvabi_pid_info_stride(uint32_t params_size);

/* One ioctl of which the supervisor must hear: any request with (request & mask) == value in its
 * low 32 bits. The driver looks at _IOC_NR and _IOC_SIZE only (nv.c, nvidia_ioctl), so the magic,
 * the direction and whatever stands above 32 bits do not matter. */
struct nvabi_ioctl {
	const char *name;
	uint32_t mask;
	uint32_t value;
};

/* The ioctls to watch so that no PID-bearing control is missed: NV_ESC_RM_CONTROL and
 * NV_ESC_IOCTL_XFER_CMD. Stores their number in COUNT; the array is constant. */
const struct nvabi_ioctl *nvabi_watched_ioctls(uint32_t *count);

/* The ioctls that may be NVIDIA's in any release: the escapes by their magic, and UVM's, which are bare
 * numbers up to 0x7ff and from 0x30000000 on, as other drivers have them too. */
const struct nvabi_ioctl *nvabi_traced_ioctls(uint32_t *count);

#endif
