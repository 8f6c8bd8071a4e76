/* Which NVIDIA device a file descriptor is, seen from outside of the process. */
#ifndef SUPERVISOR_TRACE_DEVICE_H
#define SUPERVISOR_TRACE_DEVICE_H

#include "supervisor/driver.h"

#include <stdatomic.h>
#include <sys/types.h>

enum trace_device {
	TRACE_DEVICE_NONE, /* none of NVIDIA's, or it cannot be told */
	TRACE_DEVICE_RM,   /* /dev/nvidiactl and /dev/nvidiaN: escapes */
	TRACE_DEVICE_UVM,  /* /dev/nvidia-uvm */
};

struct trace_devices {
	struct driver driver;
	uint64_t uvm_inode;	    /* with --dev-root; 0: there is none */
	_Atomic uint32_t uvm_major; /* 0: not known yet */
};

void trace_devices_find(struct trace_devices *devices, const struct driver *driver,
			const char *dev_root);

enum { TRACE_DEVICE_NAME = 64 };

/* What descriptor FD of thread TID is. NAME becomes the path by which it was opened. Never asks a
 * file system. */
enum trace_device trace_device_of(struct trace_devices *devices, pid_t tid, int fd, char *name);

#endif
