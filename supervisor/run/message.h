/* Messages with a file descriptor over a UNIX socket. */
#ifndef SUPERVISOR_RUN_MESSAGE_H
#define SUPERVISOR_RUN_MESSAGE_H

#include <stddef.h>

/* Sends SIZE bytes of DATA, and FD beside them unless it is -1. FD stays the caller's. Returns 0 or
 * -errno. */
int message_send(int socket, const void *data, size_t size, int fd);

/* Receives exactly SIZE bytes into DATA, and into *FD a descriptor that came with them (owned by the
 * caller, close-on-exec) or -1. Returns 0, -EPIPE at the end, or -errno. */
int message_receive(int socket, void *data, size_t size, int *fd);

#endif
