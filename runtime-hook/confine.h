/* A confinement's way from the hook to mpud: in the listener's metadata. */
#ifndef RUNTIME_HOOK_CONFINE_H
#define RUNTIME_HOOK_CONFINE_H

#include "base/error.h"

#include <stdint.h>

/* METADATA (or NULL) with the words that tell mpud of CONFINE and of the filter that was made for
 * it. Returns a text from malloc(); NULL where there is nothing to say, or no memory. */
char *confine_metadata(const char *metadata, uint32_t confine);

/* Whether a filter that was made with METADATA (or NULL) does for a container with CONFINE. Returns
 * 0, or -EBUSY with ERROR filled. */
int confine_check_filter(const char *metadata, uint32_t confine, struct mpu_error *error);

#endif
