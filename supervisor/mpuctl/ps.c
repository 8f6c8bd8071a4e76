#include "supervisor/mpuctl/ps.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "supervisor/engine.h"
#include "supervisor/gpus/census.h"
#include "supervisor/mpuctl/ps-proxies.h"
#include "supervisor/gpus/whose.h"
#include "supervisor/mpuctl/ask.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char usage[] =
    "Usage: mpuctl ps [--watch[=SECONDS]] [--json] [--socket=PATH] [--dev-root=DIR]\n"
    "\n"
    "The processes of each GPU, as the driver tells the host, and which container\n"
    "each is in: one that mpud serves, or any other by its cgroup or PID namespace.\n"
    "Without mpud too. Must run on the host; root sees most.\n"
    "\n"
    "  --watch[=SECONDS]  draw it again every so many seconds (2), until q or Ctrl-C\n"
    "  --json             as JSON: memory in bytes, utilisation in per cent\n"
    "  --socket=PATH      ask the mpud that listens there (/run/mpu/mpud.sock; an\n"
    "                     ordinary user's $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --dev-root=DIR     DIR/nvidiactl and so on are the driver's device files\n"
    "  --help\n";

struct options {
	struct ask_options ask;
	const char *dev_root;
	unsigned int watch; /* seconds, or 0 */
};

/* What is asked again and again. */
struct ps {
	const struct options *options;
	struct census_source source;
};

/* ---- The command line ---- */

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {
	    {"watch", optional_argument, NULL, 'w'},  {"json", no_argument, NULL, 'j'},
	    {"socket", required_argument, NULL, 's'}, {"dev-root", required_argument, NULL, 'd'},
	    {"help", no_argument, NULL, 'h'},	      {0}};
	int id;

	optind = 1;
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
		if (id == 'h')
			return fputs(usage, stdout) < 0;
		if (id == 'w' && !ask_parse_seconds(optarg ? optarg : "2", &options->watch)) {
			fprintf(stderr, "mpuctl: --watch takes 1 to 3600 seconds, not %s\n",
				optarg);
			return 2;
		}
		if (id == 'j')
			options->ask.json = true;
		else if (id == 's')
			options->ask.socket = optarg;
		else if (id == 'd')
			options->dev_root = optarg;
		else if (id != 'w')
			return ask_refuse_option(id, argv);
	}
	if (optind < argc)
		fprintf(stderr, "mpuctl: ps takes no argument %s (see mpuctl ps --help)\n",
			argv[optind]);
	else if (options->watch && options->ask.json)
		fputs("mpuctl: --watch draws on a terminal, --json is for programs: take one\n",
		      stderr);
	else
		return -1;
	return 2;
}

/* ---- What mpud knows ---- */

static void copy(char to[WHOSE_TEXT], const char *text)
{
	snprintf(to, WHOSE_TEXT, "%s", text);
}

/* Returns the containers that STATUS tells of, COUNT of them, which the caller frees. */
static struct known_container *read_known(struct json_object *status, size_t *count)
{
	struct json_object *list = ask_member(status, "containers");
	size_t length = list ? json_object_array_length(list) : 0;
	struct known_container *known = calloc(length + 1, sizeof(*known));

	*count = known ? length : 0;
	for (size_t i = 0; i < *count; i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		copy(known[i].id, ask_text(one, "id"));
		copy(known[i].name, ask_text(one, "name"));
		copy(known[i].pod, ask_text(one, "pod"));
		copy(known[i].namespace, ask_text(one, "namespace"));
		known[i].pid = (pid_t)ask_number(one, "pid");
		whose_look_up(&known[i]);
	}
	return known;
}

/* ---- As JSON ---- */

static void add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, *text ? json_object_new_string(text) : NULL);
}

static struct json_object *container_json(const struct whose *whose)
{
	const struct known_container *known = whose->known;
	struct json_object *object;

	if (!*whose->id)
		return NULL;
	object = json_object_new_object();
	add_text(object, "id", whose->id);
	add_text(object, "name", known ? known->name : "");
	add_text(object, "pod", known && *known->pod ? known->pod : whose->pod);
	add_text(object, "namespace", known ? known->namespace : "");
	add_text(object, "engine", whose->engine);
	json_object_object_add(object, "served", json_object_new_boolean(known != NULL));
	json_object_object_add(object, "pid",
			       whose->inside ? json_object_new_int(whose->inside) : NULL);
	return object;
}

static struct json_object *types_json(unsigned int types)
{
	static const char *const names[] = {"compute", "graphics", "mps"};
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (types & 1u << i)
			json_object_array_add(list, json_object_new_string(names[i]));
	return list;
}

static struct json_object *utilisation_json(const struct census_process *process, size_t engines)
{
	static const char *const names[NVABI_ENGINES] = {"fb",	  "gr",	   "nvenc",
							 "nvdec", "nvjpg", "nvofa"};
	struct json_object *object = json_object_new_object();

	for (size_t i = 0; i < NVABI_ENGINES; i++) {
		int util = process->util[i] == CENSUS_IDLE ? 0 : process->util[i];

		json_object_object_add(object, names[i],
				       i < engines ? json_object_new_double(util / 100.0) : NULL);
	}
	return object;
}

