#include "supervisor/mpud/lxc.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/signals.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/mpud/lxc-message.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
	MAX_CONNECTIONS = 1024,
	EVENTS_AT_ONCE = 256,
	PAUSE_MS = 100,	     /* without descriptors */
	RELEASE_MS = 500,    /* as long as a monitor is kept from its other work */
	GIVEN_UP_MS = 25000, /* LXC waits for 30 s */
};

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
	int epoll, socket, stop;
	pthread_t thread;
	const struct lxc_sink *sink;
	void *context;
	struct connection *connections;
	unsigned int count;
	bool accepting, stopped;
	int64_t accept_again, release_at; /* as above; 0: nothing is due */
};

static int64_t now_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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
		      const struct lxc_message *message)
{
	struct lxc_container container = {.monitor = connection->monitor,
					  .init = message->head.init};
	size_t length = message->size - message->length;

	if (length >= sizeof(container.cookie))
		length = sizeof(container.cookie) - 1;
	memcpy(container.cookie, message->bytes + message->length, length);
	find_name(&container);
	connection->client = proxy->sink->open(proxy->context, &container);
}

static struct lxc_call *new_call(struct connection *connection, struct lxc_message *message)
{
	struct lxc_call *call = malloc(sizeof(*call) + message->length);

	if (!call)
		return NULL;
	call->connection = connection;
	call->listener = steal_fd(&message->fd[LXC_FD_LISTENER]);
	call->id = message->notification.id;
	call->sent_at = message->sent_at;
	call->first = connection->fresh;
	call->length = message->length;
	call->response_at = message->response_at;
	memcpy(call->message, message->bytes, message->length);
	connection->fresh = false;
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
	cleanup_lxc_message struct lxc_message message = {0};
	struct lxc_call *call;
	const char *wrong;
	int result = lxc_message_receive(connection->fd, &message);

	if (result < 0)
		drop(proxy, connection);
	if (result <= 0)
		return;
	wrong = waits(connection) ? "a call before the last one was answered"
				  : lxc_message_read(&message);
	if (!wrong && !connection->client)
		introduce(proxy, connection, &message);
	call = !wrong && connection->client ? new_call(connection, &message) : NULL;
	if (!call) {
		refuse(proxy, connection, wrong ? wrong : "out of memory");
		return;
	}
	if (!proxy->release_at)
		proxy->release_at = connection->release_at;
	proxy->sink->call(connection->client, call->listener, &message.notification, call);
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
	if (!connection || lxc_message_prepare(fd) ||
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

/* Accepts, reads, hands on, releases monitors. Returns the milliseconds after which to come again
 * without an event, or -1. */
static int work(struct lxc_proxy *proxy)
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

static void *serve(void *argument)
{
	struct lxc_proxy *proxy = argument;
	struct pollfd ready[] = {{.fd = proxy->stop, .events = POLLIN},
				 {.fd = proxy->epoll, .events = POLLIN}};
	int wait_ms = -1;

	prctl(PR_SET_NAME, "mpu-lxc");
	for (;;) {
		if (poll(ready, 2, wait_ms) > 0 && ready[0].revents)
			return NULL;
		wait_ms = work(proxy);
	}
}

/* Signals are the business of the program around us. */
static int start_thread(struct lxc_proxy *proxy)
{
	sigset_t all, before;
	int result;

	signals_of_others(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&proxy->thread, NULL, serve, proxy);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -result;
}

static void free_proxy(struct lxc_proxy *proxy)
{
	cleanup_close_fd(&proxy->epoll);
	cleanup_close_fd(&proxy->stop);
	free(proxy);
}

int lxc_open(struct lxc_proxy **out, int socket, const struct lxc_sink *sink, void *context)
{
	struct lxc_proxy *proxy = calloc(1, sizeof(*proxy));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int result;

	if (!proxy)
		return -ENOMEM;
	*proxy = (struct lxc_proxy){.epoll = epoll_create1(EPOLL_CLOEXEC),
				    .stop = eventfd(0, EFD_CLOEXEC),
				    .socket = socket,
				    .sink = sink,
				    .context = context,
				    .accepting = true};
	if (proxy->epoll < 0 || proxy->stop < 0 ||
	    epoll_ctl(proxy->epoll, EPOLL_CTL_ADD, socket, &event))
		result = -errno;
	else
		result = start_thread(proxy);
	if (result) {
		free_proxy(proxy);
		return result;
	}
	*out = proxy;
	return 0;
}

static void stop_thread(struct lxc_proxy *proxy)
{
	if (proxy->stopped)
		return;
	eventfd_write(proxy->stop, 1);
	pthread_join(proxy->thread, NULL);
	proxy->stopped = true;
}

void lxc_drain(struct lxc_proxy *proxy)
{
	struct connection *next;

	stop_thread(proxy);
	for (struct connection *one = proxy->connections; one; one = one->next)
		shutdown(one->fd, SHUT_RD);
	for (struct connection *one = proxy->connections; one; one = next) {
		next = one->next;
		if (!waits(one))
			read_connection(proxy, one);
	}
}

void lxc_close(struct lxc_proxy *proxy)
{
	stop_thread(proxy);
	while (proxy->connections)
		drop(proxy, proxy->connections);
	free_proxy(proxy);
}
