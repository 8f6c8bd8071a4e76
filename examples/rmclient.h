/* A small client of the resource manager: opens the devices, allocates and controls objects. */
#ifndef EXAMPLES_RMCLIENT_H
#define EXAMPLES_RMCLIENT_H

#include "examples/rm.h"

enum { RM_ENGINES = 6 }; /* fb, gr, nvenc, nvdec, nvjpg, nvofa, in this order */
extern const char *const rm_engine_names[RM_ENGINES];

/* What depends on the driver's release. */
struct rm_layout {
	unsigned pid_info_stride;
	unsigned util_samples, util_engines;
	unsigned util_engine_size; /* 116, or 128 with pOsPidInfo at 120 */
	bool util_v1, nvenc_v2;
	bool alloc_params_size, alloc_flags;
	unsigned memory_params_size, probed_ids_size;
};

struct rm {
	char root[256];
	unsigned major, minor, patch;
	char version[64];
	struct rm_layout layout;
	int ctl; /* nvidiactl */
};

/* One client of an open nvidiactl. */
struct rm_client {
	const struct rm *rm;
	uint32_t handle, next;
};

/* Opens ROOT/nvidiactl and reads the driver's version from ROOT/version or, where that is not,
 * /proc/driver/nvidia/version. Returns 0 or a negative errno after a message on stderr. */
int rm_open(struct rm *rm, const char *root);
void rm_close(struct rm *rm);

/* The layouts of the release that RM's version names. */
struct rm_layout rm_layout_of(unsigned major, unsigned minor);

/* Allocates a client. Returns 0, a positive NV_STATUS or a negative errno, as the rest do. */
int rm_client_alloc(const struct rm *rm, struct rm_client *client);
/* Allocates an object of CLASS below PARENT and stores its handle. SIZE is that of PARAMS. */
int rm_alloc(struct rm_client *client, uint32_t parent, uint32_t class_id, void *params,
	     uint32_t size, uint32_t *handle);
int rm_free(struct rm_client *client, uint32_t parent, uint32_t handle);
int rm_control(const struct rm_client *client, uint32_t object, uint32_t cmd, void *params,
	       uint32_t size);

/* Attaches the GPU with that index among the probed ones and allocates its device and subdevice. */
struct rm_gpu {
	uint32_t gpu_id, device, subdevice;
	int fd; /* nvidiaN, or -1 */
};
int rm_gpu_count(const struct rm_client *client, uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS]);
int rm_gpu_open(struct rm_client *client, uint32_t gpu_id, struct rm_gpu *gpu);

/* "status 0x1b" or "errno 22 (Invalid argument)" for a result of the functions above. */
const char *rm_error_text(int result, char text[64]);

#endif
