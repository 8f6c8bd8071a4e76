/* Rows that an administrator adds to the policy of confined containers: a file with lines of both
 * nvabi/data/policy and nvabi/data/policy-params, a row being what begins with a kind of call.
 *
 * A row for a call that has one already allows it to more capabilities, and changes nothing else
 * of it. A new row is for a control or a class (way execute; a control also firmware), or for a
 * call of UVM (way continue). What it names, how long its parameters are and what is in them is
 * held against the ABI of all releases, as the build does with mpu's own rows. */
#ifndef NVABI_ALLOW_H
#define NVABI_ALLOW_H

#include "base/error.h"
#include "nvabi/policy.h"

/* Immutable: may be shared between threads. */
struct nvabi_allow;

/* Reads the file PATH. Returns 0, and in ALLOW a handle to be freed with nvabi_allow_free(); or
 * -errno with ERROR filled, which names file and line: a file that somebody else than root and who
 * runs this could have written, -EACCES; a line that is not taken, -EINVAL. */
int nvabi_allow_read(const char *path, struct nvabi_allow **allow, struct mpu_error *error);
void nvabi_allow_free(struct nvabi_allow *allow);

/* How many rows it has. */
uint32_t nvabi_allow_rows(const struct nvabi_allow *allow);

/* Why no row can allow the call NAME, or NULL where one can: mpu has none for it, of KIND. */
const char *nvabi_allow_never(uint32_t kind, const char *name);

/* nvabi_policy_open() with the rows of ALLOW (or NULL) added. The policy borrows from ALLOW. */
int nvabi_policy_open_with(const struct nvabi_version *running, const struct nvabi_allow *allow,
			   struct nvabi_policy **policy);

#endif
