/* The tree of driver releases: each grew from another one. */
#ifndef NVABI_RELEASES_H
#define NVABI_RELEASES_H

#include "nvabi/version.h"

#include <stdint.h>

/* How the running driver was found in the tree. */
enum nvabi_match {
	NVABI_MATCH_EXACT,     /* the release is listed */
	NVABI_MATCH_NEIGHBOUR, /* not listed: the nearest older one on the same branch stands in */
	NVABI_MATCH_BRANCH,    /* no older release of that major is known: the release from which
				  the next known branch grew, or else the newest one */
};

/* The listed releases in the order of the table, closed majors first. Returns the number; INDEX
 * counts from 0. nvabi_release_parent() returns the index of the parent, or -1 for the root. */
uint32_t nvabi_release_count(void);
const struct nvabi_version *nvabi_release_version(uint32_t index);
int nvabi_release_parent(uint32_t index);

#endif
