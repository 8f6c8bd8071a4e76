/* The daemon's own parts: nobody else includes this. */
#ifndef SUPERVISOR_MPUD_MPUD_H
#define SUPERVISOR_MPUD_MPUD_H

#include "base/error.h"
#include "nvabi/pids.h"
#include "supervisor/driver.h"
#include "supervisor/engine.h"
#include "supervisor/settings.h"

#include <stdbool.h>
#include <sys/types.h>

struct mpud_options {
	const char *socket;	      /* or NULL: the default */
	const char *socket_group;     /* whose members may hand listeners over, or NULL */
	const char *driver_version;   /* or NULL */
	const char *dev_root;	      /* or NULL */
	struct mpu_settings settings; /* where a container says nothing */
	unsigned int rings;
};

/* Parses the command line. Returns -1 to go on, or the exit status. */
int mpud_options_parse(int argc, char **argv, struct mpud_options *options);

/* A listening socket. */
struct mpud_socket {
	int fd;
	bool inherited; /* from systemd: its file is not ours */
	char path[108]; /* where it is ours */
	bool has_group;
	gid_t group; /* whose members may use it */
};

/* Takes the socket that systemd opened, or makes one at OPTIONS' path: for its owner alone, or with
 * a group for the group too. A file left behind by a dead mpud is replaced. Returns 0, or -errno
 * with ERROR filled: -EADDRINUSE when another mpud listens there. */
int mpud_socket_open(const struct mpud_options *options, struct mpud_socket *socket,
		     struct mpu_error *error);
void mpud_socket_close(struct mpud_socket *socket);

/* Whether the peer of CONNECTION may hand listeners over: root, our own user, a member of the
 * socket's group. Returns 0, or -EPERM with ERROR filled. */
int mpud_socket_check_peer(const struct mpud_socket *socket, int connection,
			   struct mpu_error *error);

/* A container's ID, which comes from its runtime and so from anywhere, made fit for the log. */
void mpud_label(const char *id, char label[ENGINE_LABEL]);

/* Tells systemd STATE ("READY=1"), where it waits to be told. */
void mpud_notify(const char *state);

/* Connections on which a listener is expected. */
struct intake;

/* What is done with a listener that came. LISTENER is the callee's to keep. Returns 0, or -errno
 * with ERROR filled. */
struct mpud_container;
typedef int intake_sink(void *context, int listener, const struct mpud_container *container,
			struct mpu_error *error);

/* SOCKET, the listening one, is borrowed. Returns 0 with INTAKE owned by the caller, or -errno. */
int intake_open(struct intake **intake, const struct mpud_socket *socket, intake_sink *sink,
		void *context);
void intake_close(struct intake *intake);

/* A descriptor that is readable when intake_work() has something to do. */
int intake_fd(const struct intake *intake);

/* Accepts, reads, hands on, gives up who stalls. Returns the milliseconds after which to call again
 * without an event, or -1. Never blocks. */
int intake_work(struct intake *intake);

#endif
