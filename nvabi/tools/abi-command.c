#include "nvabi/tools/abi-command.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "nvabi/abi-print.h"
#include "nvabi/tools/from-trace.h"
#include "nvabi/tools/policy-command.h"
#include "nvabi/tools/sha256.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the command line says behind the command. */
struct request {
	char *argument[2];
	const char *allow; /* a file of rows, or NULL */
	bool json;
};

struct command {
	const char *name;
	int arguments;
	int (*run)(const struct request *request, struct mpu_error *error);
	const char *help; /* NULL: the row before says it */
};

static const char *const matches[] = {"exact", "neighbour", "branch"};

static int parse_version(const char *text, struct nvabi_version *version, struct mpu_error *error)
{
	if (nvabi_version_parse(text, version))
		return mpu_fail(error, EINVAL,
				"'%s' is not a driver version: write it as 535.104.05", text);
	return 0;
}

/* Says on standard error when another release stands for the one asked for. */
static int open_release(const char *text, struct nvabi_abi **abi, struct mpu_error *error)
{
	char stand_in[NVABI_VERSION_TEXT];
	struct nvabi_version version;
	enum nvabi_match match;
	int rc = parse_version(text, &version, error);

	if (rc)
		return rc;
	rc = nvabi_abi_open(&version, abi);
	if (rc == -ENOENT)
		return mpu_fail(error, ENOENT,
				"nothing is known of the ABI of %s: the first release "
				"with public headers is 515.43.04",
				text);
	if (rc)
		return mpu_fail(error, -rc, "%s: %s", text, strerror(-rc));
	nvabi_version_format(nvabi_abi_release(*abi, &match), stand_in);
	if (nvabi_abi_partial(*abi))
		fprintf(stderr,
			"the source of %s is not public: what is not known of it is shown as in "
			"595.45.04\n",
			stand_in);
	if (match != NVABI_MATCH_EXACT)
		fprintf(stderr, "%s is not listed; this is %s (%s)\n", text, stand_in,
			matches[match]);
	return 0;
}

/* Releases of which only other projects' public facts are known. */
static void print_partial(bool json)
{
	const struct nvabi_version *version;
	char text[NVABI_VERSION_TEXT];

	for (uint32_t i = 0; (version = nvabi_partial_release(i)); i++) {
		nvabi_version_format(version, text);
		printf(json ? "{\"version\":\"%s\",\"parent\":null,\"headers\":\"partial\","
			      "\"qualified\":false}\n"
			    : "%-12s -            partial\n",
		       text);
	}
}

static int run_versions(const struct request *request, struct mpu_error *error)
{
	(void)error;
	for (uint32_t i = 0; i < nvabi_release_count(); i++) {
		const struct nvabi_version *version = nvabi_release_version(i);
		int parent = nvabi_release_parent(i);
		char text[NVABI_VERSION_TEXT], from[NVABI_VERSION_TEXT] = "";
		bool qualified = nvabi_release_qualified(version);
		const char *headers = version->parts > 1 ? "public" : "closed";

		nvabi_version_format(version, text);
		if (parent >= 0)
			nvabi_version_format(nvabi_release_version((uint32_t)parent), from);
		if (request->json)
			printf("{\"version\":\"%s\",\"parent\":%s%s%s,\"headers\":\"%s\","
			       "\"qualified\":%s}\n",
			       text, parent < 0 ? "null" : "\"", from, parent < 0 ? "" : "\"",
			       headers, qualified ? "true" : "false");
		else
			printf("%-12s %-12s %s%s\n", text, parent < 0 ? "-" : from, headers,
			       qualified ? " qualified" : "");
	}
	print_partial(request->json);
	return 0;
}

/* A number, decimal or with 0x. */
static bool parse_number(const char *text, uint32_t *number)
{
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 0);
	*number = (uint32_t)value;
	return !errno && !*end && value <= UINT32_MAX;
}

/* A control's number first, where several kinds of calls have the same one. */
static bool find_by_number(struct nvabi_abi *abi, uint32_t number, struct nvabi_call *call)
{
	struct nvabi_call found;
	uint32_t cursor = 0;
	bool any = false;

	while (nvabi_abi_by_number(abi, number, &cursor, &found)) {
		if (!any || (found.kind == NVABI_CONTROL && call->kind != NVABI_CONTROL))
			*call = found;
		any = true;
	}
	return any;
}

