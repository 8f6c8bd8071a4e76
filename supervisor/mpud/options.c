#include "supervisor/mpud/metrics.h"
#include "supervisor/mpud/mpud.h"

#include "base/log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: mpud [OPTIONS]\n"
    "\n"
    "Takes the seccomp listeners of containers and answers their GPU calls, so that\n"
    "they see their own GPU processes. Runs in the foreground.\n"
    "\n"
    "  --socket=PATH           listen there (/run/mpu/mpud.sock; an ordinary user's\n"
    "                          $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --socket-group=GROUP    its members may hand listeners over too\n"
    "  --lxc-socket=PATH       listen there for the monitors of LXC's containers\n"
    "                          (none)\n"
    "  --metrics=ADDRESS       serve metrics for Prometheus at unix:/PATH, or at a\n"
    "                          loopback port, as 127.0.0.1:9402 (none)\n"
    "  --view=container|host   whose PIDs a container sees that does not say\n"
    "                          (container)\n"
    "  --policy=auto|always|off\n"
    "                          correct what this driver gets wrong, every call that\n"
    "                          carries PIDs, or nothing (auto)\n"
    "  --shared-pids=allow|deny\n"
    "                          deny memory in which the driver writes host PIDs\n"
    "                          (allow)\n"
    "  --confine=WORDS         the most that a container may call of the driver, by\n"
    "                          its needs: compute,utility,graphics,video,display,\n"
    "                          ngx,compat32,all,profiling,rdma,fabric-imex; log:\n"
    "                          refuse nothing, say what would be; strict: no user\n"
    "                          memory pinned\n"
    "  --allow=FILE            driver calls that confined containers may make too, as\n"
    "                          mpuctl abi policy-from-trace prints them (root's mpud:\n"
    "                          /etc/mpu/allow, if it is there)\n"
    "  --driver-version=V      take this version, do not ask the driver\n"
    "  --dev-root=DIR          DIR/nvidiactl and so on are the driver's device files\n"
    "  --watchdog=SECONDS      replace a worker that gives no sign of life for so\n"
    "                          long (5)\n"
    "  --replace               take all over from the mpud that runs, without a lost\n"
    "                          call; start as usual where none runs\n"
    "  --user=NAME             become this user; the few rights that are needed stay\n"
    "  --sandbox=on|log|off    refuse mpud's own processes the system calls that they\n"
    "                          do not need; log: and let the kernel log it (on)\n"
    "  --log=error|warning|info|debug\n"
    "                          the least that is worth a line (info)\n"
    "  --help, --version\n";

enum option_id {
	OPTION_SOCKET = 256,
	OPTION_SOCKET_GROUP,
	OPTION_LXC_SOCKET,
	OPTION_METRICS,
	OPTION_VIEW,
	OPTION_POLICY,
	OPTION_SHARED_PIDS,
	OPTION_CONFINE,
	OPTION_ALLOW,
	OPTION_DRIVER_VERSION,
	OPTION_DEV_ROOT,
	OPTION_WATCHDOG,
	OPTION_REPLACE,
	OPTION_USER,
	OPTION_SANDBOX,
	OPTION_LOG,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"socket-group", required_argument, NULL, OPTION_SOCKET_GROUP},
    {"lxc-socket", required_argument, NULL, OPTION_LXC_SOCKET},
    {"metrics", required_argument, NULL, OPTION_METRICS},
    {"view", required_argument, NULL, OPTION_VIEW},
    {"policy", required_argument, NULL, OPTION_POLICY},
    {"shared-pids", required_argument, NULL, OPTION_SHARED_PIDS},
    {"confine", required_argument, NULL, OPTION_CONFINE},
    {"allow", required_argument, NULL, OPTION_ALLOW},
    {"driver-version", required_argument, NULL, OPTION_DRIVER_VERSION},
    {"dev-root", required_argument, NULL, OPTION_DEV_ROOT},
    {"watchdog", required_argument, NULL, OPTION_WATCHDOG},
    {"replace", no_argument, NULL, OPTION_REPLACE},
    {"user", required_argument, NULL, OPTION_USER},
    {"sandbox", required_argument, NULL, OPTION_SANDBOX},
    {"log", required_argument, NULL, OPTION_LOG},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

