/* A process that holds memory of the GPU, as programs of a container do. */
#ifndef SURVIVAL_HOLDER_H
#define SURVIVAL_HOLDER_H

#include "examples/rmclient.h"

struct holder {
	struct rm rm;
	struct rm_client client;
	struct rm_gpu gpu;
};

/* Opens the device files in ROOT and holds MIB MiB. Ends the program, with a message, where that
 * fails. */
void holder_start(struct holder *holder, const char *root, unsigned int mib);

#endif