static struct json_object *process_json(const struct census_process *process, size_t engines,
					const struct known_container *known, size_t count)
{
	struct json_object *object = json_object_new_object();
	char name[WHOSE_ENGINE];
	struct whose whose;

	whose_find(process->pid, known, count, &whose);
	whose_process_name(process->pid, name);
	json_object_object_add(object, "pid", json_object_new_int(process->pid));
	add_text(object, "name", name);
	json_object_object_add(object, "types", types_json(process->types));
	json_object_object_add(object, "memory", json_object_new_uint64(process->memory));
	json_object_object_add(object, "utilisation", utilisation_json(process, engines));
	json_object_object_add(object, "container", container_json(&whose));
	return object;
}

static struct json_object *gpu_json(const struct census_gpu *gpu,
				    const struct known_container *known, size_t count)
{
	struct json_object *object = json_object_new_object();
	struct json_object *processes = json_object_new_array();

	json_object_object_add(object, "index", json_object_new_uint64(gpu->place.index));
	add_text(object, "pci", gpu->place.pci);
	add_text(object, "name", gpu->name);
	add_text(object, "uuid", gpu->uuid);
	add_text(object, "error", gpu->error.code ? gpu->error.text : "");
	for (size_t i = 0; i < gpu->count; i++)
		json_object_array_add(processes,
				      process_json(&gpu->process[i], gpu->engines, known, count));
	json_object_object_add(object, "processes", processes);
	return object;
}

static void add_notes(struct json_object *notes, const struct ps *ps, const struct mpu_error *mpud)
{
	char text[640];

	if (mpud->code) {
		snprintf(text, sizeof(text),
			 "Containers are told by cgroup and PID namespace alone: %s", mpud->text);
		json_object_array_add(notes, json_object_new_string(text));
	}
	if (geteuid() != 0 && ps->source.pids.semantics.kind == NVABI_TID)
		json_object_array_add(
		    notes,
		    json_object_new_string(
			"This driver lists threads, and only root can tell whose all of them "
			"are: processes of other users may be missing (sudo mpuctl ps)."));
}

/* Returns what --json prints, of which the caller owns a reference, or NULL with ERROR filled. */
static struct json_object *look(const struct ps *ps, struct mpu_error *error)
{
	cleanup_census struct census census = {.count = 0};
	cleanup_json struct json_object *status = NULL;
	cleanup_free struct known_container *known = NULL;
	cleanup_proxied struct proxied proxied = {0};
	struct census_source source = ps->source;
	struct json_object *answer, *gpus, *notes;
	struct mpu_error mpud = {0};
	char version[NVABI_VERSION_TEXT];
	size_t count;

	status = ask(&ps->options->ask, "status", &mpud);
	ps_find_proxies(status, &proxied);
	source.proxied = &proxied;
	if (census_take(&census, &source, error))
		return NULL;
	known = read_known(status, &count);
	answer = json_object_new_object();
	gpus = json_object_new_array();
	notes = json_object_new_array();
	add_text(answer, "driver", nvabi_version_format(&ps->source.driver.version, version));
	add_text(answer, "mpud", ask_text(status, "version"));
	for (size_t i = 0; i < census.count; i++)
		json_object_array_add(gpus, gpu_json(&census.gpu[i], known, count));
	json_object_object_add(answer, "gpus", gpus);
	add_notes(notes, ps, &mpud);
	json_object_object_add(answer, "notes", notes);
	return answer;
}

/* ---- Once, or again and again ---- */

static void draw(struct json_object *answer, unsigned int seconds)
{
	struct ps_style style = screen_style();
	cleanup_free char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	fprintf(out, "mpuctl ps  driver %s  every %u s, q ends\n\n", ask_text(answer, "driver"),
		seconds);
	ps_print(out, answer, &style);
	fclose(out);
	screen_draw(text);
}

static int watch(const struct ps *ps, struct mpu_error *error)
{
	int result = screen_enter(error);
	bool goes_on = !result;

	/* A line in the log would spoil the picture. */
	log_set_level(LOG_LEVEL_ERROR);
	while (goes_on) {
		cleanup_json struct json_object *answer = look(ps, error);

		if (answer)
			draw(answer, ps->options->watch);
		goes_on = answer && screen_wait(ps->options->watch);
	}
	if (!result)
		screen_leave();
	return error->code ? -error->code : 0;
}

static int once(const struct ps *ps, struct mpu_error *error)
{
	cleanup_json struct json_object *answer = look(ps, error);
	struct ps_style style = screen_style();

	if (!answer)
		return -error->code;
	if (ps->options->ask.json)
		return json_write(STDOUT_FILENO, answer, error);
	ps_print(stdout, answer, &style);
	if (fflush(stdout))
		return mpu_fail(error, errno, "cannot write: %s", strerror(errno));
	return 0;
}

int ps_command(int argc, char **argv)
{
	struct options options = {.dev_root = NULL};
	struct mpu_error error = {0};
	struct ps ps = {.options = &options};
	int status = parse(argc, argv, &options), result;

	if (status >= 0)
		return status;
	ps.source.dev_root = options.dev_root;
	ps.source.roster = roster_new();
	result = ps.source.roster ? engine_check_namespace(&error)
				  : mpu_fail(&error, ENOMEM, "out of memory");
	if (!result)
		result = census_find_driver(&ps.source, &error);
	if (!result)
		result = options.watch ? watch(&ps, &error) : once(&ps, &error);
	if (ps.source.roster)
		roster_free(ps.source.roster);
	if (result)
		fprintf(stderr, "mpuctl: %s\n", error.text);
	return result ? 1 : 0;
}
