/* The socket on which listeners are handed over. */
#ifndef SUPERVISOR_MPUD_SOCKET_H
#define SUPERVISOR_MPUD_SOCKET_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mpud_socket {
	int fd;
	int type;	/* SOCK_STREAM, or SOCK_SEQPACKET: for LXC's monitors */
	bool inherited; /* from systemd: its file is not ours */
	char path[108]; /* where it listens */
	bool has_group;
	gid_t group; /* whose members may use it */
};

/* Finds where to listen (PATH, or the default where it is NULL) and for whom: the owner alone, or the
 * members of GROUP too where it is not NULL. Opens nothing. Returns 0, or -errno with ERROR filled. */
int mpud_socket_prepare(struct mpud_socket *socket, const char *path, const char *group,
			struct mpu_error *error);

/* The same for the socket of LXC's monitors, which has no default and no group. */
int mpud_socket_prepare_lxc(struct mpud_socket *socket, const char *path, struct mpu_error *error);

/* Makes the socket. A file left behind by a dead mpud is replaced. Returns 0, or -errno with ERROR
 * filled: -EADDRINUSE when another mpud listens there. */
int mpud_socket_open(struct mpud_socket *socket, struct mpu_error *error);

/* Takes the listening socket FD, of systemd (INHERITED) or of another mpud. Returns 0, or -EINVAL with
 * ERROR filled when it is none. */
int mpud_socket_take(struct mpud_socket *socket, int fd, bool inherited, struct mpu_error *error);

/* Closes the socket, and removes its file where it is ours. */
void mpud_socket_close(struct mpud_socket *socket);

/* Whether the peer of CONNECTION may hand listeners over: root, our own user, a member of the
 * socket's group. Returns 0, or -EPERM with ERROR filled. */
int mpud_socket_check_peer(const struct mpud_socket *socket, int connection,
			   struct mpu_error *error);

/* Whether the peer of CONNECTION is root or our own user. */
bool mpud_socket_is_of_our_user(int connection);

/* Tells who waits at CONNECTION how it went: "ok", with CONFINE (struct mpu_settings) of a confined
 * container, or "error WHY" where WHY is not NULL. Never blocks; the connection stays the caller's to
 * close. */
void mpud_socket_answer(int connection, const char *why, uint32_t confine);

#endif
