#include "nvabi/tools/from-trace.h"

#include "base/cleanup.h"
#include "nvabi/allow.h"
#include "nvabi/policy-tables.h"
#include "nvabi/tools/calls.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mpuctl abi policy-from-trace [OPTIONS] FILE...\n"
    "\n"
    "What was called and a confined container may not call, as rows for mpud --allow.\n"
    "FILE is a trace (mpu-run --trace=FILE --trace-format=json), or a log of mpud or\n"
    "mpu-run with refused calls (--confine=...,log); - is standard input.\n"
    "\n"
    "  --capabilities=LIST     of the container (compute,utility)\n"
    "  --allow=FILE            besides the rows that it has\n"
    "  --strict                as under strict\n"
    "  --container=NAME        of a log, this container's lines only\n"
    "  --driver-version=V      the trace's, else the running driver's\n";

struct request {
	uint32_t capabilities;
	bool strict;
	const char *container, *allow, *version;
};

/* What the calls are held against. */
struct against {
	const struct request *request;
	const struct nvabi_policy *policy;
	struct nvabi_abi *abi;
};

/* ---- Rows ---- */

static void print_words(uint32_t capabilities, char *words, size_t size)
{
	size_t length = 0;

	words[0] = '\0';
	for (uint32_t bit = 1; bit & NVABI_CAPS && length < size; bit <<= 1)
		if (capabilities & bit)
			length += (size_t)snprintf(words + length, size - length, "%s%s",
						   length ? "," : "", nvabi_capability_name(bit));
}

static void print_times(const struct seen_call *seen)
{
	if (seen->times)
		printf("called %" PRIu32 " time%s\n", seen->times, seen->times > 1 ? "s" : "");
	else
		printf("refused\n");
}

static void print_row(uint32_t capabilities, const struct seen_call *seen, const char *name,
		      const char *way, const char *reason)
{
	char words[128];

	print_words(capabilities, words, sizeof(words));
	printf("%-7s %-69s %-26s %-8s ", nvabi_policy_kind_name(seen->kind), name, words, way);
	if (reason)
		printf("%s\n", reason);
	else
		print_times(seen);
}

static bool is_described(const char *structure, const char *field)
{
	const struct nvabi_policy_tables *tables = &nvabi_policy_tables;

	for (uint32_t i = nvabi_policy_first_param(tables, structure);
	     i < tables->param_count && !strcmp(tables->param[i].structure, structure); i++)
		if (!strcmp(tables->param[i].field, field))
			return true;
	return false;
}

/* A line that the file needs and only who knows the driver can finish. */
static int print_param(const struct nvabi_field *field, void *context)
{
	const struct nvabi_call *call = context;
	bool is_fd = field->role == NVABI_ROLE_FD;

	if (!is_fd && field->role != NVABI_ROLE_POINTER && strcmp(field->type, "pointer") &&
	    strcmp(field->type, "address"))
		return 0;
	if (!is_described(call->structure, field->name))
		printf("# to be said: %s %s %s %s SOURCE\n", call->structure, field->name,
		       is_fd ? "fd-in" : "USE",
		       is_fd	       ? "-"
		       : field->length ? field->length
				       : "LENGTH");
	return 0;
}

static void print_nothing(const struct seen_call *seen, const char *name, const char *why)
{
	printf("# %s %s: %s, ", nvabi_policy_kind_name(seen->kind), name, why);
	print_times(seen);
}

static void print_known(const struct against *against, const struct seen_call *seen,
			struct nvabi_call *call)
{
	if (seen->kind == NVABI_UVM) {
		print_row(against->request->capabilities, seen, call->name, "continue", NULL);
		return;
	}
	if (nvabi_allow_never(seen->kind, call->name)) {
		print_nothing(seen, call->name, nvabi_allow_never(seen->kind, call->name));
		return;
	}
	if (call->structure)
		nvabi_abi_fields(against->abi, call->structure, true, print_param, call);
	else if (seen->kind == NVABI_CONTROL)
		printf(
		    "# to be said, if there is nothing to follow in its parameters: %s - value - "
		    "SOURCE\n",
		    call->name);
	print_row(against->request->capabilities, seen, call->name, "execute", NULL);
}