/* The values that an option takes, for who gave another. */
static const char *const takes[] = {
    [OPTION_SOCKET - OPTION_SOCKET] = "an absolute path",
    [OPTION_SOCKET_GROUP - OPTION_SOCKET] = "a group's name or number",
    [OPTION_LXC_SOCKET - OPTION_SOCKET] = "an absolute path",
    [OPTION_METRICS - OPTION_SOCKET] = "unix:/PATH, or a loopback port as 127.0.0.1:9402",
    [OPTION_VIEW - OPTION_SOCKET] = "container or host",
    [OPTION_POLICY - OPTION_SOCKET] = "auto, always or off",
    [OPTION_SHARED_PIDS - OPTION_SOCKET] = "allow or deny",
    [OPTION_ALLOW - OPTION_SOCKET] = "a file's name",
    [OPTION_DRIVER_VERSION - OPTION_SOCKET] = "a driver version, such as 535.104.05",
    [OPTION_DEV_ROOT - OPTION_SOCKET] = "a directory",
    [OPTION_WATCHDOG - OPTION_SOCKET] = "1 to 3600 seconds",
    [OPTION_USER - OPTION_SOCKET] = "a user's name",
    [OPTION_SANDBOX - OPTION_SOCKET] = "on, log or off",
    [OPTION_LOG - OPTION_SOCKET] = "error, warning, info or debug",
};

static bool parse_count(const char *word, unsigned int most, unsigned int *count)
{
	char *end;
	unsigned long value = strtoul(word, &end, 10);

	*count = (unsigned int)value;
	return word[0] >= '1' && word[0] <= '9' && !*end && value <= most;
}

static bool parse_level(const char *word)
{
	static const char *const words[] = {"error", "warning", "info", "debug"};

	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
		if (strcmp(word, words[level]) == 0) {
			log_set_level((enum log_level)level);
			return true;
		}
	return false;
}

/* ERROR is filled where there is more to say than that VALUE is none. */
static bool set_option(int id, const char *value, struct mpud_options *options,
		       struct mpu_error *error)
{
	switch (id) {
	case OPTION_SOCKET:
		options->socket = value;
		return value[0] == '/';
	case OPTION_SOCKET_GROUP:
		options->socket_group = value;
		return value[0];
	case OPTION_LXC_SOCKET:
		options->lxc_socket = value;
		return value[0] == '/';
	case OPTION_METRICS:
		options->metrics = value;
		return metrics_address_is_good(value);
	case OPTION_VIEW:
		return mpu_view_parse(value, &options->settings.view);
	case OPTION_POLICY:
		return mpu_policy_parse(value, &options->settings.policy);
	case OPTION_SHARED_PIDS:
		return mpu_shared_pids_parse(value, &options->settings.deny_shared_pids);
	case OPTION_CONFINE:
		return !mpu_confine_parse(value, &options->settings.confine, error);
	case OPTION_ALLOW:
		options->allow = value;
		return value[0];
	case OPTION_DRIVER_VERSION:
		options->driver_version = value;
		return value[0];
	case OPTION_DEV_ROOT:
		options->dev_root = value;
		return value[0];
	case OPTION_WATCHDOG:
		return parse_count(value, 3600, &options->watchdog);
	case OPTION_REPLACE:
		options->replace = true;
		return true;
	case OPTION_USER:
		options->user = value;
		return value[0];
	case OPTION_SANDBOX:
		return sandbox_mode_parse(value, &options->sandbox);
	case OPTION_LOG:
		return parse_level(value);
	}
	return false;
}

/* getopt's own words would not say what to do. */
static void say_unknown(int id, const char *word)
{
	if (id == ':')
		fprintf(stderr, "mpud: %s needs a value (see mpud --help)\n", word);
	else if (optopt >= OPTION_SOCKET)
		fprintf(stderr, "mpud: %.*s takes no value (see mpud --help)\n",
			(int)strcspn(word, "="), word);
	else
		fprintf(stderr, "mpud: unknown option %s (see mpud --help)\n", word);
}

static void say_bad(int id, const char *name, const struct mpu_error *error)
{
	fprintf(stderr, "mpud: --%s does not take %.256s: %s%s\n", name,
		*optarg ? optarg : "nothing", error->code ? error->text : "it takes ",
		error->code ? "" : takes[id - OPTION_SOCKET]);
}

int mpud_options_parse(int argc, char **argv, struct mpud_options *options)
{
	struct mpu_error error = {0};
	int id, index;

	*options = (struct mpud_options){.watchdog = 5};
	log_set_level(LOG_LEVEL_INFO);
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", long_options, &index)) != -1) {
		if (id == OPTION_HELP)
			return fputs(usage, stdout) < 0;
		if (id == OPTION_VERSION)
			return puts("mpud " MPU_VERSION) < 0;
		if (id == '?' || id == ':') {
			say_unknown(id, argv[optind - 1]);
			return 1;
		}
		if (!set_option(id, optarg, options, &error)) {
			say_bad(id, long_options[index].name, &error);
			return 1;
		}
	}
	if (mpu_settings_complete(&options->settings, &error)) {
		fprintf(stderr, "mpud: %s\n", error.text);
		return 1;
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "mpud: takes no argument %s: see mpud --help\n", argv[optind]);
	return 1;
}