static int run_show(const struct request *request, struct mpu_error *error)
{
	struct nvabi_abi *abi = NULL;
	struct nvabi_call call;
	uint32_t number;
	int rc = open_release(request->argument[0], &abi, error);

	if (rc)
		return rc;
	if (parse_number(request->argument[1], &number)
		? find_by_number(abi, number, &call)
		: nvabi_abi_by_name(abi, request->argument[1], &call))
		nvabi_print_call(abi, &call, request->json, stdout);
	else
		rc = mpu_fail(error, ENOENT,
			      "%s has no call %s: `abi dump %s` lists them all, `abi lookup` "
			      "searches all releases",
			      request->argument[0], request->argument[1], request->argument[0]);
	nvabi_abi_close(abi);
	return rc;
}

static int run_dump(const struct request *request, struct mpu_error *error)
{
	struct nvabi_abi *abi = NULL;
	struct nvabi_call call;
	uint32_t cursor = 0;
	int rc = open_release(request->argument[0], &abi, error);

	while (!rc && nvabi_abi_next(abi, &cursor, &call))
		nvabi_print_call(abi, &call, request->json, stdout);
	nvabi_abi_close(abi);
	return rc;
}

static int print_difference(const struct nvabi_difference *difference, void *context)
{
	nvabi_print_difference(difference, *(const bool *)context, stdout);
	return 0;
}

static int run_diff(const struct request *request, struct mpu_error *error)
{
	struct nvabi_abi *base = NULL, *next = NULL;
	bool json = request->json;
	int rc = open_release(request->argument[0], &base, error);

	if (!rc)
		rc = open_release(request->argument[1], &next, error);
	if (!rc && nvabi_abi_diff(base, next, print_difference, &json))
		rc = mpu_fail(error, ENOMEM, "no memory");
	if (!rc)
		nvabi_semantics_diff(nvabi_abi_release(base, NULL), nvabi_abi_release(next, NULL),
				     print_difference, &json);
	nvabi_abi_close(base);
	nvabi_abi_close(next);
	return rc;
}

/* What one release says of the call that is looked up: one line a call. */
static char *describe(uint32_t release, const char *name, bool by_number, uint32_t number)
{
	struct nvabi_abi *abi;
	struct nvabi_call call;
	uint32_t cursor = 0;
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	if (nvabi_abi_open(nvabi_release_version(release), &abi))
		return NULL;
	out = open_memstream(&text, &size);
	while (out && (by_number ? nvabi_abi_by_number(abi, number, &cursor, &call)
				 : !cursor && nvabi_abi_by_name(abi, name, &call))) {
		fprintf(out, "%s %s 0x%" PRIx32 " %s %" PRIu32 "\n", nvabi_kind_name(call.kind),
			call.name, call.number, call.structure ? call.structure : "-", call.size);
		cursor += !by_number;
	}
	if (out)
		fclose(out);
	nvabi_abi_close(abi);
	return text;
}

static void print_lookup(uint32_t release, const char *text, bool json)
{
	char version[NVABI_VERSION_TEXT], kind[16], name[160], structure[160];
	uint32_t number, size;
	const char *line = text;

	nvabi_version_format(nvabi_release_version(release), version);
	if (!*text) {
		printf(json ? "{\"release\":\"%s\",\"kind\":null}\n" : "%-12s gone\n", version);
		return;
	}
	while (sscanf(line, "%15s %159s %" SCNx32 " %159s %" SCNu32, kind, name, &number, structure,
		      &size) == 5) {
		if (json)
			printf("{\"release\":\"%s\",\"kind\":\"%s\",\"name\":\"%s\",\"number\":"
			       "%" PRIu32 ",\"struct\":%s%s%s,\"size\":%" PRIu32 "}\n",
			       version, kind, name, number, *structure == '-' ? "" : "\"",
			       *structure == '-' ? "null" : structure,
			       *structure == '-' ? "" : "\"", size);
		else
			printf("%-12s %s %s 0x%" PRIx32 " %s %" PRIu32 " bytes\n", version, kind,
			       name, number, structure, size);
		line = strchr(line, '\n') + 1;
	}
}

static void free_texts(char **texts)
{
	for (uint32_t i = 0; i < nvabi_release_count(); i++)
		free(texts[i]);
	free(texts);
}

