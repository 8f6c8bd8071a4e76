/* Connections of runtimes and hooks: each brings one listener, in one message or in pieces. */
#include "supervisor/mpud/mpud.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "supervisor/mpud-protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
	MAX_CONNECTIONS = 256,
	MAX_MESSAGE =
	    1 << 20,	   /* a state with its annotations; the kubelet allows 256 KiB of these */
	MAX_FDS = 253,	   /* SCM_MAX_FD: what the kernel passes in one message */
	MAX_ATTEMPTS = 64, /* to see a whole message in what has come so far */
	PATIENCE_MS = 5000,
	PAUSE_MS = 100, /* without descriptors */
	EVENTS_AT_ONCE = 256,
	CHUNK = 65536,
};

struct connection {
	int fd;
	int64_t deadline; /* CLOCK_MONOTONIC, milliseconds */
	struct json_text text;
	size_t room;
	int attempts;
	int fds[MAX_FDS];
	size_t fd_count;
	struct connection *next;
};

struct intake {
	int epoll;
	const struct mpud_socket *socket;
	intake_sink *sink;
	void *context;
	struct connection *connections;
	unsigned int count;
	bool accepting;
	int64_t accept_again; /* as deadline */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void watch_socket(struct intake *intake, bool accepting)
{
	struct epoll_event event = {.events = accepting ? EPOLLIN : 0, .data.ptr = NULL};

	if (intake->accepting == accepting)
		return;
	if (epoll_ctl(intake->epoll, EPOLL_CTL_MOD, intake->socket->fd, &event) == 0)
		intake->accepting = accepting;
}

static void drop(struct intake *intake, struct connection *connection)
{
	struct connection **link = &intake->connections;

	while (*link != connection)
		link = &(*link)->next;
	*link = connection->next;
	for (size_t i = 0; i < connection->fd_count; i++)
		close(connection->fds[i]);
	close(connection->fd);
	free(connection->text.bytes);
	free(connection);
	intake->count--;
}

/* Says how it went, to whom still listens, and ends the connection. */
static void answer(struct intake *intake, struct connection *connection,
		   const struct mpu_error *error)
{
	char line[sizeof(error->text) + 16], rest[4096];
	int length = error->code ? snprintf(line, sizeof(line), "error %s\n", error->text)
				 : snprintf(line, sizeof(line), "ok\n");

	if (error->code)
		log_warning("refused what came over the socket", "error=\"%s\"", error->text);
	(void)!send(connection->fd, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* Closing a socket with unread data would take the answer away from the peer again. */
	shutdown(connection->fd, SHUT_RD);
	while (recv(connection->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
	drop(intake, connection);
}

static void refuse(struct intake *intake, struct connection *connection, int code, const char *why)
{
	struct mpu_error error = {0};

	mpu_fail(&error, code, "%s", why);
	answer(intake, connection, &error);
}

/* A listener and nothing else: what else could come would be waited on, read from or worse. Told
 * by its name in /proc before anything is done with it. */
static bool is_listener(int fd)
{
	char path[40], name[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, name, sizeof(name) - 1);
	if (length < 0)
		return false;
	name[length] = '\0';
	return strcmp(name, "anon_inode:seccomp notify") == 0;
}

static int hand_on(struct intake *intake, struct connection *connection, struct json_object *state,
		   struct mpu_error *error)
{
	struct mpud_container container = {0};
	char label[ENGINE_LABEL];
	size_t index;
	int listener, result = mpud_read_state(state, &container, &index, error);

	if (result)
		return result;
	mpud_label(container.id, label);
	if (index >= connection->fd_count)
		return mpu_fail(error, EBADF,
				"container %s: %zu descriptors came along, the "
				"listener should be number %zu",
				label, connection->fd_count, index + 1);
	if (!is_listener(connection->fds[index]))
		return mpu_fail(error, EBADF,
				"container %s: the descriptor that came along is no seccomp "
				"listener",
				label);
	listener = connection->fds[index];
	connection->fds[index] = connection->fds[--connection->fd_count];
	return intake->sink(intake->context, listener, &container, error);
}

/* Looks whether the message is whole. ENDED says that nothing more comes. */
static void try_message(struct intake *intake, struct connection *connection, bool ended)
{
	cleanup_json struct json_object *state = NULL;
	struct mpu_error error = {0};

	if (ended && connection->text.length == 0 && connection->fd_count == 0) {
		drop(intake, connection); /* somebody looked whether we are there */
		return;
	}
	if (!ended && (connection->text.length == 0 || connection->attempts++ >= MAX_ATTEMPTS))
		return;
	state = json_parse_text(&connection->text, "the message", &error);
	if (!state && !ended)
		return;
	if (state)
		hand_on(intake, connection, state, &error);
	answer(intake, connection, &error);
}

static int make_room(struct connection *connection)
{
	size_t room = connection->room ? connection->room * 2 : CHUNK;
	char *bytes;

	if (connection->room - connection->text.length > CHUNK / 2)
		return 0;
	bytes = realloc(connection->text.bytes, room);
	if (!bytes)
		return -ENOMEM;
	connection->text.bytes = bytes;
	connection->room = room;
	return 0;
}

/* Keeps the descriptors of MESSAGE. Returns false when there are too many. */
static bool keep_fds(struct connection *connection, struct msghdr *message)
{
	bool fits = !(message->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
			if (connection->fd_count < MAX_FDS) {
				connection->fds[connection->fd_count++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

static void read_connection(struct intake *intake, struct connection *connection)
{
	union {
		char room[CMSG_SPACE(MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec data;
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	ssize_t got;

	if (make_room(connection)) {
		refuse(intake, connection, ENOMEM, "out of memory");
		return;
	}
	data.iov_base = connection->text.bytes + connection->text.length;
	data.iov_len = connection->room - connection->text.length - 1;
	got = recvmsg(connection->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0) {
		refuse(intake, connection, errno, "the connection broke");
		return;
	}
	connection->text.length += (size_t)got;
	connection->text.bytes[connection->text.length] = '\0';
	if (!keep_fds(connection, &message))
		refuse(intake, connection, EMFILE,
		       "more descriptors came along than a message "
		       "carries");
	else if (connection->text.length > MAX_MESSAGE)
		refuse(intake, connection, EMSGSIZE, "a message of more than 1 MiB");
	else
		try_message(intake, connection, got == 0);
}

static void accept_connection(struct intake *intake)
{
	struct connection *connection;
	struct mpu_error error = {0};
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
	int fd = accept4(intake->socket->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
			log_error("cannot accept a connection", "error=\"%s\"", strerror(errno));
			watch_socket(intake, false);
			intake->accept_again = now_ms() + PAUSE_MS;
		}
		return;
	}
	connection = calloc(1, sizeof(*connection));
	event.data.ptr = connection;
	if (!connection || epoll_ctl(intake->epoll, EPOLL_CTL_ADD, fd, &event)) {
		free(connection);
		close(fd);
		return;
	}
	connection->fd = fd;
	connection->deadline = now_ms() + PATIENCE_MS;
	connection->next = intake->connections;
	intake->connections = connection;
	if (++intake->count == MAX_CONNECTIONS)
		watch_socket(intake, false);
	if (mpud_socket_check_peer(intake->socket, fd, &error))
		answer(intake, connection, &error);
}

/* Gives up who stalls, and accepts again where there is room again. Returns the milliseconds until
 * the next of that is due, or -1. */
static int expire(struct intake *intake)
{
	int64_t now = now_ms(), first = INT64_MAX;
	struct connection *next;

	for (struct connection *one = intake->connections; one; one = next) {
		next = one->next;
		if (one->deadline <= now)
			refuse(intake, one, ETIMEDOUT, "half a message, and then nothing for 5 s");
		else if (one->deadline < first)
			first = one->deadline;
	}
	if (!intake->accepting && intake->accept_again > now && intake->accept_again < first)
		first = intake->accept_again;
	if (intake->accept_again <= now && intake->count < MAX_CONNECTIONS)
		watch_socket(intake, true);
	return first == INT64_MAX ? -1 : (int)(first - now) + 1;
}

int intake_open(struct intake **out, const struct mpud_socket *socket, intake_sink *sink,
		void *context)
{
	struct intake *intake = calloc(1, sizeof(*intake));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	if (!intake)
		return -ENOMEM;
	*intake =
	    (struct intake){.socket = socket, .sink = sink, .context = context, .accepting = true};
	intake->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (intake->epoll < 0 || epoll_ctl(intake->epoll, EPOLL_CTL_ADD, socket->fd, &event)) {
		int code = errno;

		if (intake->epoll >= 0)
			close(intake->epoll);
		free(intake);
		return -code;
	}
	*out = intake;
	return 0;
}

void intake_close(struct intake *intake)
{
	while (intake->connections)
		drop(intake, intake->connections);
	close(intake->epoll);
	free(intake);
}

int intake_fd(const struct intake *intake)
{
	return intake->epoll;
}

int intake_work(struct intake *intake)
{
	struct epoll_event event;

	/* One at a time: what one event does can end the connection of another. */
	for (int i = 0; i < EVENTS_AT_ONCE && epoll_wait(intake->epoll, &event, 1, 0) == 1; i++) {
		if (event.data.ptr)
			read_connection(intake, event.data.ptr);
		else
			accept_connection(intake);
	}
	return expire(intake);
}
