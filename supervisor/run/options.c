#include "supervisor/run/run.h"

#include "supervisor/engine.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/pidfd.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum option_id {
	OPTION_PID_NS = 256,
	OPTION_VIEW,
	OPTION_POLICY,
	OPTION_SHARED_PIDS,
	OPTION_CONFINE,
	OPTION_ALLOW,
	OPTION_DRIVER_VERSION,
	OPTION_DEV_ROOT,
	OPTION_SOCKET,
	OPTION_STATS,
	OPTION_TRACE,
	OPTION_TRACE_FORMAT,
	OPTION_TRACE_EXECUTE,
	OPTION_PID_LOOKUP,
	OPTION_FD_LOOKUP,
	OPTION_HELP,
	OPTION_VERSION,
};

static const char usage[] =
	"Usage: mpu-run [OPTIONS] -- COMMAND [ARGUMENT]...\n"
	"\n"
	"Runs COMMAND so that it sees the GPU processes of its own PID namespace, under\n"
	"its own PIDs: in nvidia-smi, NVML, nvitop and every other program.\n"
	"\n"
	"  --pid-ns                give COMMAND a new PID namespace with its own /proc\n"
	"  --view=container|host   whose PIDs it sees (container)\n"
	"  --policy=auto|always|off\n"
	"                          correct what this driver gets wrong, every call that\n"
	"                          carries PIDs, or nothing (auto)\n"
	"  --shared-pids=allow|deny\n"
	"                          deny memory in which the driver writes host PIDs\n"
	"                          (allow)\n"
	"  --confine=WORDS         let COMMAND make only the driver calls for these:\n"
	"                          compute,utility,graphics,video,display,ngx,compat32,\n"
	"                          all,profiling,rdma,fabric-imex; log: refuse nothing,\n"
	"                          say what would be; strict: no user memory pinned\n"
	"  --allow=FILE            driver calls that it may make too, as mpuctl abi\n"
	"                          policy-from-trace prints them\n"
	"  --driver-version=V      take this version, do not ask the driver\n"
	"  --dev-root=DIR          DIR/nvidiactl and so on are the driver's device files\n"
	"  --socket=PATH           let the mpud that listens there supervise COMMAND\n"
	"  --stats[=text|json]     print counts to standard error at the end\n"
	"  --trace[=FILE]          print each NVIDIA call to standard error, or to FILE\n"
	"  --trace-format=text|json\n"
	"                          lines as strace prints them, or JSON (text)\n"
	"  -e, --trace-only=KIND=NAME[,NAME]...\n"
	"                          only these calls: KIND is escape, uvm, control, class\n"
	"                          or status, NAME may be a pattern, ! before it excepts\n"
	"  -c, --trace-summary     print a table of the calls at the end\n"
	"  --trace-execute         run controls of plain data in COMMAND's place, so that\n"
	"                          their status is seen\n"
	"  --pid-lookup=nsfs|nspid how PIDs are looked up (the best this kernel has)\n"
	"  --fd-lookup=thread|process\n"
	"                          how descriptors are taken (the best this kernel has)\n"
	"  --help, --version\n"
	"\n"
	"Exit status: that of COMMAND; 125 mpu-run itself failed, 126 COMMAND cannot be\n"
	"executed, 127 it was not found, 128+N it was ended by signal N.\n";

static const struct option long_options[] = {
	{"pid-ns", no_argument, NULL, OPTION_PID_NS},
	{"view", required_argument, NULL, OPTION_VIEW},
	{"policy", required_argument, NULL, OPTION_POLICY},
	{"shared-pids", required_argument, NULL, OPTION_SHARED_PIDS},
	{"confine", required_argument, NULL, OPTION_CONFINE},
	{"allow", required_argument, NULL, OPTION_ALLOW},
	{"driver-version", required_argument, NULL, OPTION_DRIVER_VERSION},
	{"dev-root", required_argument, NULL, OPTION_DEV_ROOT},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"stats", optional_argument, NULL, OPTION_STATS},
	{"trace", optional_argument, NULL, OPTION_TRACE},
	{"trace-format", required_argument, NULL, OPTION_TRACE_FORMAT},
	{"trace-execute", no_argument, NULL, OPTION_TRACE_EXECUTE},
	{"trace-only", required_argument, NULL, 'e'},
	{"trace-summary", no_argument, NULL, 'c'},
	{"pid-lookup", required_argument, NULL, OPTION_PID_LOOKUP},
	{"fd-lookup", required_argument, NULL, OPTION_FD_LOOKUP},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{0},
};

