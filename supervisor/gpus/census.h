/* Who uses the GPUs, by the driver's own account, as the host sees it: asked and folded to
 * processes as the engine does it for a target on the host. */
#ifndef SUPERVISOR_GPUS_CENSUS_H
#define SUPERVISOR_GPUS_CENSUS_H

#include "base/error.h"
#include "nvabi/pids.h"
#include "supervisor/call.h"
#include "supervisor/driver.h"
#include "supervisor/gpus/client.h"
#include "supervisor/roster.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a process has on the GPU. */
enum { CENSUS_COMPUTE = 1, CENSUS_GRAPHICS = 2, CENSUS_MPS = 4 };

enum { CENSUS_IDLE = -1 };

struct census_process {
	pid_t pid;
	unsigned int types; /* 0: memory, but no channel that is known to be for either */
	uint64_t memory;    /* bytes, its own and shared of which it is the owner */
	/* The latest of each engine (fb, gr, nvenc, nvdec, nvjpg, nvofa), in hundredths of a per
	 * cent; CENSUS_IDLE where it was not seen there lately. */
	int util[NVABI_ENGINES];
};

struct census_gpu {
	struct gpu_place place;
	char name[64], uuid[48];
	struct mpu_error error;		/* it could not be asked; the rest is as far as it came */
	size_t engines;			/* of which utilisation was told: 0, 4 or 6 */
	struct census_process *process; /* the largest memory first */
	size_t count;
};

struct census {
	struct nvabi_pids pids;
	struct census_gpu gpu[GPU_CLIENT_GPUS];
	size_t count;
};

/* Where and of what to ask. */
struct census_source {
	struct driver driver;
	const char *dev_root;  /* or NULL: /dev */
	struct roster *roster; /* what is remembered of threads that have ended; never NULL */
	struct nvabi_pids pids;
	/* Processes that stand for others at the driver: by a journal, or listed. Both may be NULL. */
	struct journal *journal;
	const struct proxied *proxied;
};

/* Finds the driver and what is known of it for SOURCE, of which DEV_ROOT and ROSTER are set.
 * Returns 0 or -errno with ERROR filled. */
int census_find_driver(struct census_source *source, struct mpu_error *error);

/* Asks the driver into CENSUS. Must run in the initial PID namespace. Returns 0 with CENSUS to be
 * freed, also where single GPUs could not be asked; or -errno with ERROR filled. */
int census_take(struct census *census, const struct census_source *source, struct mpu_error *error);

void census_free(struct census *census);
#define cleanup_census __attribute__((cleanup(census_free)))

#endif
