#include "supervisor/mpuctl/ask.h"
#include "supervisor/mpuctl/ps.h"

#include <inttypes.h>
#include <string.h>

enum { WIDE = 110, MORE_ENGINES = 20, LEFT = 57, SHORT_ID = 12 };

static bool is_null(struct json_object *object, const char *path)
{
	return json_object_is_type(ask_member(object, path), json_type_null);
}

static const char *colour(const struct ps_style *style, const char *code)
{
	return style->colours ? code : "";
}

static void print_title(FILE *out, struct json_object *gpu, const struct ps_style *style)
{
	uint64_t sum = 0;
	struct json_object *processes = ask_member(gpu, "processes");
	size_t count = json_object_array_length(processes);

	for (size_t i = 0; i < count; i++)
		sum += ask_number(json_object_array_get_idx(processes, i), "memory");
	fprintf(out, "%sGPU %" PRIu64 "  %.32s  %s  %zu process%s, %" PRIu64 " MiB%s\n",
		colour(style, "\033[1m"), ask_number(gpu, "index"), ask_text(gpu, "name"),
		ask_text(gpu, "pci"), count, count == 1 ? "" : "es", sum >> 20,
		colour(style, "\033[0m"));
	if (!is_null(gpu, "error"))
		fprintf(out, "  %.*s\n", (int)style->columns - 2, ask_text(gpu, "error"));
}

static const char *type_of(struct json_object *process)
{
	struct json_object *types = ask_member(process, "types");
	const char *text = json_object_to_json_string_ext(types, JSON_C_TO_STRING_PLAIN);
	bool compute = strstr(text, "compute") != NULL;

	if (strstr(text, "mps"))
		return "M+C";
	if (strstr(text, "graphics"))
		return compute ? "C+G" : "G";
	return compute ? "C" : "-";
}

static void print_engine(FILE *out, struct json_object *process, const char *engine)
{
	char path[32];

	snprintf(path, sizeof(path), "utilisation.%s", engine);
	if (is_null(process, path))
		fputs("    -", out);
	else
		fprintf(out, " %4.0f", json_object_get_double(ask_member(process, path)));
}

/* "name (namespace/pod) id", as much as is known and fits; '*' before those that mpu does not
 * serve. */
static void print_container(FILE *out, struct json_object *process, int width)
{
	struct json_object *container = ask_member(process, "container");
	const char *name = ask_text(container, "name"), *pod = ask_text(container, "pod");
	const char *space = ask_text(container, "namespace"), *id = ask_text(container, "id");
	char text[320];
	int length = 0;

	if (!container) {
		fputs(" -\n", out);
		return;
	}
	if (*name)
		length = snprintf(text, sizeof(text), "%s ", name);
	if (*pod)
		length += snprintf(text + length, sizeof(text) - (size_t)length, "(%s%s%s) ", space,
				   *space ? "/" : "", pod);
	snprintf(text + length, sizeof(text) - (size_t)length, "%.*s",
		 strlen(id) == 64 ? SHORT_ID : 64, id);
	fprintf(out, "%c%.*s\n",
		json_object_get_boolean(ask_member(container, "served")) ? ' ' : '*', width, text);
}

static void print_process(FILE *out, struct json_object *process, const struct ps_style *style)
{
	bool wide = style->columns >= WIDE;
	char inside[16] = "-";

	if (!is_null(process, "container.pid") && ask_member(process, "container.pid"))
		snprintf(inside, sizeof(inside), "%" PRIu64, ask_number(process, "container.pid"));
	fprintf(out, "%8" PRIu64 " %7s %-3s %8" PRIu64, ask_number(process, "pid"), inside,
		type_of(process), ask_number(process, "memory") >> 20);
	print_engine(out, process, "gr");
	print_engine(out, process, "fb");
	if (wide) {
		print_engine(out, process, "nvenc");
		print_engine(out, process, "nvdec");
		print_engine(out, process, "nvjpg");
		print_engine(out, process, "nvofa");
	}
	fprintf(out, " %-15.15s ", ask_text(process, "name"));
	print_container(out, process, (int)style->columns - LEFT - (wide ? MORE_ENGINES : 0));
}

static bool has_unserved(struct json_object *processes)
{
	for (size_t i = 0; i < json_object_array_length(processes); i++) {
		struct json_object *container =
		    ask_member(json_object_array_get_idx(processes, i), "container");

		if (container && !json_object_get_boolean(ask_member(container, "served")))
			return true;
	}
	return false;
}

static bool print_gpu(FILE *out, struct json_object *gpu, const struct ps_style *style)
{
	struct json_object *processes = ask_member(gpu, "processes");
	size_t count = json_object_array_length(processes);

	print_title(out, gpu, style);
	if (count)
		fprintf(
		    out,
		    "%s     PID  INSIDE TYP      MiB GPU%% MEM%%%s NAME             CONTAINER%s\n",
		    colour(style, "\033[2m"), style->columns >= WIDE ? " ENC% DEC% JPG% OFA%" : "",
		    colour(style, "\033[0m"));
	for (size_t i = 0; i < count; i++)
		print_process(out, json_object_array_get_idx(processes, i), style);
	fputc('\n', out);
	return has_unserved(processes);
}

/* Breaks TEXT between words. */
static void print_note(FILE *out, const char *text, unsigned int columns)
{
	unsigned int column = 0;

	while (*text) {
		size_t word = strcspn(text, " ");

		if (column && column + 1 + word > columns) {
			fputc('\n', out);
			column = 0;
		}
		column += (unsigned int)fprintf(out, "%s%.*s", column ? " " : "", (int)word, text);
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

void ps_print(FILE *out, struct json_object *answer, const struct ps_style *style)
{
	struct json_object *gpus = ask_member(answer, "gpus"), *notes = ask_member(answer, "notes");
	bool unserved = false;

	if (!json_object_array_length(gpus))
		fputs("No process has a GPU open.\n", out);
	for (size_t i = 0; i < json_object_array_length(gpus); i++)
		unserved |= print_gpu(out, json_object_array_get_idx(gpus, i), style);
	if (unserved)
		print_note(
		    out,
		    "* not served by this mpud: it sees what the driver tells it, which may be "
		    "other containers' processes.",
		    style->columns);
	for (size_t i = 0; i < json_object_array_length(notes); i++)
		print_note(out, json_object_get_string(json_object_array_get_idx(notes, i)),
			   style->columns);
}
