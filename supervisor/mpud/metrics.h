/* Metrics in Prometheus' text format over HTTP, where --metrics asks for them. The keeper opens the
 * socket, the worker serves it. */
#ifndef SUPERVISOR_MPUD_METRICS_H
#define SUPERVISOR_MPUD_METRICS_H

#include "supervisor/mpud/control.h"
#include "supervisor/mpud/socket.h"

#include <stdio.h>

/* metrics-socket.c: the keeper's */

/* Whether WORD is an address: unix:/PATH, or a loopback one with a port (127.0.0.1:9402,
 * [::1]:9402). */
bool metrics_address_is_good(const char *word);

/* Opens the socket at ADDRESS. Returns 0 or -errno with ERROR filled. */
int metrics_socket_open(struct mpud_socket *own, const char *address, struct mpu_error *error);

/* Takes FD, which a former keeper listened at; lets go of it where that is not ADDRESS, which may
 * be NULL. */
void metrics_socket_take(struct mpud_socket *own, const char *address, int fd);

/* metrics-server.c */

/* Serves at START's socket on threads of its own, for as long as this process lives; so do the
 * arguments. Where that cannot be, it is logged. */
void metrics_start(const struct worker_start *start, struct engine *engine,
		   const struct engine_options *options);

/* metrics.c */

/* Writes all that mpud itself counts. */
void metrics_write(FILE *out, const struct control *control);

/* Writes one sample's label: NAME="VALUE" with VALUE escaped, behind a comma unless FIRST. */
void metrics_write_label(FILE *out, bool first, const char *name, const char *value);

/* Writes # HELP and # TYPE. */
void metrics_write_head(FILE *out, const char *name, const char *type, const char *help);

/* metrics-gpus.c */

/* Starts the thread that asks the driver when metrics_gpus_write() wants it to. Returns 0 or an
 * errno value. */
int metrics_gpus_start(const struct worker_start *start, const struct engine_options *options);

/* Writes who uses the GPUs, as the driver said it some seconds ago at most; what takes it too long
 * is left out. */
void metrics_gpus_write(FILE *out);

#endif
