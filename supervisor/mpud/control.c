#include "supervisor/mpud/control.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "supervisor/mpud/socket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

/* One question at a time; who asks slowly does not keep others waiting for long. */
enum { REQUEST_BYTES = 4096, REQUEST_MS = 1000, ANSWER_MS = 5000 };

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, int64_t until)
{
	struct pollfd ready = {.fd = fd, .events = events};
	int64_t left = until - now_ms();

	return left > 0 && poll(&ready, 1, (int)left) == 1;
}

/* Returns the question, or NULL with ERROR filled. */
static struct json_object *read_request(int connection, struct mpu_error *error)
{
	char bytes[REQUEST_BYTES + 1];
	struct json_text text = {.bytes = bytes};
	int64_t until = now_ms() + REQUEST_MS;
	ssize_t got = 1;

	while (got > 0 && !memchr(bytes, '\n', text.length)) {
		if (text.length == REQUEST_BYTES) {
			mpu_fail(error, EMSGSIZE, "a question of more than %d bytes",
				 REQUEST_BYTES);
			return NULL;
		}
		if (!wait_for(connection, POLLIN, until)) {
			mpu_fail(error, ETIMEDOUT, "half a question, and then nothing");
			return NULL;
		}
		got = recv(connection, bytes + text.length, REQUEST_BYTES - text.length,
			   MSG_DONTWAIT);
		text.length += got > 0 ? (size_t)got : 0;
	}
	bytes[text.length] = '\0';
	return json_parse_text(&text, "the question", error);
}

static void write_answer(int connection, struct json_object *answer)
{
	size_t length;
	const char *text =
	    json_object_to_json_string_length(answer, JSON_C_TO_STRING_PLAIN, &length);
	int64_t until = now_ms() + ANSWER_MS;

	while (text && length && wait_for(connection, POLLOUT, until)) {
		ssize_t sent = send(connection, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return;
		text += sent > 0 ? sent : 0;
		length -= sent > 0 ? (size_t)sent : 0;
	}
}

/* A close over what was not read would take the answer away from the peer again. */
static void close_gently(int connection)
{
	char rest[4096];

	shutdown(connection, SHUT_RDWR);
	for (int i = 0; i < 256 && recv(connection, rest, sizeof(rest), MSG_DONTWAIT) > 0; i++)
		;
}

static struct json_object *find_answer(const struct control *control, struct json_object *request,
				       struct mpu_error *error)
{
	static const struct {
		const char *name;
		struct json_object *(*answer)(const struct control *control);
	} known[] = {{"status", control_status}, {"stats", control_stats}};
	const char *name = json_member_string(request, "request");

	for (size_t i = 0; name && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].answer(control);
	mpu_fail(error, EINVAL, "a question that this mpud (" MPU_VERSION ") does not know");
	return NULL;
}

static bool is_trace(struct json_object *request)
{
	const char *name = json_member_string(request, "request");

	return name && strcmp(name, "trace") == 0;
}

/* CONNECTION becomes -1 where it is somebody else's from now on. */
static void serve(const struct control *control, int *connection)
{
	cleanup_json struct json_object *request = NULL;
	cleanup_json struct json_object *answer = NULL;
	struct mpu_error error = {0};

	if (!mpud_socket_is_of_our_user(*connection))
		mpu_fail(&error, EPERM, "only root and the user of mpud may ask");
	else
		request = read_request(*connection, &error);
	if (request && is_trace(request) &&
	    control_trace(control, request, connection, &error) == 0)
		return;
	if (request && !is_trace(request))
		answer = find_answer(control, request, &error);
	if (!answer) {
		answer = json_object_new_object();
		json_object_object_add(answer, "error", json_object_new_string(error.text));
	}
	write_answer(*connection, answer);
	close_gently(*connection);
}

static void *control_thread(void *argument)
{
	const struct control *control = argument;
	struct pollfd ready = {.fd = control->start->control, .events = POLLIN};

	prctl(PR_SET_NAME, "mpu-control");
	sandbox_enter_thread(control->start->sandbox, SANDBOX_CONTROL);
	for (;;) {
		cleanup_close int connection = -1;

		if (poll(&ready, 1, -1) == 1)
			connection = accept4(ready.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (connection >= 0)
			serve(control, &connection);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	}
	return NULL;
}

void control_start(const struct worker_start *start, struct engine *engine,
		   const struct engine_options *options)
{
	static struct control control;
	sigset_t all, before;
	pthread_t thread;
	int result;

	control = (struct control){.start = start, .engine = engine, .options = options};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, NULL, control_thread, &control);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		log_error("cannot answer mpuctl", "error=\"%s\"", strerror(result));
	else
		pthread_detach(thread);
}
