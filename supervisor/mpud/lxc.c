#include "supervisor/mpud/lxc.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
	MAX_CONNECTIONS = 1024,
	MAX_MESSAGE = 4096,
	EVENTS_AT_ONCE = 256,
	PAUSE_MS = 100,	     /* without descriptors */
	RELEASE_MS = 500,    /* as long as a monitor is kept from its other work */
	GIVEN_UP_MS = 25000, /* LXC waits for 30 s */
};

/* What a message begins with (struct seccomp_notify_proxy_msg of LXC 4.0 and later); behind it come
 * a seccomp_notif, a seccomp_notif_resp and the cookie, in the sizes that it tells. */
struct head {
	uint64_t reserved;
	pid_t monitor, init;
	uint16_t notification_size, response_size, data_size;
	uint64_t cookie_length;
};

/* The descriptors beside a message. */
enum { FD_PROCESS, FD_MEMORY, FD_LISTENER, FD_COUNT, FD_ROOM = 16 };

/* A monitor. Referenced by the proxy while it is connected, and by each of its calls. */
struct connection {
	pthread_mutex_t lock; /* of what follows */
	unsigned int references;
	int fd;			  /* -1 when it has ended */
	struct lxc_call *pending; /* for which the monitor waits */
	int64_t release_at;	  /* CLOCK_MONOTONIC, milliseconds */
	/* The proxy's own: */
	pid_t monitor;
	void *client; /* NULL before the first message */
	bool fresh;   /* no message has come */
	struct connection *next;
};

struct lxc_call {
	struct connection *connection;
	int listener;
	uint64_t id;
	int64_t sent_at; /* CLOCK_REALTIME, milliseconds */
	bool first;	 /* of its connection: it may have been sent before we accepted that */
	/* The answer is the message without its cookie, and with the response in its place. */
	size_t length, response_at;
	char message[];
};

struct lxc_proxy {
	int epoll, socket;
	const struct lxc_sink *sink;
	void *context;
	struct connection *connections;
	unsigned int count;
	bool accepting;
	int64_t accept_again, release_at; /* as above; 0: nothing is due */
};

static int64_t milliseconds(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int64_t now_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return milliseconds(now);
}

/* Unlocks CONNECTION, and gives a reference back. */
static void release(struct connection *connection)
{
	bool last = --connection->references == 0;

	pthread_mutex_unlock(&connection->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&connection->lock);
	free(connection);
}

/* A monitor that has given up has answered the call itself, and would take our answer for that to
 * its next call, whatever the id in it. */
static bool still_waits(const struct lxc_call *call)
{
	return now_ms(CLOCK_REALTIME) - call->sent_at < GIVEN_UP_MS &&
	       (!call->first || notify_id_valid(call->listener, call->id));
}

/* Answers the monitor, or ends the connection. Returns whether the monitor does the rest. */
static bool reply(const struct connection *connection, struct lxc_call *call,
		  struct seccomp_notif_resp response)
{
	memcpy(call->message + call->response_at, &response, sizeof(response));
	if (still_waits(call) && send(connection->fd, call->message, call->length,
				      MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)call->length)
		return true;
	shutdown(connection->fd, SHUT_RDWR);
	return false;
}

void lxc_answer(struct lxc_call *call, struct seccomp_notif_resp response)
{
	struct connection *connection = call->connection;
	bool replied;

	response.id = call->id;
	pthread_mutex_lock(&connection->lock);
	replied = connection->pending == call && reply(connection, call, response);
	if (connection->pending == call)
		connection->pending = NULL;
	release(connection);
	if (!replied)
		notify_respond(call->listener, &response);
	close(call->listener);
	free(call);
}

/* The monitor passes to the kernel what it gets. No kernel takes flags that it does not know, nor a
 * value together with CONTINUE: so this answer ends the monitor's part in the call and leaves the
 * call itself unanswered, at the price of a line in LXC's log. */
