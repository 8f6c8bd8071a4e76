#include "supervisor/mpuctl/ask.h"
#include "supervisor/mpuctl/ps.h"

#include "base/cleanup.h"
#include "base/json.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "Usage: mpuctl stats [--interval=SECONDS | --watch[=SECONDS]] [--json]\n"
    "                    [--socket=PATH]\n"
    "\n"
    "What the running mpud has done since its containers' journal was begun, which\n"
    "outlives its workers and its upgrades: calls, and how long the corrected ones\n"
    "took from their arrival to the answer.\n"
    "\n"
    "  --interval=SECONDS\n"
    "                   look twice, so far apart, and print rates too\n"
    "  --watch[=SECONDS]\n"
    "                   draw it again every so many seconds (2), with the rates\n"
    "                   between, until q or Ctrl-C\n"
    "  --json           as JSON, times in nanoseconds, rates in calls per second\n"
    "  --socket=PATH    the mpud that listens there (/run/mpu/mpud.sock; an ordinary\n"
    "                   user's $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --help\n";

struct options {
	struct ask_options ask;
	unsigned int interval, watch; /* seconds, or 0 */
};

/* One look, and when it was. */
struct look {
	struct json_object *answer; /* owned; or NULL */
	struct timespec when;
};

static const struct count {
	const char *name, *meaning;
	bool is_now; /* and no count that grows */
} counts[] = {{"received", "calls that came", false},
	      {"passed", "not ours: the kernel went on with them", false},
	      {"handled", "answered with corrected PIDs", false},
	      {"vanished", "whose process went away first", false},
	      {"unreadable", "of processes whose memory cannot be read: not corrected", false},
	      {"retried", "asked to call again (EAGAIN)", false},
	      {"refused", "failed by us, for trouble that did not go away", false},
	      {"taken_up", "of a worker that ended, taken up by the next one", false},
	      {"taken_over", "listeners that went on while a call of theirs stood still", false},
	      {"listeners", "listeners now", true}};

enum { COUNTS = sizeof(counts) / sizeof(counts[0]) };

/* ---- The command line ---- */

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {{"interval", required_argument, NULL, 'i'},
					      {"watch", optional_argument, NULL, 'w'},
					      {"json", no_argument, NULL, 'j'},
					      {"socket", required_argument, NULL, 's'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int id;

	optind = 1;
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
		bool good = true;

		if (id == 'h')
			return fputs(usage, stdout) < 0;
		if (id == 'i')
			good = ask_parse_seconds(optarg, &options->interval);
		else if (id == 'w')
			good = ask_parse_seconds(optarg ? optarg : "2", &options->watch);
		else if (id == 'j')
			options->ask.json = true;
		else if (id == 's')
			options->ask.socket = optarg;
		else
			return ask_refuse_option(id, argv);
		if (!good) {
			fprintf(stderr, "mpuctl: --%s takes 1 to 3600 seconds, not %s\n",
				id == 'i' ? "interval" : "watch", optarg);
			return 2;
		}
	}
	if (optind < argc)
		fprintf(stderr, "mpuctl: stats takes no argument %s (see mpuctl stats --help)\n",
			argv[optind]);
	else if (options->watch && options->ask.json)
		fputs("mpuctl: --watch draws on a terminal, --json is for programs: take one, or "
		      "--interval with --json\n",
		      stderr);
	else if (options->watch && options->interval)
		fputs("mpuctl: --interval looks once, --watch again and again: take one\n", stderr);
	else
		return -1;
	return 2;
}

/* ---- Rates ---- */

static int take_look(const struct options *options, struct look *look, struct mpu_error *error)
{
	look->answer = ask(&options->ask, "stats", error);
	clock_gettime(CLOCK_MONOTONIC, &look->when);
	return look->answer ? 0 : -error->code;
}

static double seconds_between(const struct look *before, const struct look *now)
{
	return (double)(now->when.tv_sec - before->when.tv_sec) +
	       (double)(now->when.tv_nsec - before->when.tv_nsec) / 1e9;
}

/* Counts that shrink are another journal's: there is no rate. */
static void add_rate(struct json_object *rates, const char *name, uint64_t before, uint64_t now,
		     double seconds)
{
	json_object_object_add(rates, name,
			       now < before || seconds <= 0
				   ? NULL
				   : json_object_new_double((double)(now - before) / seconds));
}

static struct json_object *control_of(struct json_object *answer, uint64_t cmd)
{
	struct json_object *controls = ask_member(answer, "controls");

	for (size_t i = 0; i < json_object_array_length(controls); i++)
		if (ask_number(json_object_array_get_idx(controls, i), "cmd") == cmd)
			return json_object_array_get_idx(controls, i);
	return NULL;
}

/* Puts the rates since BEFORE into NOW's answer: all of them, and each control's. */
static void add_rates(const struct look *before, const struct look *now)
{
	struct json_object *rates = json_object_new_object();
	struct json_object *controls = ask_member(now->answer, "controls");
	double seconds = seconds_between(before, now);

	for (size_t i = 0; i < COUNTS; i++)
		if (!counts[i].is_now)
			add_rate(rates, counts[i].name, ask_number(before->answer, counts[i].name),
				 ask_number(now->answer, counts[i].name), seconds);
	json_object_object_add(now->answer, "interval_s", json_object_new_double(seconds));
	json_object_object_add(now->answer, "per_second", rates);
	for (size_t i = 0; i < json_object_array_length(controls); i++) {
		struct json_object *one = json_object_array_get_idx(controls, i);
		struct json_object *then = control_of(before->answer, ask_number(one, "cmd"));

		add_rate(one, "per_second", then ? ask_number(then, "count") : 0,
			 ask_number(one, "count"), seconds);
	}
}

