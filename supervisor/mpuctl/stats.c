#include "supervisor/mpuctl/ask.h"

#include <inttypes.h>
#include <stdio.h>

static const char usage[] =
    "Usage: mpuctl stats [--socket=PATH] [--json]\n"
    "\n"
    "What the running mpud has done since its containers' journal was begun, which\n"
    "outlives its workers and its upgrades: calls, and how long the corrected ones\n"
    "took from their arrival to the answer.\n"
    "\n"
    "  --socket=PATH  the mpud that listens there (/run/mpu/mpud.sock; an ordinary\n"
    "                 user's $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --json         as JSON, times in nanoseconds\n"
    "  --help\n";

static void print_control(struct json_object *control)
{
	printf("%9" PRIu64 " %8.1f %8.1f %8.1f %8.1f  0x%08" PRIx64 "\n          %s\n",
	       ask_number(control, "count"), (double)ask_number(control, "mean_ns") / 1e3,
	       (double)ask_number(control, "p50_ns") / 1e3,
	       (double)ask_number(control, "p99_ns") / 1e3,
	       (double)ask_number(control, "max_ns") / 1e3, ask_number(control, "cmd"),
	       ask_text(control, "name"));
}

static void print(struct json_object *answer)
{
	static const struct {
		const char *name, *meaning;
	} counts[] = {{"received", "calls that came"},
		      {"passed", "not ours: the kernel went on with them"},
		      {"handled", "answered with corrected PIDs"},
		      {"vanished", "whose process went away first"},
		      {"unreadable", "of processes whose memory cannot be read: not corrected"},
		      {"retried", "asked to call again (EAGAIN)"},
		      {"refused", "failed by us, for trouble that did not go away"},
		      {"taken_up", "of a worker that ended, taken up by the next one"},
		      {"taken_over", "listeners that went on while a call of theirs stood still"},
		      {"listeners", "listeners now"}};
	struct json_object *controls = ask_member(answer, "controls");
	size_t count = json_object_array_length(controls);

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		printf("%12" PRIu64 "  %s\n", ask_number(answer, counts[i].name),
		       counts[i].meaning);
	if (count)
		printf("\n%9s %8s %8s %8s %8s  control\n", "count", "mean us", "p50 us", "p99 us",
		       "max us");
	for (size_t i = 0; i < count; i++)
		print_control(json_object_array_get_idx(controls, i));
}

int stats_command(int argc, char **argv)
{
	return ask_and_print(argc, argv, usage, print);
}
