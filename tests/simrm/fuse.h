/* The FUSE front end: the driver's device files in a folder. */
#ifndef SIMRM_FUSE_H
#define SIMRM_FUSE_H

#include "tests/simrm/driver.h"

/* Mounts on DIRECTORY and serves until a signal ends it. READY is called once the file system can
 * be used. Returns 0 or a negative errno with ERROR filled. */
int front_serve(struct driver *driver, const char *directory, bool open_module, void (*ready)(void),
		struct mpu_error *error);

#endif
