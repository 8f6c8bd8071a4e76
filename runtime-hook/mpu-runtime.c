/* mpu-runtime: an OCI runtime for Docker and containerd that is another one, but for the change
 * that it makes to a container's config.json before. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime-hook/config.h"
#include "runtime-hook/options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

static const char settings_file[] = "/etc/mpu/runtime.conf";

static const char usage[] =
    "Usage: mpu-runtime [OPTION]... RUNTIME-ARGUMENT...\n"
    "\n"
    "Executes an OCI runtime with the arguments that follow. For `create` and `run`\n"
    "the bundle's config.json is changed before, so that the container's GPU calls\n"
    "reach mpud: where its annotations say mpu.enable=1.\n"
    "\n"
    "  --runtime=PROGRAM       the OCI runtime (runc)\n"
    "  --always                all containers are in that do not say mpu.enable=0\n"
    "  --socket=PATH           mpud's socket (/run/mpu/mpud.sock; an ordinary user's\n"
    "                          $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --on-missing=fail|ignore\n"
    "                          what becomes of a container without mpud (fail)\n"
    "  --view=container|host   whose PIDs its containers see, where annotations do\n"
    "                          not reach mpud\n"
    "  --policy=auto|always|off\n"
    "                          what is corrected for them\n"
    "  --confine=WORDS         the most that a container may call of the driver, see\n"
    "                          mpud --help: its annotation mpu.confine narrows it\n"
    "  --help                  this, where it stands first\n"
    "\n"
    "The same settings can stand in /etc/mpu/runtime.conf, without the dashes.\n";

/* What is of interest in the runtime's own command line. */
struct command_line {
	const char *command; /* create, run, or what else it is */
	const char *bundle;  /* "." where none was given */
	const char *log;     /* a file in which engines look for the reason of a failure, or NULL */
	bool log_is_json;
};

/* The value of option NAME at argv[*INDEX], be it "--name=value" or the next argument, which is
 * then passed over. NULL where that is another option. */
static const char *option_value(char **argv, int *index, const char *name)
{
	const char *argument = argv[*index];
	size_t length = strlen(name);

	if (strncmp(argument, name, length) != 0)
		return NULL;
	if (argument[length] == '=')
		return argument + length + 1;
	return argument[length] == '\0' && argv[*index + 1] ? argv[++*index] : NULL;
}

/* Options of runc, crun and youki whose value is the next argument. */
static bool takes_value(const char *argument)
{
	static const char *const names[] = {"--root",		"--criu",	    "--rootless",
					    "--log-level",	"--cgroup-manager", "--pid-file",
					    "--console-socket", "--preserve-fds",   "--config"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(argument, names[i]) == 0)
			return true;
	return false;
}

static struct command_line read_command_line(char **argv)
{
	struct command_line line = {.bundle = "."};

	for (int i = 0; argv[i]; i++) {
		const char *value;

		if (argv[i][0] != '-') {
			line.command = line.command ? line.command : argv[i];
		} else if ((value = option_value(argv, &i, "--bundle")) ||
			   (line.command && (value = option_value(argv, &i, "-b")))) {
			line.bundle = value;
		} else if ((value = option_value(argv, &i, "--log"))) {
			line.log = value;
		} else if ((value = option_value(argv, &i, "--log-format"))) {
			line.log_is_json = strcmp(value, "json") == 0;
		} else if (takes_value(argv[i]) && argv[i + 1]) {
			i++;
		}
	}
	return line;
}

static int change_bundle(const char *bundle, const struct hook_settings *settings,
			 struct mpu_error *error)
{
	cleanup_free char *path = NULL;
	cleanup_json struct json_object *config = NULL;
	struct json_text text = {0};
	int result;

	if (asprintf(&path, "%s/config.json", bundle) < 0)
		return mpu_fail(error, ENOMEM, "out of memory");
	result = json_read_file(path, &text, error);
	if (result)
		return result;
	config = json_parse_text(&text, path, error);
	free(text.bytes);
	if (!config)
		return -error->code;
	result = config_watch(config, settings, error);
	return result == CONFIG_CHANGED ? json_replace_file(path, config, error) : result;
}

/* Engines show the last error of the runtime's log file, not its stderr. */
static void log_for_engine(const struct command_line *line, const char *text)
{
	cleanup_json struct json_object *entry = NULL;
	cleanup_close int fd = -1;
	char now[32];
	time_t seconds = time(NULL);
	struct tm utc;

	if (!line->log)
		return;
	fd = open(line->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	if (!line->log_is_json) {
		dprintf(fd, "level=error msg=\"mpu-runtime: %s\"\n", text);
		return;
	}
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
	entry = json_object_new_object();
	json_object_object_add(entry, "level", json_object_new_string("error"));
	json_object_object_add(entry, "msg", json_object_new_string(text));
	json_object_object_add(entry, "time", json_object_new_string(now));
	dprintf(fd, "%s\n", json_object_to_json_string_ext(entry, JSON_C_TO_STRING_PLAIN));
}

/* Our own options stand before the first argument that is none of them. Returns how many there
 * are, or -errno with ERROR filled. */
static int read_options(char **argv, struct options *options, struct mpu_error *error)
{
	int count = 0;

	for (; argv[count] && strncmp(argv[count], "--", 2) == 0; count++) {
		cleanup_free char *name = strdup(argv[count] + 2);
		char *value = strchr(argv[count], '=');
		int result;

		if (!name)
			return mpu_fail(error, ENOMEM, "out of memory");
		name[strcspn(name, "=")] = '\0';
		result = options_set(options, name, value ? value + 1 : NULL, error);
		if (result == -ENOENT)
			break;
		if (result)
			return result;
	}
	return count;
}

static int prepare(char **argv, struct options *options, struct command_line *line,
		   struct mpu_error *error)
{
	int count, result = options_read_file(options, settings_file, error);

	if (result)
		return result;
	count = read_options(argv, options, error);
	if (count < 0)
		return count;
	*line = read_command_line(argv + count);
	result = options_complete(options, error);
	if (result)
		return result;
	if (!options->settings.runtime)
		options->settings.runtime = "runc";
	if (line->command &&
	    (strcmp(line->command, "create") == 0 || strcmp(line->command, "run") == 0))
		result = change_bundle(line->bundle, &options->settings, error);
	return result < 0 ? result : count;
}

int main(int argc, char **argv)
{
	struct options options = {0};
	struct command_line line = {0};
	struct mpu_error error = {0};
	int count;

	(void)argc;
	if (!argv[0] || !argv[1] || strcmp(argv[1], "--help") == 0)
		return fputs(usage, stdout) < 0;
	count = prepare(argv + 1, &options, &line, &error);
	if (count < 0) {
		log_error(error.text, "command=%s", line.command ? line.command : "");
		log_for_engine(&line, error.text);
		return 1;
	}
	argv += count;
	argv[0] = (char *)options.settings.runtime;
	execvp(options.settings.runtime, argv);
	mpu_fail(&error, errno, "cannot execute the OCI runtime %s: %s", options.settings.runtime,
		 strerror(errno));
	log_error(error.text, "runtime=%s", options.settings.runtime);
	log_for_engine(&line, error.text);
	return errno == ENOENT ? 127 : 126;
}