/* ---- Printing ---- */

/* Nothing where there are no rates at all, "-" where this one is not known. */
static void print_rate(FILE *out, struct json_object *answer, struct json_object *rates,
		       const char *name)
{
	struct json_object *rate = ask_member(rates, name);

	if (!ask_member(answer, "per_second"))
		return;
	if (rate)
		fprintf(out, " %9.1f", json_object_get_double(rate));
	else
		fprintf(out, " %9s", "-");
}

static void print_control(FILE *out, struct json_object *answer, struct json_object *control)
{
	fprintf(out, "%9" PRIu64, ask_number(control, "count"));
	print_rate(out, answer, control, "per_second");
	fprintf(out, " %8.1f %8.1f %8.1f %8.1f  0x%08" PRIx64 "\n          %s\n",
		(double)ask_number(control, "mean_ns") / 1e3,
		(double)ask_number(control, "p50_ns") / 1e3,
		(double)ask_number(control, "p99_ns") / 1e3,
		(double)ask_number(control, "max_ns") / 1e3, ask_number(control, "cmd"),
		ask_text(control, "name"));
}

static void print_refused(FILE *out, struct json_object *row)
{
	const char *name = ask_text(row, "name");

	fprintf(out, "%9" PRIu64 "  %-7s 0x%08" PRIx64 "  %.38s\n", ask_number(row, "count"),
		ask_text(row, "kind"), ask_number(row, "number"), ask_text(row, "container"));
	if (*name)
		fprintf(out, "           %s\n", name);
}

/* Only where there is, or was, a confined container. */
static void print_confined(FILE *out, struct json_object *confined)
{
	static const struct {
		const char *name, *meaning;
	} rows[] = {{"executed", "of confined containers: checked, and made from a copy"},
		    {"continued", "checked, and bound to the caller's own memory"},
		    {"refused", "not allowed: answered as the driver answers an unknown call"},
		    {"proxies.live", "proxies now: processes that make these calls"},
		    {"proxies.started", "proxies that were started"},
		    {"proxies.lost", "that ended before their processes"}};
	struct json_object *calls = ask_member(confined, "calls");
	size_t count = json_object_array_length(calls);

	if (!ask_number(confined, "executed") && !ask_number(confined, "continued") &&
	    !ask_number(confined, "refused"))
		return;
	fputc('\n', out);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		fprintf(out, "%11" PRIu64 "  %s\n", ask_number(confined, rows[i].name),
			rows[i].meaning);
	if (count)
		fprintf(out, "\n%9s  %-7s %-10s  container\n", "refused", "kind", "number");
	for (size_t i = 0; i < count; i++)
		print_refused(out, json_object_array_get_idx(calls, i));
}

static void print(FILE *out, struct json_object *answer)
{
	struct json_object *controls = ask_member(answer, "controls");
	struct json_object *rates = ask_member(answer, "per_second");
	size_t count = json_object_array_length(controls);

	if (rates)
		fprintf(out, "%11s %9s\n", "count", "a second");
	for (size_t i = 0; i < COUNTS; i++) {
		fprintf(out, "%11" PRIu64, ask_number(answer, counts[i].name));
		print_rate(out, answer, rates, counts[i].name);
		fprintf(out, "  %s\n", counts[i].meaning);
	}
	if (count)
		fprintf(out, "\n%9s%s %8s %8s %8s %8s  control\n", "count",
			rates ? "  a second" : "", "mean us", "p50 us", "p99 us", "max us");
	for (size_t i = 0; i < count; i++)
		print_control(out, answer, json_object_array_get_idx(controls, i));
	if (ask_member(answer, "confined"))
		print_confined(out, ask_member(answer, "confined"));
}

/* ---- Once, twice, again and again ---- */

static void draw(struct json_object *answer, unsigned int seconds)
{
	cleanup_free char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	fprintf(out, "mpuctl stats  every %u s, q ends\n\n", seconds);
	print(out, answer);
	fclose(out);
	screen_draw(text);
}

static int watch(const struct options *options, struct mpu_error *error)
{
	struct look before = {0}, now;
	int result = screen_enter(error);
	bool goes_on = !result;

	while (goes_on && !take_look(options, &now, error)) {
		if (before.answer)
			add_rates(&before, &now);
		draw(now.answer, options->watch);
		json_object_put(before.answer);
		before = now;
		goes_on = screen_wait(options->watch);
	}
	if (!result)
		screen_leave();
	json_object_put(before.answer);
	return error->code ? -error->code : 0;
}

static int once(const struct options *options, struct mpu_error *error)
{
	const struct timespec pause = {.tv_sec = options->interval};
	struct look before = {0}, now = {0};
	int result = options->interval ? take_look(options, &before, error) : 0;

	if (!result && options->interval)
		nanosleep(&pause, NULL);
	if (!result)
		result = take_look(options, &now, error);
	if (!result && before.answer)
		add_rates(&before, &now);
	if (!result && options->ask.json)
		result = json_write(STDOUT_FILENO, now.answer, error);
	else if (!result)
		print(stdout, now.answer);
	if (!result && fflush(stdout))
		result = mpu_fail(error, EIO, "cannot write");
	json_object_put(before.answer);
	json_object_put(now.answer);
	return result;
}

int stats_command(int argc, char **argv)
{
	struct options options = {.interval = 0};
	struct mpu_error error = {0};
	int status = parse(argc, argv, &options), result;

	if (status >= 0)
		return status;
	result = options.watch ? watch(&options, &error) : once(&options, &error);
	if (result)
		fprintf(stderr, "mpuctl: %s\n", error.text);
	return result ? 1 : 0;
}
