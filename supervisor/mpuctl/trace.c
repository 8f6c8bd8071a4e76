/* mpuctl trace: mpud puts a container's calls into words, here they are printed. */
#include "supervisor/mpuctl/ask.h"
#include "supervisor/mpuctl/ps.h"

#include "base/cleanup.h"
#include "base/json.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

static const char usage[] =
    "Usage: mpuctl trace [OPTIONS] CONTAINER\n"
    "\n"
    "Prints each NVIDIA call that the processes of CONTAINER make, as mpu-run does\n"
    "with a command's, until Ctrl-C or the container's end. CONTAINER is its id, the\n"
    "begin of it, or its name, as mpuctl status shows them. It runs on as it is and\n"
    "never waits for mpuctl: what comes too fast is left out, and counted.\n"
    "\n"
    "mpud sees the RM controls of a container and calls in XFER envelopes; of one\n"
    "that is confined it sees every NVIDIA call.\n"
    "\n"
    "  -e, --only=KIND=NAME[,NAME]...\n"
    "                    only these calls: KIND is escape, uvm, control, class or\n"
    "                    status, NAME may be a pattern, ! before it excepts\n"
    "  -c, --summary     a table of the calls at the end, in place of lines\n"
    "  -C, --summary-too the lines, and the table\n"
    "  --json            a JSON object on each line\n"
    "  --duration=SECONDS\n"
    "                    end by itself\n"
    "  -o, --output=FILE write to FILE\n"
    "  --socket=PATH     the mpud that listens there (/run/mpu/mpud.sock; an ordinary\n"
    "                    user's $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --help\n";

/* A worker is replaced at once; an mpud that is started anew takes longer. After an end was asked
 * for, the last lines are waited for. */
enum { AGAIN_MS = 5000, PAUSE_MS = 100, LAST_MS = 3000, ANSWER_MS = 10000 };

struct options {
	struct ask_options ask;
	const char *container, *output;
	struct json_object *only;
	bool lines, summary;
	unsigned int duration; /* seconds, or 0 */
};

