#include "supervisor/mpud/socket.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { BACKLOG = 256 };

int mpud_socket_take(struct mpud_socket *own, int fd, bool inherited, struct mpu_error *error)
{
	struct sockaddr_un address;
	int listens = 0;
	socklen_t size = sizeof(listens), length = sizeof(address);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens)
		return mpu_fail(error, EINVAL, "descriptor %d, which came with the start, is no "
				"listening socket", fd);
	if (!getsockname(fd, (struct sockaddr *)&address, &length) &&
	    address.sun_family == AF_UNIX && length > offsetof(struct sockaddr_un, sun_path))
		snprintf(own->path, sizeof(own->path), "%.*s", (int)sizeof(address.sun_path) - 1,
			 address.sun_path);
	own->fd = fd;
	own->inherited = inherited;
	fcntl(own->fd, F_SETFD, FD_CLOEXEC);
	fcntl(own->fd, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Of the machine's own groups: others would take the name service's libraries, which crash a static
 * program. */
static int find_group(const char *name, gid_t *gid, struct mpu_error *error)
{
	cleanup_file FILE *file = fopen("/etc/group", "re");
	const struct group *group = NULL;
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	*gid = (gid_t)number;
	if (name[0] >= '0' && name[0] <= '9' && !*end)
		return number < UINT32_MAX
			   ? 0
			   : mpu_fail(error, ERANGE,
				      "--socket-group=%s: no group has such a number", name);
	while (file && (group = fgetgrent(file)) && strcmp(group->gr_name, name) != 0)
		;
	if (!group)
		return mpu_fail(error, ENOENT,
				"/etc/group has no group %s: name one of another kind by its number "
				"(getent group %s)",
				name, name);
	*gid = group->gr_gid;
	return 0;
}

static int make_folder(const char *path, struct mpu_error *error)
{
	cleanup_free char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (mkdir(folder, geteuid() == 0 ? 0755 : 0700) && errno != EEXIST)
		return mpu_fail(error, errno, "cannot make the folder %s for the socket: %s",
				folder, strerror(errno));
	return 0;
}

static bool is_listened_at(const char *path, int type)
{
	cleanup_close int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, path);
	return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* A socket file on which nobody listens is what a killed mpud leaves. */
static int clear_path(const char *path, int type, struct mpu_error *error)
{
	struct stat st;

	if (is_listened_at(path, type))
		return mpu_fail(error, EADDRINUSE, "another mpud listens at %s", path);
	if (lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return mpu_fail(error, EEXIST, "%s is there already and is no socket", path);
	if (unlink(path))
		return mpu_fail(error, errno, "cannot replace %s: %s", path, strerror(errno));
	return 0;
}

static int bind_socket(struct mpud_socket *own, struct mpu_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t before;
	int failed;

	strcpy(address.sun_path, own->path);
	own->fd = socket(AF_UNIX, own->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (own->fd < 0)
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	/* Nobody shall be able to connect before the owner and the mode are right. */
	before = umask(0177);
	failed = bind(own->fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
	umask(before);
	if (failed)
		return mpu_fail(error, failed, "cannot make the socket %s: %s", own->path,
				strerror(failed));
	if (own->has_group && (chown(own->path, (uid_t)-1, own->group) || chmod(own->path, 0660)))
		return mpu_fail(error, errno, "cannot give %s to its group: %s", own->path,
				strerror(errno));
	if (listen(own->fd, BACKLOG))
		return mpu_fail(error, errno, "cannot listen at %s: %s", own->path,
				strerror(errno));
	return 0;
}

int mpud_socket_prepare(struct mpud_socket *own, const char *path, const char *group,
			struct mpu_error *error)
{
	struct sockaddr_un address;
	int result = 0;

	*own = (struct mpud_socket){.fd = -1, .type = SOCK_STREAM, .has_group = group != NULL};
	if (group)
		result = find_group(group, &own->group, error);
	if (result)
		return result;
	if (!path)
		return mpud_default_socket(own->path, sizeof(own->path), error);
	result = mpud_socket_address(&address, path, "", error);
	if (!result)
		strcpy(own->path, address.sun_path);
	return result;
}

int mpud_socket_prepare_lxc(struct mpud_socket *own, const char *path, struct mpu_error *error)
{
	int result = mpud_socket_prepare(own, path, NULL, error);

	own->type = SOCK_SEQPACKET;
	return result;
}

int mpud_socket_open(struct mpud_socket *own, struct mpu_error *error)
{
	int result = make_folder(own->path, error);

	if (!result)
		result = clear_path(own->path, own->type, error);
	return result ? result : bind_socket(own, error);
}

void mpud_socket_close(struct mpud_socket *own)
{
	if (!own->inherited && own->fd >= 0)
		unlink(own->path);
	if (own->fd >= 0)
		close(own->fd);
	own->fd = -1;
}

bool mpud_socket_is_of_our_user(int connection)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return !getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static bool is_member(int connection, gid_t group)
{
	gid_t groups[1024];
	socklen_t size = sizeof(groups);

	if (getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

int mpud_socket_check_peer(const struct mpud_socket *own, int connection, struct mpu_error *error)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return mpu_fail(error, errno, "cannot tell who connected: %s", strerror(errno));
	if (peer.uid == 0 || peer.uid == geteuid())
		return 0;
	if (own->has_group && (peer.gid == own->group || is_member(connection, own->group)))
		return 0;
	return mpu_fail(error, EPERM, "user %u may not hand listeners over", peer.uid);
}

void mpud_socket_answer(int connection, const char *why, uint32_t confine)
{
	char line[sizeof(((struct mpu_error *)NULL)->text) + 16], rest[4096];
	char words[MPU_CONFINE_TEXT];
	int length = why ? snprintf(line, sizeof(line), "error %s\n", why)
			 : snprintf(line, sizeof(line), "ok%s%s\n", confine ? " confine=" : "",
				    mpu_confine_words(confine, words));

	if (send(connection, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	    errno != EPIPE && errno != ECONNRESET)
		log_warning("who brought a listener does not hear our answer", "answer=\"%.*s\" error=\"%s\"",
			    length - 1, line, strerror(errno));
	/* Closing a socket with unread data would take the answer away from the peer again. */
	shutdown(connection, SHUT_RD);
	while (recv(connection, rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
}
