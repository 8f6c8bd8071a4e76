/* A client of our own of the driver's resource manager: to ask it, never to work with a GPU. */
#ifndef SUPERVISOR_GPUS_CLIENT_H
#define SUPERVISOR_GPUS_CLIENT_H

#include "base/error.h"
#include "nvabi/version.h"

#include <stdbool.h>
#include <stdint.h>

enum { GPU_CLIENT_GPUS = 32 }; /* NV0000_CTRL_GPU_MAX_ATTACHED_GPUS */

struct gpu_client {
	const char *dev_root; /* borrowed */
	int control;	      /* nvidiactl */
	uint32_t handle, next;
	bool has_params_size; /* of NVOS21_PARAMETERS, from 535.43.02 on */
};
#define GPU_CLIENT_NONE ((struct gpu_client){.control = -1})

/* Where a GPU stands in the machine. */
struct gpu_place {
	uint32_t gpu_id;
	uint32_t minor;	    /* of /dev/nvidiaN */
	unsigned int index; /* among all GPUs by their PCI addresses, as nvidia-smi counts */
	char pci[20];	    /* 00000000:04:00.0 */
};

/* A GPU that was opened: its node, its device and its subdevice object. */
struct gpu_handle {
	int node;
	uint32_t device, subdevice;
};
#define GPU_HANDLE_NONE ((struct gpu_handle){.node = -1})

/* Opens DEV_ROOT/nvidiactl of the driver VERSION and makes a client there. The devices are opened
 * for reading: the driver does not look at that, and mpud's sandbox allows no more. Returns 0 with
 * CLIENT to be closed, or -errno with ERROR filled. */
int gpu_client_open(struct gpu_client *client, const char *dev_root,
		    const struct nvabi_version *version, struct mpu_error *error);

/* The driver frees all that belongs to the client. */
void gpu_client_close(struct gpu_client *client);
#define cleanup_gpu_client __attribute__((cleanup(gpu_client_close)))

/* The GPUs that some process has open, into PLACES: those that nobody has open have no processes,
 * and are not woken up. Returns how many, or -errno with ERROR filled. */
int gpu_client_list(struct gpu_client *client, struct gpu_place places[GPU_CLIENT_GPUS],
		    struct mpu_error *error);

/* Opens the GPU at PLACE into HANDLE. Returns 0, or -errno with ERROR filled. */
int gpu_client_open_gpu(struct gpu_client *client, const struct gpu_place *place,
			struct gpu_handle *handle, struct mpu_error *error);
void gpu_client_close_gpu(struct gpu_client *client, struct gpu_handle *handle);

/* Runs control CMD on OBJECT with PARAMS of SIZE bytes. Returns 0, an NV_STATUS, or -errno. */
int gpu_client_control(const struct gpu_client *client, uint32_t object, uint32_t cmd, void *params,
		       uint32_t size);

#endif