struct reader {
	const struct options *options;
	FILE *out;
	int signals;
	int64_t until_ms;   /* when it is over: its duration, then the wait for the last lines */
	bool asked;	    /* mpud to end */
	unsigned int heads; /* how often mpud has said what it traces */
	bool over;	    /* mpud said so, or there is no sense in more */
	char *container;    /* its whole id, once it is known */
	uint64_t crashes, hangs, dropped;
	char *bytes; /* of which no whole line has come yet */
	size_t length, room;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The command line ---- */

static int refuse(const char *why)
{
	fprintf(stderr, "mpuctl: %s (see mpuctl trace --help)\n", why);
	return 2;
}

static bool parse_duration(const char *word, unsigned int *seconds)
{
	char *end;
	unsigned long value = strtoul(word, &end, 10);

	*seconds = (unsigned int)value;
	return word[0] >= '1' && word[0] <= '9' && !*end && value <= 86400;
}

/* Returns -1 to go on, or the exit status. */
static int apply(int id, struct options *options)
{
	switch (id) {
	case 'e':
		json_object_array_add(options->only, json_object_new_string(optarg));
		return -1;
	case 'c':
	case 'C':
		options->summary = true;
		options->lines = id == 'C';
		return -1;
	case 'j':
		options->ask.json = true;
		return -1;
	case 'd':
		return parse_duration(optarg, &options->duration)
			   ? -1
			   : refuse("--duration takes 1 to 86400 seconds");
	case 'o':
		options->output = optarg;
		return -1;
	case 's':
		options->ask.socket = optarg;
		return -1;
	default: /* h */
		return fputs(usage, stdout) < 0;
	}
}

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {{"only", required_argument, NULL, 'e'},
					      {"summary", no_argument, NULL, 'c'},
					      {"summary-too", no_argument, NULL, 'C'},
					      {"json", no_argument, NULL, 'j'},
					      {"duration", required_argument, NULL, 'd'},
					      {"output", required_argument, NULL, 'o'},
					      {"socket", required_argument, NULL, 's'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int id, status = -1;

	optind = 1;
	opterr = 0;
	while (status < 0 && (id = getopt_long(argc, argv, ":e:cCo:h", table, NULL)) != -1)
		status = id == ':' || id == '?' ? ask_refuse_option(id, argv) : apply(id, options);
	if (status >= 0)
		return status;
	if (optind == argc)
		return refuse("which container? mpuctl status lists them");
	if (optind + 1 < argc)
		return refuse("one container at a time");
	options->container = argv[optind];
	return -1;
}

/* ---- What mpud tells ---- */

/* What is seen is said where it is not in the way of the lines. */
static void tell_head(const struct reader *reader, struct json_object *head)
{
	const char *pod = ask_text(head, "pod"), *name = ask_text(head, "name");

	fprintf(stderr, "mpuctl: traces %s%s%s%s%s%s, driver %s\n", ask_text(head, "container"),
		*pod || *name ? " (" : "", pod, *pod && *name ? "/" : "", name,
		*pod || *name ? ")" : "", ask_text(head, "driver"));
	fputs(strcmp(ask_text(head, "sees"), "all") == 0
		  ? "mpuctl: it is confined: every NVIDIA call is seen\n"
		  : "mpuctl: seen are RM controls and calls in XFER envelopes; its filter catches "
		    "no\n        allocations, no UVM calls and no other escapes\n",
	      stderr);
	if (!reader->options->duration && isatty(STDERR_FILENO))
		fputs("mpuctl: ends with the container, or on Ctrl-C\n", stderr);
}

/* Returns 0, or -errno with ERROR filled where it is better to end. */
static int take_head(struct reader *reader, struct json_object *head, struct mpu_error *error)
{
	uint64_t crashes = ask_number(head, "crashes"), hangs = ask_number(head, "hangs");

	if (reader->heads && (crashes != reader->crashes || hangs != reader->hangs))
		return mpu_fail(error, ESTALE,
				"mpud's worker has ended by a fault while it was traced, and was "
				"replaced: the trace ends here, the container goes on (see mpud's log: "
				"journalctl -u mpud)");
	if (reader->heads)
		fputs("mpuctl: mpud was replaced, and the trace goes on: calls between are not in "
		      "it\n",
		      stderr);
	else
		tell_head(reader, head);
	reader->heads++;
	reader->crashes = crashes;
	reader->hangs = hangs;
	free(reader->container);
	reader->container = strdup(ask_text(head, "container"));
	return 0;
}

static void take_end(struct reader *reader, const char *why)
{
	reader->over = true;
	if (strcmp(why, "container") == 0)
		fputs("mpuctl: the container has ended\n", stderr);
}

static int take_word(struct reader *reader, const char *bytes, size_t length,
		     struct mpu_error *error)
{
	const struct json_text text = {.bytes = (char *)(uintptr_t)bytes, .length = length};
	cleanup_json struct json_object *word = json_parse_text(&text, "mpud's answer", error);
	uint64_t dropped = word ? ask_number(word, "dropped") : 0;

	if (!word)
		return -error->code;
	if (json_member_string(word, "error"))
		return mpu_fail(error, EPROTO, "mpud does not trace: %s", ask_text(word, "error"));
	if (ask_member(word, "trace"))
		return take_head(reader, ask_member(word, "trace"), error);
	if (dropped)
		fprintf(stderr,
			"mpuctl: %" PRIu64 " calls are missing here: they came faster than they "
			"were printed\n",
			dropped);
	reader->dropped += dropped;
	if (ask_member(word, "end"))
		take_end(reader, ask_text(word, "end"));
	return 0;
}

/* A line without a mark is an answer that is no trace: an error. */
static int take_line(struct reader *reader, char *line, size_t length, struct mpu_error *error)
{
	const bool marked = *line == '!' || *line == '=';
	int result = 0;

	if (*line == '=') {
		line[length] = '\n';
		fwrite(line + 1, 1, length, reader->out);
	} else {
		result = take_word(reader, line + marked, length - marked, error);
	}
	return result;
}

static int take_lines(struct reader *reader, struct mpu_error *error)
{
	char *line = reader->bytes, *end;
	int result = 0;

	while (!result && (end = memchr(line, '\n', reader->length))) {
		size_t length = (size_t)(end - line);

		*end = '\0';
		if (length)
			result = take_line(reader, line, length, error);
		reader->length -= length + 1;
		line = end + 1;
	}
	memmove(reader->bytes, line, reader->length);
	if (result || !fflush(reader->out))
		return result;
	/* Whoever reads has seen enough. */
	if (errno == EPIPE) {
		reader->over = true;
		return 0;
	}
	return mpu_fail(error, errno, "cannot write the trace: %s", strerror(errno));
}

/* Returns what came, 0 at the end. */
static ssize_t receive(struct reader *reader, int connection)
{
	ssize_t got;

	if (reader->room - reader->length < 65536) {
		char *grown = realloc(reader->bytes, reader->room + (1 << 17));

		if (!grown)
			return -1;
		reader->bytes = grown;
		reader->room += 1 << 17;
	}
	/* One byte for a newline that an error has not got. */
	got = recv(connection, reader->bytes + reader->length, reader->room - reader->length - 1, 0);
	reader->length += got > 0 ? (size_t)got : 0;
	return got;
}

/* ---- The conversation ---- */

static int send_request(const struct reader *reader, int connection)
{
	const struct options *options = reader->options;
	const bool screen = !options->output && !options->ask.json && screen_style().colours;
	cleanup_json struct json_object *request = json_object_new_object();
	const struct {
		const char *name;
		bool value;
	} words[] = {{"lines", options->lines},
		     {"summary", options->summary},
		     {"json", options->ask.json},
		     {"colour", screen}};
	cleanup_free char *line = NULL;
	int length;

	json_object_object_add(request, "request", json_object_new_string("trace"));
	json_object_object_add(request, "container",
			       json_object_new_string(reader->container ? reader->container
									: options->container));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		json_object_object_add(request, words[i].name,
				       json_object_new_boolean(words[i].value));
	json_object_object_add(request, "only", json_object_get(options->only));
	length = asprintf(&line, "%s\n",
			  json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN));
	return length > 0 && send(connection, line, (size_t)length, MSG_NOSIGNAL) == length ? 0
											     : -EPIPE;
}

/* Asks mpud for the end; a second wish ends it without. */
static void ask_for_end(struct reader *reader, int connection)
{
	if (reader->asked)
		reader->over = true;
	reader->asked = true;
	reader->until_ms = now_ms() + LAST_MS;
	shutdown(connection, SHUT_WR);
}

static bool was_signalled(const struct reader *reader)
{
	struct signalfd_siginfo info;

	return read(reader->signals, &info, sizeof(info)) == sizeof(info);
}

static int left_ms(const struct reader *reader)
{
	int64_t left = reader->until_ms - now_ms();

	return !reader->until_ms ? -1 : left > 0 ? (int)left : 0;
}

/* Until the connection ends: 0; -errno with ERROR filled where there is no going on. */
static int converse(struct reader *reader, int connection, struct mpu_error *error)
{
	while (!reader->over) {
		struct pollfd ready[] = {{.fd = connection, .events = POLLIN},
					 {.fd = reader->signals, .events = POLLIN}};
		int count = poll(ready, 2, left_ms(reader)), result;

		if (count == 0 || (ready[1].revents && was_signalled(reader)))
			ask_for_end(reader, connection);
		if (count <= 0 || !ready[0].revents)
			continue;
		if (receive(reader, connection) <= 0) {
			if (reader->length)
				reader->bytes[reader->length++] = '\n';
			return take_lines(reader, error);
		}
		result = take_lines(reader, error);
		if (result)
			return result;
	}
	return 0;
}

static int run_once(struct reader *reader, struct mpu_error *error)
{
	cleanup_close int connection = ask_connect(&reader->options->ask, error);

	if (connection < 0)
		return connection;
	reader->length = 0;
	return send_request(reader, connection) ? 0 : converse(reader, connection, error);
}

static bool is_nobody_there(int result)
{
	return result == -ENOENT || result == -ECONNREFUSED;
}

/* mpud, or its worker, may be replaced: that is seen by the end of the connection. */
static int run(struct reader *reader, struct mpu_error *error)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
	int64_t patience = now_ms() + AGAIN_MS;

