/* The front end: the driver as files that programs open. Its devices are files of a folder, or
 * character devices with the numbers of the real driver. */
#ifndef SIMRM_FRONT_H
#define SIMRM_FRONT_H

#include "tests/simrm/driver.h"

struct front_options {
	const char *directory; /* where simrm's files are mounted, empty */
	bool open_module;      /* the open module's wording in DIRECTORY/version */
	bool cuse;	       /* the devices are in /dev, not in DIRECTORY */
	void (*ready)(void);   /* called once all files can be used */
};

/* Serves DRIVER until a signal ends it. Returns 0 or a negative errno with ERROR filled. */
int front_serve(struct driver *driver, const struct front_options *options,
		struct mpu_error *error);

#endif