static const char *name_of(int id)
{
	for (const struct option *option = long_options; option->name; option++)
		if (option->val == id)
			return option->name;
	return "";
}

static int bad_value(int id, const char *value, const char *allowed)
{
	fprintf(stderr, "mpu-run: --%s=%s is not understood: it takes %s\n", name_of(id), value,
		allowed);
	return RUN_EXIT_OWN;
}

/* One of two words; the first gives true. */
static int parse_two(int id, const char *value, const char *yes, const char *no, bool *result)
{
	char allowed[64];

	if (!strcmp(value, yes) || !strcmp(value, no)) {
		*result = !strcmp(value, yes);
		return -1;
	}
	snprintf(allowed, sizeof(allowed), "%s or %s", yes, no);
	return bad_value(id, value, allowed);
}

static int parse_pid_lookup(const char *value, enum pidmap_method *method)
{
	bool nsfs = false;
	int result = parse_two(OPTION_PID_LOOKUP, value, "nsfs", "nspid", &nsfs);

	if (result >= 0)
		return result;
	if (nsfs && !nsfs_translates()) {
		fprintf(stderr, "mpu-run: --pid-lookup=nsfs: this kernel does not translate PIDs "
				"itself (Linux 6.11 does); leave the option out\n");
		return RUN_EXIT_OWN;
	}
	*method = nsfs ? PIDMAP_NSFS : PIDMAP_NSPID;
	return -1;
}

static int parse_fd_lookup(const char *value, bool *thread)
{
	int result = parse_two(OPTION_FD_LOOKUP, value, "thread", "process", thread);

	if (result >= 0 || !*thread || pidfd_has_thread())
		return result;
	fprintf(stderr, "mpu-run: --fd-lookup=thread: this kernel has no pidfds of threads (Linux "
			"6.9 has); leave the option out\n");
	return RUN_EXIT_OWN;
}

static int parse_stats(const char *value, enum run_stats *stats)
{
	bool json = false;
	int result = value ? parse_two(OPTION_STATS, value, "json", "text", &json) : -1;

	*stats = json ? RUN_STATS_JSON : RUN_STATS_TEXT;
	return result;
}

static int parse_selection(const char *expression, struct run_options *options)
{
	struct mpu_error error = {0};

	if (!selection_add(&options->trace_selection, expression, &error))
		return -1;
	fprintf(stderr, "mpu-run: %s\n", error.text);
	return RUN_EXIT_OWN;
}

static int parse_confine(const char *words, uint32_t *confine)
{
	struct mpu_error error = {0};

	if (!mpu_confine_parse(words, confine, &error))
		return -1;
	fprintf(stderr, "mpu-run: --confine=%s: %s\n", words, error.text);
	return RUN_EXIT_OWN;
}

static int apply(int id, struct run_options *options)
{
	switch (id) {
	case OPTION_PID_NS:
		options->pid_ns = true;
		return -1;
	case OPTION_VIEW:
		return mpu_view_parse(optarg, &options->settings.view)
			       ? -1
			       : bad_value(id, optarg, "container or host");
	case OPTION_POLICY:
		return mpu_policy_parse(optarg, &options->settings.policy)
			       ? -1
			       : bad_value(id, optarg, "auto, always or off");
	case OPTION_SHARED_PIDS:
		return mpu_shared_pids_parse(optarg, &options->settings.deny_shared_pids)
			       ? -1
			       : bad_value(id, optarg, "allow or deny");
	case OPTION_CONFINE:
		return parse_confine(optarg, &options->settings.confine);
	case OPTION_ALLOW:
		options->allow = optarg;
		return -1;
	case OPTION_DRIVER_VERSION:
		options->driver_version = optarg;
		return -1;
	case OPTION_DEV_ROOT:
		options->dev_root = optarg;
		return -1;
	case OPTION_SOCKET:
		options->socket = optarg;
		return -1;
	case OPTION_STATS:
		return parse_stats(optarg, &options->stats);
	case OPTION_TRACE:
		options->trace = true;
		options->trace_path = optarg;
		return !optarg || *optarg ? -1 : bad_value(id, optarg, "a file's name");
	case OPTION_TRACE_FORMAT:
		return parse_two(OPTION_TRACE_FORMAT, optarg, "json", "text",
				 &options->trace_json);
	case OPTION_TRACE_EXECUTE:
		options->trace_execute = true;
		return -1;
	case 'e':
		return parse_selection(optarg, options);
	case 'c':
		options->trace_summary = true;
		return -1;
	case OPTION_PID_LOOKUP:
		return parse_pid_lookup(optarg, &options->pid_lookup);
	case OPTION_FD_LOOKUP:
		return parse_fd_lookup(optarg, &options->use_pidfd_thread);
	case OPTION_HELP:
		fputs(usage, stdout);
		return 0;
	case OPTION_VERSION:
		puts("mpu-run " MPU_VERSION);
		return 0;
	default:
		return RUN_EXIT_OWN;
	}
}

