#include "supervisor/mpud-protocol.h"

#include "base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ANSWER_MS = 10000 };

/* The user's id outside of the present user namespace. */
static long outer_uid(void)
{
	cleanup_file FILE *map = fopen("/proc/self/uid_map", "re");
	long inner, outer, count, uid = (long)geteuid();

	while (map && fscanf(map, "%ld %ld %ld", &inner, &outer, &count) == 3)
		if (uid >= inner && uid < inner + count)
			return outer + uid - inner;
	return uid;
}

int mpud_default_socket(char *out, size_t size, struct mpu_error *error)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	long uid = outer_uid();
	int length;

	if (uid == 0)
		length = snprintf(out, size, "/run/mpu/mpud.sock");
	else if (runtime_dir && runtime_dir[0] == '/')
		length = snprintf(out, size, "%s/mpu/mpud.sock", runtime_dir);
	else
		length = snprintf(out, size, "/run/user/%ld/mpu/mpud.sock", uid);
	if (length < 0 || (size_t)length >= size)
		return mpu_fail(error, ENAMETOOLONG,
				"the path of mpud's socket is too long: set "
				"another by --socket=PATH");
	return 0;
}

/* A path that is too long is named by its begin: all of it would leave no room for the cause. */
int mpud_socket_address(struct sockaddr_un *address, const char *path, const char *suffix,
			struct mpu_error *error)
{
	size_t room = sizeof(address->sun_path) - strlen(suffix);

	if (!path[0])
		return mpu_fail(error, EINVAL,
				"the path of mpud's socket is empty: give one by "
				"--socket=PATH");
	if (strlen(path) >= room)
		return mpu_fail(
		    error, ENAMETOOLONG,
		    "the socket path %.64s... is too long: it has %zu bytes, and can have "
		    "%zu at most",
		    path, strlen(path), room - 1);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", path, suffix);
	return 0;
}

int mpud_connect(const char *path, struct mpu_error *error)
{
	struct sockaddr_un address;
	cleanup_close int fd = -1;
	int result = mpud_socket_address(&address, path, "", error);

	if (result)
		return result;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return steal_fd(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return mpu_fail(error, errno,
				"mpud does not run: nobody listens at %s; start it (systemctl "
				"start mpud, or mpud --socket=%s), or do without it: mpu-run "
				"without --socket, a container with the annotation "
				"mpu.on-missing=ignore",
				path, path);
	if (errno == EACCES)
		return mpu_fail(error, EACCES,
				"may not use mpud's socket %s: it is its owner's and a group's "
				"(mpud --socket-group=GROUP)",
				path);
	return mpu_fail(error, errno, "cannot reach mpud at %s: %s", path, strerror(errno));
}

static int send_with_fd(int connection, const char *text, size_t length, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec data = {.iov_base = (char *)text, .iov_len = length};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	ssize_t sent;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	while (data.iov_len) {
		sent = sendmsg(connection, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		data.iov_base = (char *)data.iov_base + sent;
		data.iov_len -= (size_t)sent;
		message.msg_control = NULL;
		message.msg_controllen = 0;
	}
	return 0;
}

/* What stands behind "ok" must be the confinement that is expected. */
static int check_agreement(const char *words, bool confine, struct mpu_error *error)
{
	static const char confined[] = " confine=";
	bool agrees = strncmp(words, confined, strlen(confined)) == 0;

	if (confine && !agrees)
		return mpu_fail(error, ECONNREFUSED,
				"mpud took the listener, but does not confine: it is an older one; "
				"restart it (systemctl restart mpud, or mpud --replace)");
	if (words[0] && !agrees)
		return mpu_fail(error, ECONNREFUSED, "mpud's answer is not understood: ok%s", words);
	return 0;
}

static int read_answer(int connection, bool confine, struct mpu_error *error)
{
	struct pollfd ready = {.fd = connection, .events = POLLIN};
	char text[512];
	size_t length = 0;
	ssize_t got = 1;

	while (got > 0 && length < sizeof(text) - 1 && !memchr(text, '\n', length)) {
		if (poll(&ready, 1, ANSWER_MS) != 1)
			return mpu_fail(error, ETIMEDOUT, "mpud did not answer for %d s",
					ANSWER_MS / 1000);
		got = read(connection, text + length, sizeof(text) - 1 - length);
		if (got < 0)
			return mpu_fail(error, errno, "lost mpud: %s", strerror(errno));
		length += (size_t)got;
	}
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (strncmp(text, "ok", 2) == 0)
		return check_agreement(text + 2, confine, error);
	return mpu_fail(error, ECONNREFUSED, "mpud did not take the listener: %s",
			strncmp(text, "error ", 6) == 0 ? text + 6 : "no answer");
}

int mpud_send_state(int connection, int listener, const char *state, size_t length, bool confine,
		    struct mpu_error *error)
{
	int result = send_with_fd(connection, state, length, listener);

	/* A broken pipe is an answer: mpud has said why, and closed. */
	if (result && result != -EPIPE)
		return mpu_fail(error, -result, "cannot send the listener to mpud: %s",
				strerror(-result));
	shutdown(connection, SHUT_WR);
	return read_answer(connection, confine, error);
}
