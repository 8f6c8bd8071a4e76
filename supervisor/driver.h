/* The running NVIDIA driver: its version and its device files. */
#ifndef SUPERVISOR_DRIVER_H
#define SUPERVISOR_DRIVER_H

#include "base/error.h"
#include "nvabi/pids.h"
#include "nvabi/version.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file told by where it lies, for device files that are not character devices of major 195. */
struct driver_file {
	uint32_t dev_major, dev_minor;
	uint64_t inode;
};

struct driver {
	struct nvabi_version version;
	bool is_open; /* the open kernel module, as it says itself */
	bool named; /* version named by an option, not read from the driver */
	bool by_inode; /* --dev-root: the control device is told by device and inode */
	struct driver_file control;
	uint64_t uvm_inode, modeset_inode; /* beside it; 0: none */
};

/* Finds out which driver runs. DEV_ROOT (or NULL) is a folder that stands for the character devices:
 * DEV_ROOT/nvidiactl is the control device, DEV_ROOT/version, if there, is read in place of
 * /proc/driver/nvidia/version. VERSION (or NULL) names the version instead of reading it. Returns 0,
 * or -errno with ERROR filled. */
int driver_find(struct driver *driver, const char *dev_root, const char *version,
		struct mpu_error *error);

/* Composes what nvabi knows of that driver into PIDS. A release that is not listed takes another one in
 * its place; the log says so. Returns 0, or -errno with ERROR filled for one that is older than all. */
int driver_compose(const struct driver *driver, struct nvabi_pids *pids, struct mpu_error *error);

/* Whether a container can be confined to CONFINE (of struct mpu_settings) on that driver: on a branch of
 * which no release is known it cannot, unless it only logs. Returns 0, or -ENOTSUP with ERROR filled. */
int driver_check_confine(const struct nvabi_version *version, uint32_t confine,
			 struct mpu_error *error);

enum driver_device {
	DRIVER_DEVICE_NONE,    /* not a device of this driver */
	DRIVER_DEVICE_CONTROL, /* /dev/nvidiactl, the only one that takes RM control */
	DRIVER_DEVICE_OTHER,   /* /dev/nvidiaN */
	DRIVER_DEVICE_MODESET, /* /dev/nvidia-modeset */
	DRIVER_DEVICE_UNKNOWN, /* it could not be told */
};

/* What the open file FD is. Never asks a file system (a FUSE server could keep us waiting). */
enum driver_device driver_device(const struct driver *driver, int fd);

/* Whether FD is /dev/nvidia-uvm, or with --dev-root its nvidia-uvm. */
bool driver_is_uvm(const struct driver *driver, int fd);

enum { DRIVER_GPUS = 32 }; /* NV_MAX_DEVICES */

/* The numbers under which task TID has devices of GPUs open (/dev/nvidiaN), one for each GPU. Returns
 * how many. */
size_t driver_gpus_open_in(const struct driver *driver, int tid, int numbers[DRIVER_GPUS]);

/* Whether process TGID has an NVIDIA device open: every process that uses a GPU has. */
bool driver_is_open_in(const struct driver *driver, int tgid);

#endif