/* getopt's own words would not say what to do. */
static int refuse(int id, char *const *argv)
{
	const char *word = argv[optind - 1];

	if (id == ':')
		fprintf(stderr, "mpu-run: %s needs a value (see mpu-run --help)\n", word);
	else if (strncmp(word, "--", 2) == 0 && optopt)
		fprintf(stderr, "mpu-run: %.*s takes no value (see mpu-run --help)\n",
			(int)strcspn(word, "="), word);
	else if (strncmp(word, "--", 2))
		fprintf(stderr, "mpu-run: unknown option -%c (see mpu-run --help; options of the "
				"command stand behind --)\n",
			optopt);
	else
		fprintf(stderr, "mpu-run: unknown option %s (see mpu-run --help; options of the "
				"command stand behind --)\n",
			word);
	return RUN_EXIT_OWN;
}

static int complete_settings(struct mpu_settings *settings)
{
	struct mpu_error error = {0};

	if (!mpu_settings_complete(settings, &error))
		return -1;
	fprintf(stderr, "mpu-run: %s\n", error.text);
	return RUN_EXIT_OWN;
}

/* What would be ignored without a word. */
static int check_trace(const struct run_options *options)
{
	const bool traced = options->trace || options->trace_summary;

	if (traced && options->socket) {
		fprintf(stderr, "mpu-run: --trace and -c print what mpu-run itself supervises: leave "
				"out --socket\n");
		return RUN_EXIT_OWN;
	}
	if (traced ||
	    !(options->trace_selection || options->trace_json || options->trace_execute))
		return -1;
	fprintf(stderr, "mpu-run: %s says how calls are traced: give --trace or -c too\n",
		options->trace_selection ? "-e"
		: options->trace_json	 ? "--trace-format"
					 : "--trace-execute");
	return RUN_EXIT_OWN;
}

static int check_allow(const struct run_options *options)
{
	if (options->allow && options->socket) {
		fprintf(stderr, "mpu-run: --allow is of no use with --socket: what is allowed besides "
				"is in the file of the mpud there (mpud --allow, /etc/mpu/allow)\n");
		return RUN_EXIT_OWN;
	}
	if (!options->allow || options->settings.confine)
		return -1;
	fprintf(stderr, "mpu-run: --allow says what is allowed besides --confine: give --confine "
			"too\n");
	return RUN_EXIT_OWN;
}

int run_options_parse(int argc, char **argv, struct run_options *options)
{
	int id, result;

	*options = (struct run_options){.pid_lookup = engine_best_pid_lookup(),
					.use_pidfd_thread = true};
	opterr = 0;
	while ((id = getopt_long(argc, argv, "+:e:c", long_options, NULL)) != -1) {
		if (id == '?' || id == ':')
			return refuse(id, argv);
		result = apply(id, options);
		if (result >= 0)
			return result;
	}
	result = check_trace(options);
	if (result < 0)
		result = check_allow(options);
	if (result < 0)
		result = complete_settings(&options->settings);
	if (result >= 0)
		return result;
	options->command = argv + optind;
	if (options->command[0])
		return -1;
	fprintf(stderr, "mpu-run: no command (usage: mpu-run [OPTIONS] -- COMMAND [ARGUMENT]...; "
			"see mpu-run --help)\n");
	return RUN_EXIT_OWN;
}
