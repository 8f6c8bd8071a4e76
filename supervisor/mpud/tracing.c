/* mpuctl trace: a connection that one container's calls are told over until one of the two ends. Who
 * calls only puts lines into a buffer; a thread for each connection sends them. */
#include "supervisor/mpud/control.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/signals.h"
#include "supervisor/mpud/lines.h"
#include "supervisor/trace/text.h"
#include "supervisor/trace/trace.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

/* SESSIONS at a time, of BUFFER bytes each. Lines are sent every TICK; every so many of them it is
 * looked whether the container is there still. For its last lines a call in flight is waited for, and
 * a reader. */
enum { SESSIONS = 8, BUFFER = 2 << 20, TICK_MS = 25, LOOK_TICKS = 8, CALLS_MS = 300, LAST_MS = 5000 };

struct session {
	const struct control *control;
	char label[JOURNAL_LABEL];
	int connection;
	bool broken; /* nobody reads */
	struct selection *selection;
	struct trace_sink sink;
	struct trace *trace;
	struct lines lines;
	char *unsent;
	size_t sent, length; /* of it */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool released;
};

static _Atomic unsigned int sessions;

/* ---- Which container ---- */

static bool is_served(const struct journal_listener *entry)
{
	uint32_t state = atomic_load(&entry->state);

	return state == JOURNAL_LISTENER_HELD || state == JOURNAL_LISTENER_PENDING;
}

static bool is_called(const struct journal_listener *entry, const char *word)
{
	const char *name = strstr(entry->about, "name=");

	while (name && name != entry->about && name[-1] != '\n')
		name = strstr(name + 1, "name=");
	name = name ? name + strlen("name=") : "";
	return strcspn(name, "\n") == strlen(word) && !strncmp(name, word, strlen(word));
}

/* 3: the very id, 2: the name, 1: the begin of the id. */
static int match(const struct journal_listener *entry, const char *word)
{
	if (strcmp(entry->label, word) == 0)
		return 3;
	if (is_called(entry, word))
		return 2;
	return strncmp(entry->label, word, strlen(word)) == 0;
}

/* Returns a listener of the container that WORD means, or NULL with ERROR filled. */
static const struct journal_listener *find_container(struct journal *journal, const char *word,
						     struct mpu_error *error)
{
	const struct journal_listener *found = NULL, *other = NULL;
	int best = 0;

	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		const struct journal_listener *entry = journal_listener(journal, i);
		int how = is_served(entry) && *word ? match(entry, word) : 0;

		if (!how || how < best || (found && how == best && !strcmp(entry->label, found->label)))
			continue;
		other = how == best ? entry : NULL;
		found = how == best ? found : entry;
		best = how;
	}
	if (other)
		mpu_fail(error, ENOTUNIQ, "%s may be %s or %s: say more of it", word, found->label,
			 other->label);
	else if (!found)
		mpu_fail(error, ENOENT,
			 "no container whose id begins with %s or whose name it is (mpuctl status "
			 "lists those that it serves)",
			 *word ? word : "nothing");
	return other ? NULL : found;
}

static bool is_there(const struct session *session)
{
	struct journal *journal = session->control->start->journal;

	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		const struct journal_listener *entry = journal_listener(journal, i);

		if (is_served(entry) && strcmp(entry->label, session->label) == 0)
			return true;
	}
	return false;
}

/* ---- On the way of a call ---- */

static bool has_room(void *context)
{
	struct session *session = context;

	return lines_have_room(&session->lines);
}

static void put(void *context, const char *bytes, size_t length, bool keeps)
{
	struct session *session = context;

	lines_put(&session->lines, '=', bytes, length, keeps);
}

static void drop(void *context)
{
	struct session *session = context;

	lines_drop(&session->lines);
}

static void released(void *context)
{
	struct session *session = context;

	pthread_mutex_lock(&session->lock);
	session->released = true;
	pthread_cond_signal(&session->changed);
	pthread_mutex_unlock(&session->lock);
}

/* ---- Sending ---- */

