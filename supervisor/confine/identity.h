/* To be somebody else, for good. */
#ifndef SUPERVISOR_CONFINE_IDENTITY_H
#define SUPERVISOR_CONFINE_IDENTITY_H

#include <stdint.h>
#include <sys/types.h>

/* The process, of one thread, becomes the user UID and the group GID (real, effective, saved), of
 * no other group, and keeps of its capabilities those of CAPABILITIES that the driver asks for. Who
 * has no privilege can only be who he is, and keeps his groups. Returns 0, or -EPERM; who he is
 * then is not defined. */
int identity_take(uid_t uid, gid_t gid, uint64_t capabilities);

#endif