static void release_monitor(struct connection *connection)
{
	struct lxc_call *call = connection->pending;

	connection->pending = NULL;
	reply(connection, call,
	      (struct seccomp_notif_resp){
		  .id = call->id, .val = -1, .error = -EINVAL, .flags = UINT32_MAX});
}

static void watch_socket(struct lxc_proxy *proxy, bool accepting)
{
	struct epoll_event event = {.events = accepting ? EPOLLIN : 0, .data.ptr = NULL};

	if (proxy->accepting != accepting &&
	    epoll_ctl(proxy->epoll, EPOLL_CTL_MOD, proxy->socket, &event) == 0)
		proxy->accepting = accepting;
}

static void drop(struct lxc_proxy *proxy, struct connection *connection)
{
	struct connection **link = &proxy->connections;

	while (*link != connection)
		link = &(*link)->next;
	*link = connection->next;
	proxy->count--;
	if (connection->client)
		proxy->sink->close(connection->client);
	pthread_mutex_lock(&connection->lock);
	close(steal_fd(&connection->fd));
	connection->pending = NULL;
	release(connection);
}

/* The monitor answers its call with ENOSYS then, and connects anew for the next one. */
static void refuse(struct lxc_proxy *proxy, struct connection *connection, const char *why)
{
	log_warning("refused what an LXC monitor forwarded", "error=\"%s\"", why);
	drop(proxy, connection);
}

/* A message as it came. */
struct message {
	char bytes[MAX_MESSAGE];
	size_t length;
	int fd[FD_ROOM];
	size_t fd_count;
	int64_t sent_at; /* CLOCK_REALTIME, milliseconds */
};

static void keep_fds(struct message *message, const struct cmsghdr *part)
{
	message->fd_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(message->fd, CMSG_DATA(part), message->fd_count * sizeof(int));
}

static void keep_time(struct message *message, const struct cmsghdr *part)
{
	struct timespec sent;

	memcpy(&sent, CMSG_DATA(part), sizeof(sent));
	message->sent_at = milliseconds(sent);
}

static void keep_control(struct message *message, struct msghdr *header)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		if (part->cmsg_level != SOL_SOCKET)
			continue;
		if (part->cmsg_type == SCM_RIGHTS)
			keep_fds(message, part);
		else if (part->cmsg_type == SCM_TIMESTAMPNS)
			keep_time(message, part);
	}
}