/* PATTERN: what allows it but for strict, or NULL. Its row takes it out of that, so names as much.
 */
static void print_unknown(const struct against *against, const struct seen_call *seen,
			  const struct nvabi_rule *pattern)
{
	const uint32_t capabilities =
	    against->request->capabilities | (pattern ? pattern->capabilities : 0);
	char name[32];

	snprintf(name, sizeof(name), "0x%08" PRIx32, seen->number);
	if (seen->kind == NVABI_HEAP_FUNCTION) {
		print_nothing(seen, name, nvabi_allow_never(seen->kind, name));
		return;
	}
	if (seen->kind != NVABI_CONTROL) {
		print_nothing(seen, name, "no release that is known has it");
		return;
	}
	if (!pattern)
		printf(
		    "# to be said, if there is nothing to follow in its parameters: %s - value - "
		    "SOURCE\n",
		    name);
	snprintf(name, sizeof(name), "0x%08" PRIx32 ":%" PRIu32, seen->number, seen->size);
	print_row(capabilities, seen, name, pattern ? "firmware" : "execute", NULL);
}

static bool find_call(struct nvabi_abi *abi, const struct seen_call *seen, struct nvabi_call *call)
{
	uint32_t asked = seen->kind == NVABI_MEMORY_CLASS ? (uint32_t)NVABI_CLASS : seen->kind;
	uint32_t cursor = 0;

	while (nvabi_abi_by_number(abi, seen->number, &cursor, call))
		if (call->kind == asked)
			return true;
	return false;
}

/* Its way stays, whatever the capabilities. */
static void print_wider(const struct against *against, const struct seen_call *seen,
			const struct nvabi_rule *rule)
{
	char words[128], name[32];

	print_words(rule->capabilities, words, sizeof(words));
	printf("# besides %s:\n", words);
	snprintf(name, sizeof(name), "%s:%" PRIu32, rule->name, rule->size);
	print_row(against->request->capabilities, seen, *rule->name == '0' ? name : rule->name,
		  nvabi_way_name(rule->way), rule->reason);
}

static void print_call(const struct against *against, const struct seen_call *seen)
{
	const struct nvabi_rule *rule =
	    nvabi_policy_find(against->policy, seen->kind, seen->number);
	const struct nvabi_rule *pattern = rule && rule->pattern ? rule : NULL;
	bool holds = rule && !(against->request->strict && pattern);
	struct nvabi_call call;

	if (holds && rule->capabilities & against->request->capabilities)
		return;
	if (rule && !pattern)
		print_wider(against, seen, rule);
	else if (find_call(against->abi, seen, &call) && !pattern)
		print_known(against, seen, &call);
	else
		print_unknown(against, seen, pattern);
}

/* ---- The command ---- */

/* Of the driver that runs. */
static bool find_version(char text[NVABI_VERSION_TEXT])
{
	cleanup_file FILE *file = fopen("/proc/driver/nvidia/version", "re");
	struct nvabi_version version;
	char word[64];

	while (file && fscanf(file, "%63s", word) == 1) {
		if (!strchr(word, '.') || nvabi_version_parse(word, &version))
			continue;
		nvabi_version_format(&version, text);
		return true;
	}
	return false;
}

static int open_against(struct against *against, const struct nvabi_allow *allow,
			struct nvabi_policy **policy, const char *text, struct mpu_error *error)
{
	struct nvabi_version version;
	int result;