/* Prints each release in which the call is not what it was in the release's parent. */
static int run_lookup(const struct request *request, struct mpu_error *error)
{
	char **texts = calloc(nvabi_release_count(), sizeof(*texts));
	uint32_t number = 0, found = 0;
	bool by_number = parse_number(request->argument[0], &number);

	if (!texts)
		return mpu_fail(error, ENOMEM, "no memory");
	for (uint32_t i = 0; i < nvabi_release_count(); i++)
		texts[i] = describe(i, request->argument[0], by_number, number);
	for (uint32_t i = 0; i < nvabi_release_count(); i++) {
		int parent = nvabi_release_parent(i);
		const char *before = parent >= 0 && texts[parent] ? texts[parent] : "";

		if (!texts[i] || !strcmp(texts[i], before))
			continue;
		print_lookup(i, texts[i], request->json);
		found++;
	}
	free_texts(texts);
	return found ? 0
		     : mpu_fail(error, ENOENT, "no release has a call %s", request->argument[0]);
}

static int run_checksum(const struct request *request, struct mpu_error *error)
{
	cleanup_file FILE *file = fopen(request->argument[0], "re");
	const struct nvabi_installer *installer;
	char digits[65], version[NVABI_VERSION_TEXT];

	if (!file)
		return mpu_fail(error, errno, "%s: %s", request->argument[0], strerror(errno));
	errno = EIO;
	if (sha256_file(file, digits))
		return mpu_fail(error, errno, "%s: cannot be read: %s", request->argument[0],
				strerror(errno));
	installer = nvabi_installer_find(digits);
	if (!installer)
		return mpu_fail(error, ENOENT, "%s: SHA-256 %s is no installer that is known",
				request->argument[0], digits);
	nvabi_version_format(&installer->version, version);
	printf(request->json ? "{\"version\":\"%s\",\"arch\":\"%s\",\"sha256\":\"%s\"}\n"
			     : "%s %s %s\n",
	       version, installer->arch, digits);
	return 0;
}

static int run_policy(const struct request *request, struct mpu_error *error)
{
	return policy_print(request->argument[0], request->argument[1], request->allow,
			    request->json, error);
}

static const struct command commands[] = {
    {"versions", 0, run_versions, "versions               the releases that are known"},
    {"show", 2, run_show, "show VERSION CALL      one call, by its name or number"},
    {"dump", 1, run_dump, "dump VERSION           all calls of a release"},
    {"diff", 2, run_diff, "diff A B               how two releases differ"},
    {"lookup", 1, run_lookup, "lookup CALL            one call across all releases"},
    {"policy", 1, run_policy,
     "policy VERSION [LIST]  what containers with these capabilities may call\n"
     "    --allow=FILE         with the rows of FILE, which is checked"},
    {"policy", 2, run_policy, NULL},
    {"policy-from-trace", 0, NULL,
     "policy-from-trace FILE...  rows for what traces and logs say is missing"},
    {"checksum", 1, run_checksum, "checksum FILE.run      which release an installer is"},
};

static int usage(FILE *out)
{
	fprintf(out, "usage: mpuctl abi [--json] COMMAND\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].help)
			fprintf(out, "  %s\n", commands[i].help);
	return 2;
}

/* What is wrong with the command line, and what there is. */
static int refuse(const char *what, const char *word)
{
	fprintf(stderr, "mpuctl abi: %s%s\n", what, word ? word : "");
	return usage(stderr);
}

static int refuse_command(const char *name)
{
	if (!name)
		return refuse("no command", NULL);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name))
			return refuse("too few or too many arguments of ", name);
	return refuse("there is no command ", name);
}

int abi_command(int argc, char **argv)
{
	struct mpu_error error = {0};
	struct request request = {0};
	const char *name = NULL;
	int count = 0;

	if (argc > 1 && !strcmp(argv[1], "policy-from-trace"))
		return from_trace_command(argc - 1, argv + 1);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			request.json = true;
		else if (!strncmp(argv[i], "--allow=", 8) && argv[i][8])
			request.allow = argv[i] + 8;
		else if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			return 0;
		} else if (*argv[i] == '-')
			return refuse("there is no option ", argv[i]);
		else if (!name)
			name = argv[i];
		else if (count < 2)
			request.argument[count++] = argv[i];
		else
			return refuse("too many arguments of ", name);
	}
	if (request.allow && name && strcmp(name, "policy"))
		return refuse("--allow is an option of policy, not of ", name);
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, name) || commands[i].arguments != count ||
		    !commands[i].run)
			continue;
		if (!commands[i].run(&request, &error) && !fflush(stdout))
			return 0;
		fprintf(stderr, "mpuctl abi: %s\n",
			*error.text ? error.text : "standard output cannot be written");
		return 1;
	}
	return refuse_command(name);
}
