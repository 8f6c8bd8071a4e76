/* Descriptors that somebody sent and that may be anything. The close of a FUSE file waits for its
 * server, for ever if that likes, and not even SIGKILL ends the wait. */
#ifndef SUPERVISOR_MPUD_FOREIGN_H
#define SUPERVISOR_MPUD_FOREIGN_H

/* Closes FD, which is no longer the caller's, on another thread. Never blocks. Where too many of
 * these are stuck already FD stays open, and the log says so. */
void foreign_close(int fd);

#endif
