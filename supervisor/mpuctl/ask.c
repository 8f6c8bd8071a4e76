#include "supervisor/mpuctl/ask.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "supervisor/mpud-protocol.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

/* A worker that ends with our question is replaced at once; a keeper that is restarted takes
 * longer. */
enum { TRIES = 40, PAUSE_NS = 50000000, PATIENCE_S = 10 };

int ask_refuse_option(int id, char **argv)
{
	const char *option = argv[optind - 1];
	const char letter[] = {'-', (char)optopt, '\0'};

	if (id == ':')
		fprintf(stderr, "mpuctl: %s %s wants a value", argv[0], option);
	else if (optopt && strncmp(option, "--", 2) == 0 && strchr(option, '='))
		fprintf(stderr, "mpuctl: %s %.*s takes no value", argv[0],
			(int)strcspn(option, "="), option);
	else
		fprintf(stderr, "mpuctl: %s has no option %s", argv[0], optopt ? letter : option);
	fprintf(stderr, " (see mpuctl %s --help)\n", argv[0]);
	return 2;
}

int ask_parse(int argc, char **argv, const char *usage, struct ask_options *options)
{
	static const struct option table[] = {{"socket", required_argument, NULL, 's'},
					      {"json", no_argument, NULL, 'j'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int id;

	optind = 1;
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
		if (id == 'h')
			return fputs(usage, stdout) < 0;
		if (id == 's')
			options->socket = optarg;
		else if (id == 'j')
			options->json = true;
		else
			return ask_refuse_option(id, argv);
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "mpuctl: %s takes no argument %s (see mpuctl %s --help)\n", argv[0],
		argv[optind], argv[0]);
	return 2;
}

bool ask_parse_seconds(const char *word, unsigned int *seconds)
{
	char *end;
	unsigned long value = strtoul(word, &end, 10);

	*seconds = (unsigned int)value;
	return word[0] >= '1' && word[0] <= '9' && !*end && value <= 3600;
}

static int connect_to(const char *path, struct mpu_error *error)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un address;
	cleanup_close int fd = -1;
	int result = mpud_socket_address(&address, path, ".control", error);

	if (result)
		return result;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return mpu_fail(error, errno, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return steal_fd(&fd);
	if (errno == EACCES)
		return mpu_fail(error, EACCES,
				"may not ask the mpud at %s: only root and its own user may (sudo "
				"mpuctl, or --socket=PATH of another one)",
				path);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return mpu_fail(error, errno,
				"no mpud runs at %s: start it (systemctl start mpud, or mpud "
				"--socket=%s), or say where it is by --socket=PATH",
				path, path);
	return mpu_fail(error, errno, "cannot reach mpud at %s: %s", path, strerror(errno));
}

int ask_connect(const struct ask_options *options, struct mpu_error *error)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int result = options->socket ? 0 : mpud_default_socket(path, sizeof(path), error);

	return result ? result : connect_to(options->socket ? options->socket : path, error);
}

/* Nothing at all comes from a worker that ended over the question: -EAGAIN then. */
static int exchange(int connection, const char *request, struct json_object **answer,
		    struct mpu_error *error)
{
	struct json_text text = {0};
	char line[64];
	int length = snprintf(line, sizeof(line), "{\"request\":\"%s\"}\n", request);
	int result;

	if (send(connection, line, (size_t)length, MSG_NOSIGNAL) != length)
		return -EAGAIN;
	result = json_read_text(connection, "mpud's answer", &text, error);
	if (result == -ECONNRESET || (!result && !text.length)) {
		free(text.bytes);
		*error = (struct mpu_error){0};
		return -EAGAIN;
	}
	*answer = result ? NULL : json_parse_text(&text, "mpud's answer", error);
	free(text.bytes);
	if (*answer && json_member_string(*answer, "error")) {
		mpu_fail(error, EPROTO, "mpud does not answer: %s",
			 json_member_string(*answer, "error"));
		json_object_put(steal_ptr(*answer));
	}
	return error->code ? -error->code : 0;
}

struct json_object *ask(const struct ask_options *options, const char *request,
			struct mpu_error *error)
{
	struct json_object *answer = NULL;
	int result = -EAGAIN;

	for (int i = 0; i < TRIES && result == -EAGAIN; i++) {
		cleanup_close int connection = ask_connect(options, error);

		if (connection < 0)
			return NULL;
		result = exchange(connection, request, &answer, error);
		if (result == -EAGAIN)
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	if (result == -EAGAIN)
		mpu_fail(
		    error, EAGAIN,
		    "mpud has no worker that stays to answer: see its log (journalctl -u mpud)");
	return answer;
}

int ask_and_print(int argc, char **argv, const char *usage, void (*print)(struct json_object *))
{
	struct ask_options options = {0};
	struct mpu_error error = {0};
	cleanup_json struct json_object *answer = NULL;
	int status = ask_parse(argc, argv, usage, &options);

	if (status >= 0)
		return status;
	answer = ask(&options, argv[0], &error);
	if (answer && options.json)
		json_write(STDOUT_FILENO, answer, &error);
	else if (answer)
		print(answer);
	if (!error.code)
		return fflush(stdout) != 0;
	fprintf(stderr, "mpuctl: %s\n", error.text);
	return 1;
}

struct json_object *ask_member(struct json_object *object, const char *path)
{
	char name[48];

	while (object && *path) {
		size_t length = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)length, path);
		if (!json_object_is_type(object, json_type_object) ||
		    !json_object_object_get_ex(object, name, &object))
			return NULL;
		path += length + (path[length] == '.');
	}
	return object;
}

const char *ask_text(struct json_object *object, const char *path)
{
	const char *text = json_object_get_string(ask_member(object, path));

	return text ? text : "";
}

uint64_t ask_number(struct json_object *object, const char *path)
{
	return json_object_get_uint64(ask_member(object, path));
}