	if (nvabi_version_parse(text, &version))
		return mpu_fail(error, EINVAL,
				"'%s' is not a driver version: write it as 535.104.05", text);
	result = nvabi_abi_open(&version, &against->abi);
	if (!result)
		result = nvabi_policy_open_with(&version, allow, policy);
	against->policy = *policy;
	return result ? mpu_fail(error, -result, "nothing is known of the ABI of %s", text) : 0;
}

static int print_missing(const struct request *request, struct seen_calls *calls,
			 struct mpu_error *error)
{
	struct against against = {.request = request};
	struct nvabi_allow *allow = NULL;
	struct nvabi_policy *policy = NULL;
	int result;

	if (request->version)
		snprintf(calls->release, sizeof(calls->release), "%s", request->version);
	else if (!*calls->release && !find_version(calls->release))
		return mpu_fail(error, ENOENT,
				"no driver runs here and the trace names none: give "
				"--driver-version");
	result = request->allow ? nvabi_allow_read(request->allow, &allow, error) : 0;
	if (!result)
		result = open_against(&against, allow, &policy, calls->release, error);
	if (!result) {
		printf("# %" PRIu32 " different calls of %s\n", calls->count, calls->release);
		for (uint32_t i = 0; i < calls->count; i++)
			print_call(&against, &calls->call[i]);
		if (calls->modeset)
			printf("# %" PRIu32 " of nvidia-modeset, which no row can allow\n",
			       calls->modeset);
	}
	nvabi_abi_close(against.abi);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
	return result;
}

static int read_files(struct seen_calls *calls, char *const *paths, const char *container,
		      struct mpu_error *error)
{
	int result = 0;

	for (; !result && *paths; paths++) {
		bool is_stdin = !strcmp(*paths, "-");
		FILE *file = is_stdin ? stdin : fopen(*paths, "re");

		if (!file)
			return mpu_fail(error, errno, "%s: %s", *paths, strerror(errno));
		result = seen_calls_read(calls, file, *paths, container, error);
		if (!is_stdin)
			fclose(file);
	}
	return result;
}

static bool parse_capabilities(const char *words, uint32_t *capabilities)
{
	for (*capabilities = 0; words; words = *words ? words + 1 : NULL) {
		size_t length = strcspn(words, ",");

		if (!nvabi_capability_parse(words, length, capabilities))
			return false;
		words += length;
	}
	return true;
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct request *request)
{
	static const struct option options[] = {{"capabilities", required_argument, NULL, 'c'},
						{"allow", required_argument, NULL, 'a'},
						{"strict", no_argument, NULL, 's'},
						{"container", required_argument, NULL, 'n'},
						{"driver-version", required_argument, NULL, 'v'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	int id;

	*request = (struct request){.capabilities = NVABI_CAP_COMPUTE | NVABI_CAP_UTILITY};
	optind = 0;
	while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (id == 'h')
			return fputs(usage, stdout) < 0;
		if (id == 'a')
			request->allow = optarg;
		else if (id == 's')
			request->strict = true;
		else if (id == 'n')
			request->container = optarg;
		else if (id == 'v')
			request->version = optarg;
		else if (id != 'c' || !parse_capabilities(optarg, &request->capabilities))
			break;
	}
	if (id == -1 && optind < argc)
		return -1;
	if (id == 'c')
		fprintf(stderr, "mpuctl abi policy-from-trace: '%s' are no capabilities\n", optarg);
	fputs(usage, stderr);
	return 2;
}

int from_trace_command(int argc, char **argv)
{
	struct mpu_error error = {0};
	struct seen_calls calls = {0};
	struct request request;
	int result = parse(argc, argv, &request);

	if (result >= 0)
		return result;
	result = read_files(&calls, argv + optind, request.container, &error);
	if (!result)
		result = print_missing(&request, &calls, &error);
	if (!result && fflush(stdout))
		result = mpu_fail(&error, EIO, "standard output cannot be written");
	if (result)
		fprintf(stderr, "mpuctl abi policy-from-trace: %s\n", error.text);
	seen_calls_free(&calls);
	return result ? 1 : 0;
}
