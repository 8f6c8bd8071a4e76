/* mpu-hook: hooks and profiles for OCI engines. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime-hook/config.h"
#include "runtime-hook/install.h"
#include "runtime-hook/lxc.h"
#include "runtime-hook/options.h"
#include "runtime-hook/prestart.h"
#include "runtime-hook/profile.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char usage[] =
    "Usage: mpu-hook [OPTION]... COMMAND\n"
    "\n"
    "  precreate         config.json on standard input, the changed one on standard\n"
    "                    output\n"
    "  prestart          container state on standard input; puts the filter into its\n"
    "                    process\n"
    "  createRuntime     the same\n"
    "  lxc               the same, for LXC's start-host hook\n"
    "  profile [FILE]    a seccomp profile made from FILE, or from none, to standard\n"
    "                    output; with --lxc one of LXC's\n"
    "  install TARGET    puts the files for an engine in place: --podman --docker\n"
    "                    --kubernetes --cdi --lxc\n"
    "  uninstall TARGET  takes them away again\n"
    "\n"
    "A container opts in by the annotation mpu.enable=1 or mpu.confine=WORDS;\n"
    "mpu.view, mpu.policy, mpu.shared-pids and mpu.on-missing say more.\n"
    "\n"
    "  --socket=PATH           mpud's socket (/run/mpu/mpud.sock; an ordinary user's\n"
    "                          $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --always                every container is in that does not say mpu.enable=0\n"
    "  --on-missing=fail|ignore\n"
    "                          what becomes of a container without mpud (fail)\n"
    "  --runtime=PROGRAM       the OCI runtime, asked which seccomp flags it takes\n"
    "  --view=container|host   profile: whose PIDs its containers see, where\n"
    "                          annotations do not reach mpud\n"
    "  --policy=auto|always|off\n"
    "                          profile: what is corrected for them\n"
    "  --confine=WORDS         the most that a container may call of the driver, see\n"
    "                          mpud --help: its annotation mpu.confine narrows it\n"
    "  --fail-late             precreate: refuse by a config that the runtime refuses\n"
    "                          with the reason, for podman, which drops what a\n"
    "                          precreate hook says\n"
    "  --root=DIR              install, uninstall: below DIR instead of /\n"
    "  --base=FILE             install --kubernetes, --lxc: the seccomp profile to\n"
    "                          start from (none; LXC's own)\n"
    "  --lxc-socket=PATH       install --lxc: where mpud listens for LXC's monitors\n"
    "                          (lxc.sock beside mpud's socket)\n"
    "  --help, --version\n";

struct arguments {
	struct options options;
	struct install_request install;
	const char *command, *operand;
	bool fail_late, lxc;
};

static int run_precreate(const struct arguments *arguments, struct mpu_error *error)
{
	const struct hook_settings *settings = &arguments->options.settings;
	struct json_text text = {0};
	cleanup_free char *bytes = NULL;
	cleanup_json struct json_object *config = NULL;
	int result = json_read_text(STDIN_FILENO, "the config on standard input", &text, error);

	if (result)
		return result;
	bytes = text.bytes;
	config = json_parse_text(&text, "the config on standard input", error);
	if (!config)
		return -error->code;
	result = config_watch(config, settings, error);
	if (result < 0 && arguments->fail_late && config_refuse(config, error->text) == 0) {
		log_error(error->text, "command=precreate");
		return json_write(STDOUT_FILENO, config, error);
	}
	if (result < 0)
		return result;
	if (result == CONFIG_UNCHANGED)
		return json_write_bytes(STDOUT_FILENO, text.bytes, text.length, error);
	return json_write(STDOUT_FILENO, config, error);
}

static int run_prestart(const struct hook_settings *settings, struct mpu_error *error)
{
	struct json_text text = {0};
	cleanup_json struct json_object *state = NULL;
	int result = json_read_text(STDIN_FILENO, "the state on standard input", &text, error);

	if (result)
		return result;
	state = json_parse_text(&text, "the state on standard input", error);
	free(text.bytes);
	return state ? prestart_watch(state, settings, error) : -error->code;
}

static int run_profile(const struct hook_settings *settings, const char *path,
		       struct mpu_error *error)
{
	const struct profile_settings profile_settings = {.socket = settings->socket,
							  .metadata = settings->metadata,
							  .confine = settings->defaults.confine};
	cleanup_json struct json_object *profile = profile_read(path, error);
	int result =
	    profile ? profile_watch_or_fail(profile, &profile_settings, error) : -error->code;

	return result ? result : json_write(STDOUT_FILENO, profile, error);
}

static int run_lxc_profile(const char *path, struct mpu_error *error)
{
	cleanup_free char *profile = lxc_profile(path, error);

	return profile ? json_write_bytes(STDOUT_FILENO, profile, strlen(profile), error)
		       : -error->code;
}

static int parse_option(struct arguments *arguments, const char *name, const char *value,
			struct mpu_error *error)
{
	int result = options_set(&arguments->options, name, value, error);

	if (result != -ENOENT)
		return result;
	if (strcmp(name, "fail-late") == 0) {
		arguments->fail_late = true;
		return 0;
	}
	if (strcmp(name, "base") == 0) {
		arguments->install.base = value;
		return 0;
	}
	/* Not the machine's own files for want of a word, as in --root=$UNSET. */
	if (strcmp(name, "root") == 0) {
		if (!value[0])
			return mpu_fail(error, EINVAL, "root=: it takes a directory");
		arguments->install.root = value;
		return 0;
	}
	if (strcmp(name, "lxc-socket") == 0) {
		arguments->install.lxc_socket = value;
		return 0;
	}
	arguments->lxc |= strcmp(name, "lxc") == 0;
	return install_add_target(&arguments->install, name);
}

