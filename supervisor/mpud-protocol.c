#include "supervisor/mpud-protocol.h"

#include "base/cleanup.h"
#include "base/json.h"

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

int mpud_connect(const char *path, struct mpu_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return mpu_fail(error, ENAMETOOLONG,
				"the socket path %s is too long: a UNIX socket's path has at most "
				"%zu bytes",
				path, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return steal_fd(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return mpu_fail(error, errno,
				"mpud does not run: nobody listens at %s; start it (systemctl "
				"start mpud, or mpud --socket=%s), or let containers start without "
				"it by the annotation mpu.on-missing=ignore",
				path, path);
	if (errno == EACCES)
		return mpu_fail(error, EACCES,
				"may not use mpud's socket %s: it is its owner's and a group's "
				"(mpud --socket-group=GROUP)",
				path);
	return mpu_fail(error, errno, "cannot reach mpud at %s: %s", path, strerror(errno));
}

int mpud_filter_of(const char *metadata, enum filter_kind *kind)
{
	static const char name[] = MPUD_FILTER_WORD "=";
	cleanup_free char *words = metadata ? strdup(metadata) : NULL;
	char *rest = words, *word;
	bool found = false;

	*kind = FILTER_PIDS;
	if (metadata && !words)
		return -ENOMEM;
	while ((word = rest ? strsep(&rest, " ") : NULL)) {
		if (strncmp(word, name, strlen(name)) != 0)
			continue;
		if (found || !filter_kind_parse(word + strlen(name), kind))
			return -EINVAL;
		found = true;
	}
	return 0;
}

static void add_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value ? value : ""));
}

static struct json_object *state_json(const struct mpud_container *container)
{
	struct json_object *message = json_object_new_object();
	struct json_object *state = json_object_new_object();
	struct json_object *fds = json_object_new_array();

	json_object_array_add(fds, json_object_new_string(MPUD_LISTENER_NAME));
	add_string(message, "ociVersion", "1.0.2");
	json_object_object_add(message, "fds", fds);
	json_object_object_add(message, "pid", json_object_new_int(container->process));
	add_string(message, "metadata", container->metadata);
	add_string(state, "ociVersion", "1.0.2");
	add_string(state, "id", container->id);
	add_string(state, "status", "creating");
	json_object_object_add(state, "pid", json_object_new_int(container->pid));
	add_string(state, "bundle", container->bundle);
	if (container->annotations)
		json_object_object_add(state, "annotations",
				       json_object_get(container->annotations));
	json_object_object_add(message, "state", state);
	return message;
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

int mpud_send_listener(int connection, int listener, const struct mpud_container *container,
		       struct mpu_error *error)
{
	cleanup_json struct json_object *message = state_json(container);
	size_t length;
	const char *text =
	    json_object_to_json_string_length(message, JSON_C_TO_STRING_PLAIN, &length);
	int result = text ? send_with_fd(connection, text, length, listener) : -ENOMEM;

	/* A broken pipe is an answer: mpud has said why, and closed. */
	if (result && result != -EPIPE)
		return mpu_fail(error, -result, "cannot send the listener to mpud: %s",
				strerror(-result));
	shutdown(connection, SHUT_WR);
	return read_answer(connection, container->confine, error);
}

static int read_pid(struct json_object *object, const char *what, pid_t *pid,
		    struct mpu_error *error)
{
	struct json_object *member = json_member(object, "pid", json_type_int);
	int64_t value = member ? json_object_get_int64(member) : 0;

	if (!member)
		return mpu_fail(error, EINVAL, "the %s has no pid", what);
	if (value < 0 || value > INT_MAX)
		return mpu_fail(error, EINVAL, "the %s has the pid %lld, which no process has",
				what, (long long)value);
	*pid = (pid_t)value;
	return 0;
}

int mpud_read_state(struct json_object *state, struct mpud_container *container, size_t *index,
		    struct mpu_error *error)
{
	struct json_object *inner = json_member(state, "state", json_type_object);
	struct json_object *fds = json_member(state, "fds", json_type_array);
	size_t count = fds ? json_object_array_length(fds) : 0;
	int result = read_pid(state, "message", &container->process, error);

	if (result)
		return result;
	if (!inner)
		return mpu_fail(error, EINVAL, "the message has no state of a container");
	/* The specification wants it from the status "created" on only. */
	container->pid = container->process;
	if (json_object_object_get_ex(inner, "pid", NULL))
		result = read_pid(inner, "container's state", &container->pid, error);
	if (result)
		return result;
	container->id = json_member_string(inner, "id");
	container->bundle = json_member_string(inner, "bundle");
	container->metadata = json_member_string(state, "metadata");
	container->annotations = json_member(inner, "annotations", json_type_object);
	if (!container->id || !container->id[0])
		return mpu_fail(error, EINVAL, "the container's state has no id");
	for (*index = 0; *index < count; ++*index) {
		const char *name = json_object_get_string(json_object_array_get_idx(fds, *index));

		if (name && strcmp(name, MPUD_LISTENER_NAME) == 0)
			return 0;
	}
	return mpu_fail(error, EINVAL, "the message names no %s among its fds", MPUD_LISTENER_NAME);
}