/* Sends what the connection takes now. */
static void send_some(struct session *session)
{
	while (!session->broken) {
		ssize_t sent;

		if (session->sent == session->length) {
			free(steal_ptr(session->unsent));
			session->sent = 0;
			session->length = lines_take(&session->lines, &session->unsent);
		}
		if (!session->length)
			return;
		sent = send(session->connection, session->unsent + session->sent,
			    session->length - session->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN)
			return;
		session->broken = sent < 0 && errno != EINTR;
		session->sent += sent > 0 ? (size_t)sent : 0;
	}
}

static void send_rest(struct session *session)
{
	struct pollfd ready = {.fd = session->connection, .events = POLLOUT};

	for (int left = LAST_MS; left > 0 && !session->broken; left -= TICK_MS) {
		send_some(session);
		if (!session->length)
			return;
		poll(&ready, 1, TICK_MS);
	}
}

static void tell(struct session *session, struct json_object *what)
{
	struct text line cleanup_text = {0};

	text_format(&line, "%s\n", json_object_to_json_string_ext(what, JSON_C_TO_STRING_PLAIN));
	if (line.bytes)
		lines_put(&session->lines, '!', line.bytes, line.length, true);
	json_object_put(what);
}

/* Returns whether it is to go on: mpuctl has closed its end, or its half of it, else. */
static bool is_wanted(struct session *session, short events)
{
	char byte;

	if (events & (POLLHUP | POLLERR))
		session->broken = true;
	return !session->broken &&
	       (!(events & POLLIN) || recv(session->connection, &byte, 1, MSG_DONTWAIT) > 0);
}

/* Returns why it ended. */
static const char *go_on(struct session *session)
{
	for (unsigned int tick = 1;; tick++) {
		struct pollfd ready = {.fd = session->connection, .events = POLLIN};

		if (session->length)
			ready.events |= POLLOUT;
		poll(&ready, 1, TICK_MS);
		if (!is_wanted(session, ready.revents))
			return "asked";
		send_some(session);
		if (tick % LOOK_TICKS == 0 && !is_there(session))
			return "container";
	}
}

/* ---- One session ---- */

static bool wait_for_calls(struct session *session, const struct timespec *until)
{
	int result = 0;

	pthread_mutex_lock(&session->lock);
	while (!session->released && result != ETIMEDOUT)
		result = until ? pthread_cond_timedwait(&session->changed, &session->lock, until)
			       : pthread_cond_wait(&session->changed, &session->lock);
	pthread_mutex_unlock(&session->lock);
	return session->released;
}

static void free_session(struct session *session)
{
	trace_close(session->trace);
	lines_end(&session->lines);
	free(session->unsent);
	selection_free(session->selection);
	cleanup_close_fd(&session->connection);
	pthread_cond_destroy(&session->changed);
	pthread_mutex_destroy(&session->lock);
	free(session);
	atomic_fetch_sub(&sessions, 1);
}

static void end(struct session *session, const char *why)
{
	struct json_object *last = json_object_new_object();
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += CALLS_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	engine_untrace(session->control->engine, trace_hooks(session->trace));
	wait_for_calls(session, &until);
	trace_finish(session->trace);
	json_object_object_add(last, "end", json_object_new_string(why));
	tell(session, last);
	send_rest(session);
	shutdown(session->connection, SHUT_RDWR);
	close(steal_fd(&session->connection));
	/* A call may stand still in the driver for as long as it likes. */
	wait_for_calls(session, NULL);
}

static void *session_thread(void *argument)
{
	struct session *session = argument;
	const char *why;

	prctl(PR_SET_NAME, "mpu-tracing");
	why = go_on(session);
	end(session, why);
	log_info("a trace has ended", "container=%s end=%s", session->label, why);
	free_session(session);
	return NULL;
}

static int start_thread(struct session *session, struct mpu_error *error)
{
	sigset_t all, before;
	pthread_t thread;
	int result;

	signals_of_others(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, NULL, session_thread, session);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		return mpu_fail(error, result, "cannot start a thread: %s", strerror(result));
	pthread_detach(thread);
	return 0;
}

/* ---- What is asked ---- */

