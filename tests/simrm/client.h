/* For tests: a simulated driver of one release, and ways to call it that no library would use. */
#ifndef SIMRM_CLIENT_H
#define SIMRM_CLIENT_H

#include <stddef.h>
#include <sys/types.h>

#include "examples/rmclient.h"

/* A running simrm on a folder of its own. */
struct sim {
	char directory[64];
	pid_t pid;
};

/* Starts PROGRAM for release VERSION, with OPTIONS (ended by NULL, may itself be NULL). Returns 0
 * once the devices can be used, or a negative errno. */
int sim_start(struct sim *sim, const char *program, const char *version,
	      const char *const *options);

/* Ends it by SIGTERM. Returns its exit status, 128 + N for signal N, and removes the folder. */
int sim_stop(struct sim *sim);

/* Carries out a command of README.md. Returns 0 or the negative errno of the write. */
int sim_command(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads a file of the folder whole ("simrm-state"): a string for free(), or NULL. */
char *sim_read(const struct sim *sim, const char *name);

/* Opens a device of the folder. Returns the fd or a negative errno. */
int sim_open(const struct sim *sim, const char *name);

/* Waits until simrm has seen the last close of every file but LEFT, which FUSE tells it a little
 * after close() has returned. Returns 0 or -ETIMEDOUT. */
int sim_settle(const struct sim *sim, unsigned left);

/* RM_CONTROL by any request number: returns 0 or a negative errno; the status is in API. */
int sim_control_by(int fd, unsigned long request, struct nvos54_parameters *api);

/* The same as 32-bit programs call (int $0x80); API must lie below 4 GiB. -ENOSYS where the kernel
 * or the architecture has no such calls. */
int sim_control_compat(int fd, unsigned request, struct nvos54_parameters *api);

/* The same through NV_ESC_IOCTL_XFER_CMD with command CMD and size SIZE. */
int sim_control_xfer(int fd, uint32_t cmd, uint32_t size, struct nvos54_parameters *api);

#endif
