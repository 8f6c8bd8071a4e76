/* What the two kinds of front share: sessions of libfuse, each served by threads of its own. */
#ifndef SIMRM_FRONT_SESSION_H
#define SIMRM_FRONT_SESSION_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "tests/simrm/front.h"

/* What each session carries as its user data. */
struct front {
	struct driver *driver;
	const struct front_options *options;
	enum sim_device device; /* of a CUSE session */
	unsigned minor;
	unsigned *pending; /* sessions that cannot be used yet, of all fronts */
};

enum { FRONT_MAX_BACKGROUND = 60000 };

/* Mounts the folder. Returns NULL with ERROR filled. */
struct fuse_session *fuse_front_start(struct front *front, struct mpu_error *error);

/* Frees what was open when the folder's session ended, when nobody answers any more. */
void fuse_front_free_texts(void);

/* Makes the character device of FRONT->device and FRONT->minor. Returns NULL with ERROR filled. */
struct fuse_session *cuse_front_start(struct front *front, struct mpu_error *error);

/* This session can be used; the last one tells front_options.ready. */
void front_is_ready(struct front *front);

/* Lets the driver serve an ioctl on FILE, and answers REQ. */
void front_answer_ioctl(fuse_req_t req, struct sim_file *file, unsigned request, void *arg);

#endif