/* Returns 1 with a whole message, 0 when there is none yet, -1 when the connection has ended. */
static int receive(const struct connection *connection, struct message *message)
{
	union {
		char room[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(FD_COUNT * sizeof(int))];
		struct cmsghdr align;
	} control;
	_Static_assert(sizeof(control.room) <= FD_ROOM * sizeof(int) + CMSG_LEN(0),
		       "no more descriptors come than message->fd holds");
	struct iovec data = {.iov_base = message->bytes, .iov_len = sizeof(message->bytes)};
	struct msghdr header = {.msg_iov = &data,
				.msg_iovlen = 1,
				.msg_control = control.room,
				.msg_controllen = sizeof(control.room)};
	ssize_t got = recvmsg(connection->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	keep_control(message, &header);
	message->length = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? 0 : (size_t)got;
	return got > 0 ? 1 : -1;
}

static void close_fds(const struct message *message)
{
	for (size_t i = 0; i < message->fd_count; i++)
		if (message->fd[i] >= 0)
			close(message->fd[i]);
}
#define cleanup_message __attribute__((cleanup(close_fds)))

/* What a message says. */
struct content {
	struct head head;
	struct seccomp_notif notification;
	size_t response_at, length; /* of all but the cookie */
};

/* Returns NULL, or why MESSAGE is none of the protocol. */
static const char *read_message(const struct message *message, struct content *content)
{
	struct head *head = &content->head;

	if (message->length < sizeof(*head))
		return "a message that is too short or too long";
	memcpy(head, message->bytes, sizeof(*head));
	if (head->notification_size < sizeof(struct seccomp_notif) ||
	    head->response_size < sizeof(struct seccomp_notif_resp))
		return "structures smaller than any kernel's";
	content->response_at = sizeof(*head) + head->notification_size;
	content->length = content->response_at + head->response_size;
	if (message->length < content->length ||
	    message->length - content->length != head->cookie_length)
		return "a message of another length than it tells";
	if (message->fd_count != FD_COUNT)
		return "a message without its three descriptors";
	if (!notify_is_listener(message->fd[FD_LISTENER]))
		return "the third descriptor is no seccomp listener";
	memcpy(&content->notification, message->bytes + sizeof(*head),
	       sizeof(content->notification));
	return content->notification.pid ? NULL : "a process that the monitor cannot see";
}

/* A monitor's title is "[lxc monitor] PATH NAME". One in the foreground has none. */
static void find_name(struct lxc_container *container)
{
	static const char title[] = "[lxc monitor] ";
	char path[40], text[512] = "", *name;
	cleanup_file FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", container->monitor);
	file = fopen(path, "re");
	if (file)
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	name = strncmp(text, title, sizeof(title) - 1) == 0 ? strrchr(text, ' ') : NULL;
	if (name)
		snprintf(container->name, sizeof(container->name), "%s", name + 1);
	else
		snprintf(container->name, sizeof(container->name), "lxc-%d", container->init);
}

/* What stays the same for all of a monitor's messages. */
static void introduce(struct lxc_proxy *proxy, struct connection *connection,
		      const struct message *message, const struct content *content)
{
	struct lxc_container container = {.monitor = connection->monitor,
					  .init = content->head.init};
	size_t length = message->length - content->length;

	if (length >= sizeof(container.cookie))
		length = sizeof(container.cookie) - 1;
	memcpy(container.cookie, message->bytes + content->length, length);
	find_name(&container);
	connection->client = proxy->sink->open(proxy->context, &container);
}

static struct lxc_call *new_call(struct connection *connection, struct message *message,
				 const struct content *content)
{
	struct lxc_call *call = malloc(sizeof(*call) + content->length);

	if (!call)
		return NULL;
	call->connection = connection;
	call->listener = steal_fd(&message->fd[FD_LISTENER]);
	call->id = content->notification.id;
	call->sent_at = message->sent_at;
	call->first = connection->fresh;
	connection->fresh = false;
	call->length = content->length;
	call->response_at = content->response_at;
	memcpy(call->message, message->bytes, content->length);
	pthread_mutex_lock(&connection->lock);
	connection->references++;
	connection->pending = call;
	connection->release_at = now_ms(CLOCK_MONOTONIC) + RELEASE_MS;
	pthread_mutex_unlock(&connection->lock);
	return call;
}

static bool waits(struct connection *connection)
{
	bool waits;

	pthread_mutex_lock(&connection->lock);
	waits = connection->pending;
	pthread_mutex_unlock(&connection->lock);
	return waits;
}

static void read_connection(struct lxc_proxy *proxy, struct connection *connection)
{
	cleanup_message struct message message = {0};
	struct content content;
	struct lxc_call *call;
	const char *wrong;
	int result = receive(connection, &message);

	if (result < 0)
		drop(proxy, connection);
	if (result <= 0)
		return;
	wrong = waits(connection) ? "a call before the last one was answered"
				  : read_message(&message, &content);
	if (!wrong && !connection->client)
		introduce(proxy, connection, &message, &content);
	call = !wrong && connection->client ? new_call(connection, &message, &content) : NULL;
	if (!call) {
		refuse(proxy, connection, wrong ? wrong : "out of memory");
		return;
	}
	if (!proxy->release_at)
		proxy->release_at = connection->release_at;
	proxy->sink->call(connection->client, call->listener, &content.notification, call);
}

/* A monitor tells of other processes by number, and we read and write their memory by it. So it
 * must be one of root's, who could do that himself, or of our own user's; and it must live in the
 * initial PID namespace, as the kernel gives the numbers of the namespace in which RECV is called.
 * Returns NULL, or why not. */
static const char *check_peer(int fd, pid_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return "cannot tell who connected";
	*pid = peer.pid;
	if (peer.uid != 0 && peer.uid != geteuid())
		return "it is neither root's nor our own user's";
	return nsfs_id_of(peer.pid, "pid") == NSFS_INIT_PID
		   ? NULL
		   : "it does not live in the initial PID namespace";
}

static void accept_connection(struct lxc_proxy *proxy)
{
	struct epoll_event event = {.events = EPOLLIN};
	cleanup_close int fd = accept4(proxy->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *connection;
	const char *wrong;
	pid_t monitor = 0;
	int on = 1;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
			log_error("cannot accept a connection", "error=\"%s\"", strerror(errno));
			watch_socket(proxy, false);
			proxy->accept_again = now_ms(CLOCK_MONOTONIC) + PAUSE_MS;
		}
		return;
	}
	wrong = check_peer(fd, &monitor);
	if (wrong) {
		log_warning("refused an LXC monitor", "pid=%d error=\"%s\"", monitor, wrong);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	event.data.ptr = connection;
	if (!connection || setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ||
	    epoll_ctl(proxy->epoll, EPOLL_CTL_ADD, fd, &event)) {
		free(connection);
		return;
	}
	connection->fd = steal_fd(&fd);
	connection->references = 1;
	connection->fresh = true;
	connection->monitor = monitor;
	pthread_mutex_init(&connection->lock, NULL);
	connection->next = proxy->connections;
	proxy->connections = connection;
	if (++proxy->count == MAX_CONNECTIONS)
		watch_socket(proxy, false);
}

/* Releases the monitors that have waited for long enough. */
static void release_monitors(struct lxc_proxy *proxy, int64_t now)
{
	proxy->release_at = 0;
	for (struct connection *one = proxy->connections; one; one = one->next) {
		pthread_mutex_lock(&one->lock);
		if (one->pending && one->release_at <= now)
			release_monitor(one);
		else if (one->pending &&
			 (!proxy->release_at || one->release_at < proxy->release_at))
			proxy->release_at = one->release_at;
		pthread_mutex_unlock(&one->lock);
	}
}

static int expire(struct lxc_proxy *proxy)
{
	int64_t now = now_ms(CLOCK_MONOTONIC), next;

	if (proxy->release_at && proxy->release_at <= now)
		release_monitors(proxy, now);
	if (!proxy->accepting && proxy->accept_again <= now && proxy->count < MAX_CONNECTIONS)
		watch_socket(proxy, true);
	next = proxy->release_at;
	if (!proxy->accepting && proxy->accept_again > now && (!next || proxy->accept_again < next))
		next = proxy->accept_again;
	return next ? (int)(next - now) + 1 : -1;
}

int lxc_open(struct lxc_proxy **out, int socket, const struct lxc_sink *sink, void *context)
{
	struct lxc_proxy *proxy = calloc(1, sizeof(*proxy));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	if (!proxy)
		return -ENOMEM;
	*proxy = (struct lxc_proxy){
	    .socket = socket, .sink = sink, .context = context, .accepting = true};
	proxy->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (proxy->epoll < 0 || epoll_ctl(proxy->epoll, EPOLL_CTL_ADD, socket, &event)) {
		int code = errno;

		cleanup_close_fd(&proxy->epoll);
		free(proxy);
		return -code;
	}
	*out = proxy;
	return 0;
}

void lxc_close(struct lxc_proxy *proxy)
{
	while (proxy->connections)
		drop(proxy, proxy->connections);
	close(proxy->epoll);
	free(proxy);
}

int lxc_fd(const struct lxc_proxy *proxy)
{
	return proxy->epoll;
}

int lxc_work(struct lxc_proxy *proxy)
{
	struct epoll_event event;

	/* One at a time: what one event does can end the connection of another. */
	for (int i = 0; i < EVENTS_AT_ONCE && epoll_wait(proxy->epoll, &event, 1, 0) == 1; i++) {
		if (event.data.ptr)
			read_connection(proxy, event.data.ptr);
		else
			accept_connection(proxy);
	}
	return expire(proxy);
}
