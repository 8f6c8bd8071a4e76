#include "supervisor/mpud/metrics.h"

#include "base/cleanup.h"
#include "supervisor/confine/proxies.h"
#include "supervisor/confine/refuse.h"

#include <inttypes.h>
#include <string.h>

void metrics_write_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_write_label(FILE *out, bool first, const char *name, const char *value)
{
	fprintf(out, "%s%s=\"", first ? "" : ",", name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '\\' || *value == '"')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

static void write_one(FILE *out, const char *name, const char *type, const char *help,
		      uint64_t value)
{
	metrics_write_head(out, name, type, help);
	fprintf(out, "%s %" PRIu64 "\n", name, value);
}

static void write_build(FILE *out, const struct control *control)
{
	char driver[NVABI_VERSION_TEXT];

	metrics_write_head(out, "mpu_build_info", "gauge",
			   "The mpu that runs, and the NVIDIA driver that it found.");
	fputs("mpu_build_info{", out);
	metrics_write_label(out, true, "version", MPU_VERSION);
	metrics_write_label(out, false, "driver",
			    nvabi_version_format(&control->options->pids.running, driver));
	fputs("} 1\n", out);
}

static void write_calls(FILE *out, const struct engine_stats *stats)
{
	const struct {
		const char *kind;
		uint64_t count;
	} kinds[] = {{"handled", stats->handled},	{"passed", stats->passed},
		     {"refused", stats->refused},	{"retried", stats->retried},
		     {"unreadable", stats->unreadable}, {"vanished", stats->vanished}};

	write_one(out, "mpu_calls_received_total", "counter",
		  "RM control calls of containers that came.", stats->received);
	metrics_write_head(out, "mpu_calls_total", "counter",
			   "Calls by what became of them (mpuctl stats says what each means).");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		fprintf(out, "mpu_calls_total{kind=\"%s\"} %" PRIu64 "\n", kinds[i].kind,
			kinds[i].count);
	write_one(out, "mpu_calls_taken_up_total", "counter",
		  "Calls of a worker that ended, taken up by the next one.", stats->taken_up);
	write_one(out, "mpu_listeners_taken_over_total", "counter",
		  "Listeners that went on while a call of theirs stood still.", stats->taken_over);
	metrics_write_head(out, "mpu_control_calls_total", "counter",
			   "Calls that were answered with corrected PIDs, by control.");
	for (uint32_t i = 0; i < stats->control_count; i++) {
		fputs("mpu_control_calls_total{", out);
		metrics_write_label(out, true, "control", stats->control[i].name);
		fprintf(out, "} %" PRIu64 "\n", stats->control[i].count);
	}
}

/* The last range has no end. Its count is made of the ranges, as the format wants it. */
static void write_latency(FILE *out, const struct engine_stats *stats)
{
	static const char name[] = "mpu_call_duration_seconds";
	uint64_t count = 0, nanoseconds = 0;

	metrics_write_head(out, name, "histogram",
			   "Time from the arrival of a call to its corrected answer.");
	for (unsigned int range = 0; range < LATENCY_RANGES; range++) {
		for (uint32_t i = 0; i < stats->control_count; i++)
			count += stats->control[i].took[range];
		if (range < LATENCY_RANGES - 1)
			fprintf(out, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
				(double)latency_limit(range) / 1e9, count);
	}
	for (uint32_t i = 0; i < stats->control_count; i++)
		nanoseconds += stats->control[i].nanoseconds;
	fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
	fprintf(out, "%s_sum %.9f\n%s_count %" PRIu64 "\n", name, (double)nanoseconds / 1e9, name,
		count);
}

static void write_workers(FILE *out, const struct journal_header *header)
{
	write_one(out, "mpu_workers_started_total", "counter", "Workers that were started.",
		  header->workers);
	write_one(out, "mpu_worker_restarts_total", "counter", "Workers that were replaced.",
		  header->replacements);
	write_one(out, "mpu_worker_crashes_total", "counter", "Workers that ended by themselves.",
		  header->crashes);
	write_one(out, "mpu_worker_hangs_total", "counter", "Workers that the watchdog ended.",
		  header->hangs);
}

static bool is_first_of_its_container(struct journal *journal, uint32_t index)
{
	const char *label = journal_listener(journal, index)->label;

	for (uint32_t i = 0; i < index; i++) {
		const struct journal_listener *other = journal_listener(journal, i);
		uint32_t state = atomic_load(&other->state);

		if ((state == JOURNAL_LISTENER_HELD || state == JOURNAL_LISTENER_PENDING) &&
		    strncmp(other->label, label, JOURNAL_LABEL) == 0)
			return false;
	}
	return true;
}

static void write_containers(FILE *out, struct journal *journal)
{
	uint64_t listeners = 0, containers = 0, quarantined = 0;

	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		const struct journal_listener *entry = journal_listener(journal, i);
		uint32_t state = atomic_load(&entry->state);

		if (state != JOURNAL_LISTENER_HELD && state != JOURNAL_LISTENER_PENDING)
			continue;
		listeners++;
		containers += is_first_of_its_container(journal, i);
		quarantined += atomic_load(&entry->quarantined) != 0;
	}
	write_one(out, "mpu_containers", "gauge", "Containers that are served.", containers);
	write_one(out, "mpu_listeners", "gauge",
		  "Listeners: one a process that was started in a container.", listeners);
	write_one(out, "mpu_listeners_quarantined", "gauge",
		  "Listeners whose calls have ended workers and are handled no more.", quarantined);
}

static void write_confined(FILE *out, struct journal *journal, const struct engine_stats *stats)
{
	static const char name[] = "mpu_refused_calls_total";
	cleanup_free struct journal_refused *rows = calloc(JOURNAL_REFUSED, sizeof(*rows));
	struct proxies_stats proxies;
	uint64_t forgotten = 0;
	uint32_t count = rows ? refused_rows(journal, rows, &forgotten) : 0;

	write_one(out, "mpu_executed_calls_total", "counter",
		  "Calls of confined containers that were made by their proxies.", stats->executed);
	write_one(out, "mpu_continued_calls_total", "counter",
		  "Calls of confined containers that were let run, bound to the caller's memory.",
		  stats->continued);
	metrics_write_head(out, name, "counter",
			   "Calls that a confined container may not make, and has tried.");
	for (uint32_t i = 0; i < count; i++) {
		fprintf(out, "%s{", name);
		metrics_write_label(out, true, "container", rows[i].label);
		metrics_write_label(out, false, "kind", refused_kind_name(rows[i].kind));
		fprintf(out, ",number=\"0x%x\"} %" PRIu64 "\n", rows[i].number, rows[i].count);
	}
	write_one(out, "mpu_refused_calls_forgotten_total", "counter",
		  "Of these, those that stand in no row any more.", forgotten);
	proxies_stats(journal, &proxies);
	write_one(out, "mpu_proxies", "gauge", "Processes that stand for confined ones.",
		  proxies.live);
	write_one(out, "mpu_proxies_started_total", "counter", "Proxies that were started.",
		  proxies.started);
	write_one(out, "mpu_proxies_lost_total", "counter",
		  "Proxies that ended before their processes.", proxies.lost);
}

void metrics_write(FILE *out, const struct control *control)
{
	struct engine_stats stats;

	engine_stats(control->engine, &stats);
	write_build(out, control);
	write_calls(out, &stats);
	write_latency(out, &stats);
	write_workers(out, journal_header(control->start->journal));
	write_containers(out, control->start->journal);
	write_confined(out, control->start->journal, &stats);
}