	for (;;) {
		const unsigned int heads = reader->heads;
		int result = run_once(reader, error);

		if (reader->over || reader->asked)
			return result;
		if (result && !(reader->heads && is_nobody_there(result)))
			return result;
		if (reader->heads != heads)
			patience = now_ms() + AGAIN_MS;
		*error = (struct mpu_error){0};
		if (now_ms() > patience)
			return mpu_fail(error, EAGAIN,
					"mpud has ended, or has no worker that stays: see its log "
					"(journalctl -u mpud)");
		nanosleep(&pause, NULL);
	}
}

static int open_reader(struct reader *reader, struct mpu_error *error)
{
	const struct options *options = reader->options;
	sigset_t set;

	reader->out = options->output ? fopen(options->output, "we") : stdout;
	if (!reader->out)
		return mpu_fail(error, errno, "cannot write %s: %s", options->output,
				strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	reader->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (reader->signals < 0)
		return mpu_fail(error, errno, "cannot wait for signals: %s", strerror(errno));
	if (options->duration)
		reader->until_ms = now_ms() + (int64_t)options->duration * 1000;
	return 0;
}

static void close_reader(struct reader *reader)
{
	if (reader->out && reader->out != stdout)
		fclose(reader->out);
	cleanup_close_fd(&reader->signals);
	free(reader->container);
	free(reader->bytes);
}

int trace_command(int argc, char **argv)
{
	cleanup_json struct json_object *only = json_object_new_array();
	struct options options = {.only = only, .lines = true};
	struct reader reader = {.options = &options, .signals = -1};
	struct mpu_error error = {0};
	int status = parse(argc, argv, &options), result;

	if (status >= 0)
		return status;
	result = open_reader(&reader, &error);
	if (!result)
		result = run(&reader, &error);
	if (reader.dropped)
		fprintf(stderr, "mpuctl: %" PRIu64 " calls are missing in all\n", reader.dropped);
	if (result)
		fprintf(stderr, "mpuctl: %s\n", error.text);
	close_reader(&reader);
	return result ? 1 : 0;
}