/* Returns 0, or -errno with ERROR filled, or 1 when all is said. */
static int parse_arguments(int argc, char **argv, struct arguments *arguments,
			   struct mpu_error *error)
{
	static const struct option known[] = {{"socket", required_argument, NULL, 0},
					      {"always", no_argument, NULL, 0},
					      {"on-missing", required_argument, NULL, 0},
					      {"runtime", required_argument, NULL, 0},
					      {"view", required_argument, NULL, 0},
					      {"policy", required_argument, NULL, 0},
					      {"confine", required_argument, NULL, 0},
					      {"root", required_argument, NULL, 0},
					      {"podman", no_argument, NULL, 0},
					      {"docker", no_argument, NULL, 0},
					      {"kubernetes", no_argument, NULL, 0},
					      {"cdi", no_argument, NULL, 0},
					      {"lxc", no_argument, NULL, 0},
					      {"lxc-socket", required_argument, NULL, 0},
					      {"fail-late", no_argument, NULL, 0},
					      {"base", required_argument, NULL, 0},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'V'},
					      {0}};
	int index, got;

	while ((got = getopt_long(argc, argv, "h", known, &index)) != -1) {
		int result = 0;

		if (got == 'h')
			return fputs(usage, stdout) < 0 ? -EIO : 1;
		if (got == 'V')
			return puts("mpu-hook " MPU_VERSION) < 0 ? -EIO : 1;
		if (got == '?')
			return mpu_fail(error, EINVAL, "see mpu-hook --help");
		result = parse_option(arguments, known[index].name, optarg, error);
		if (result)
			return result;
	}
	arguments->command = optind < argc ? argv[optind++] : NULL;
	arguments->operand = optind < argc ? argv[optind++] : NULL;
	if (!arguments->command)
		return mpu_fail(error, EINVAL, "give one command: see mpu-hook --help");
	/* LXC adds the container's name, "lxc" and the kind of hook, which its environment has too.
	 */
	if (strcmp(arguments->command, "lxc") == 0)
		arguments->operand = NULL;
	else if (optind < argc)
		return mpu_fail(error, EINVAL, "too many operands: see mpu-hook --help");
	return options_complete(&arguments->options, error);
}

static int run(struct arguments *arguments, struct mpu_error *error)
{
	const struct hook_settings *settings = &arguments->options.settings;
	const char *command = arguments->command;

	if (arguments->operand && strcmp(command, "profile") != 0)
		return mpu_fail(error, EINVAL, "%s takes no operand %s", command,
				arguments->operand);
	if (strcmp(command, "precreate") == 0)
		return run_precreate(arguments, error);
	if (strcmp(command, "prestart") == 0 || strcmp(command, "createRuntime") == 0)
		return run_prestart(settings, error);
	if (strcmp(command, "lxc") == 0)
		return prestart_watch_lxc(settings, error);
	if (arguments->lxc && settings->defaults.confine && strcmp(command, "profile") == 0)
		return mpu_fail(error, ENOTSUP,
				"--confine: calls that LXC forwards cannot be confined; use the hook "
				"for LXC's start-host (lxc.include = /etc/lxc/mpu-start-host.conf, "
				"made by mpu-hook --confine=WORDS install --lxc)");
	if (strcmp(command, "profile") == 0 && arguments->lxc)
		return run_lxc_profile(arguments->operand, error);
	if (strcmp(command, "profile") == 0)
		return run_profile(settings, arguments->operand, error);
	if (strcmp(command, "install") == 0)
		return install_run(&arguments->install, settings, error);
	if (strcmp(command, "uninstall") == 0)
		return uninstall_run(&arguments->install, error);
	return mpu_fail(error, EINVAL, "there is no command %s: see mpu-hook --help", command);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mpu_error error = {0};
	int result;

	log_set_level(LOG_LEVEL_INFO);
	result = parse_arguments(argc, argv, &arguments, &error);
	if (!result)
		result = run(&arguments, &error);
	if (result < 0)
		log_error(error.text, "command=%s", arguments.command ? arguments.command : "");
	return result < 0 ? 1 : 0;
}