static bool asks(struct json_object *request, const char *name)
{
	return json_object_get_boolean(json_member(request, name, json_type_boolean));
}

static int read_selection(struct session *session, struct json_object *request,
			  struct mpu_error *error)
{
	struct json_object *only = json_member(request, "only", json_type_array);
	int result = 0;

	for (size_t i = 0; only && !result && i < json_object_array_length(only); i++)
		result = selection_add(&session->selection,
				       json_object_get_string(json_object_array_get_idx(only, i)),
				       error);
	return result;
}

static struct session *new_session(const struct control *control)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session || lines_begin(&session->lines, BUFFER)) {
		free(session);
		return NULL;
	}
	session->control = control;
	session->connection = -1;
	session->sink = (struct trace_sink){.has_room = has_room,
					    .write = put,
					    .drop = drop,
					    .released = released,
					    .context = session};
	pthread_mutex_init(&session->lock, NULL);
	pthread_cond_init(&session->changed, NULL);
	atomic_fetch_add(&sessions, 1);
	return session;
}

static int open_trace(struct session *session, struct json_object *request, struct mpu_error *error)
{
	const struct engine_options *engine = session->control->options;
	const struct trace_options options = {.lines = asks(request, "lines"),
					      .summary = asks(request, "summary"),
					      .json = asks(request, "json"),
					      .sink = &session->sink,
					      .selection = session->selection,
					      .driver = engine->driver,
					      .dev_root =
						  session->control->start->options->dev_root,
					      .pid_lookup = engine->pid_lookup};

	session->sink.colour = asks(request, "colour");
	session->trace = trace_open(&options, error);
	return session->trace ? 0 : -error->code;
}

/* What the reader must know to take the lines for what they are. */
static void tell_head(struct session *session, const struct journal_listener *entry)
{
	const struct journal_header *header = journal_header(session->control->start->journal);
	struct json_object *head = json_object_new_object(), *about = json_object_new_object();
	char driver[NVABI_VERSION_TEXT];

	nvabi_version_format(&session->control->options->pids.running, driver);
	json_object_object_add(about, "container", json_object_new_string(session->label));
	control_add_about(about, entry->about);
	json_object_object_add(about, "driver", json_object_new_string(driver));
	json_object_object_add(about, "sees",
			       json_object_new_string(entry->settings.confine ? "all"
									      : "controls"));
	json_object_object_add(about, "crashes", json_object_new_uint64(header->crashes));
	json_object_object_add(about, "hangs", json_object_new_uint64(header->hangs));
	json_object_object_add(head, "trace", about);
	tell(session, head);
}

static int begin(struct session *session, struct json_object *request, struct mpu_error *error)
{
	struct engine *engine = session->control->engine;
	const char *word = json_member_string(request, "container");
	const struct journal_listener *entry =
	    find_container(session->control->start->journal, word ? word : "", error);
	int result;

	if (!entry)
		return -error->code;
	snprintf(session->label, sizeof(session->label), "%s", entry->label);
	result = read_selection(session, request, error);
	if (!result)
		result = open_trace(session, request, error);
	if (result)
		return result;
	tell_head(session, entry);
	result = engine_trace(engine, session->label, trace_hooks(session->trace));
	if (result)
		return mpu_fail(error, -result, "container %s: %s", session->label,
				result == -EBUSY ? "it is traced already" : strerror(-result));
	result = start_thread(session, error);
	if (result) {
		engine_untrace(engine, trace_hooks(session->trace));
		wait_for_calls(session, NULL);
	}
	return result;
}

int control_trace(const struct control *control, struct json_object *request, int *connection,
		  struct mpu_error *error)
{
	struct session *session;
	int result;

	if (atomic_load(&sessions) >= SESSIONS)
		return mpu_fail(error, EBUSY, "%d containers are traced already, which is as many as "
					      "mpud does at a time",
				SESSIONS);
	session = new_session(control);
	if (!session)
		return mpu_fail(error, ENOMEM, "out of memory");
	session->connection = *connection;
	result = begin(session, request, error);
	if (!result) {
		*connection = -1;
		return 0;
	}
	session->connection = -1;
	free_session(session);
	return result;
}
