/* How a seccomp listener reaches mpud: over a UNIX stream socket, one connection a listener, with
 * the ContainerProcessState of the OCI runtime specification (config-linux.md, seccomp) as JSON and
 * the file descriptor beside it. Runtimes send it and close; mpud answers in one line, "ok" or
 * "error TEXT", for those who wait, and closes. Of a confined container it answers "ok confine=WORDS",
 * so that an older mpud, which would not confine it, is not taken at its "ok". */
#ifndef SUPERVISOR_MPUD_PROTOCOL_H
#define SUPERVISOR_MPUD_PROTOCOL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct json_object;
struct sockaddr_un;

/* The name of the listener in "fds". */
#define MPUD_LISTENER_NAME "seccompFd"

/* The socket of mpud: root's /run/mpu/mpud.sock, or an ordinary user's
 * $XDG_RUNTIME_DIR/mpu/mpud.sock, told by the user's id outside of the present user namespace, as
 * rootless engines run their hooks as root of their own. Writes to OUT, of SIZE bytes. Returns 0,
 * or -errno with ERROR filled. */
int mpud_default_socket(char *out, size_t size, struct mpu_error *error);

/* Fills ADDRESS with PATH, and SUFFIX behind it. Returns 0, or -errno with ERROR filled. */
int mpud_socket_address(struct sockaddr_un *address, const char *path, const char *suffix,
			struct mpu_error *error);

/* Connects to the mpud that listens at PATH. Returns the socket, owned by the caller, or -errno
 * with ERROR filled: what to start, when nobody listens. */
int mpud_connect(const char *path, struct mpu_error *error);

/* What a container's process is, as its runtime says it. Strings are borrowed, NULL or empty where
 * they are not known. */
struct mpud_container {
	const char *id;
	const char *bundle;
	const char *metadata;
	/* The container's init, and the process that the listener is of: the init or an exec'd one,
	 * for which crun 1.8.1 says 0. */
	pid_t pid, process;
	struct json_object *annotations; /* an object, or NULL */
	uint32_t confine; /* what its filter was made for (struct mpu_settings); not sent, see metadata */
};

/* Sends LISTENER, which stays the caller's, over CONNECTION, and waits for the answer. Returns 0,
 * or -errno with ERROR filled: -ECONNREFUSED with mpud's own words when it did not take it, or when it
 * took a container to be confined and does not say that it is. */
int mpud_send_listener(int connection, int listener, const struct mpud_container *container,
		       struct mpu_error *error);

/* The same with the whole ContainerProcessState, LENGTH bytes of JSON. CONFINE: the container is to be
 * confined. */
int mpud_send_state(int connection, int listener, const char *state, size_t length, bool confine,
		    struct mpu_error *error);

/* Reads a parsed ContainerProcessState into CONTAINER, which borrows from STATE, and the index of
 * the listener among the descriptors that came along into INDEX. Returns 0, or -EINVAL with ERROR
 * filled. */
int mpud_read_state(struct json_object *state, struct mpud_container *container, size_t *index,
		    struct mpu_error *error);

#endif
