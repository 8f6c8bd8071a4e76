#include "supervisor/run/stats.h"

#include <inttypes.h>
#include <stdio.h>

static void print_text(const struct engine_stats *stats, const char *running, const char *release)
{
	fprintf(stderr,
		"mpu-run: driver %s (as %s): %" PRIu64 " RM controls, %" PRIu64
		" passed on, %" PRIu64 " handled, %" PRIu64 " vanished\n",
		running, release, stats->received, stats->passed, stats->handled, stats->vanished);
	if (stats->retried || stats->refused || stats->unreadable)
		fprintf(stderr,
			"mpu-run: %" PRIu64 " asked to try again, %" PRIu64
			" failed by us, %" PRIu64 " of processes that cannot be read\n",
			stats->retried, stats->refused, stats->unreadable);
	for (uint32_t i = 0; i < stats->control_count; i++)
		if (stats->control[i].count)
			fprintf(stderr, "mpu-run: %8" PRIu64 " x %9.1f us  0x%08x %s\n",
				stats->control[i].count,
				(double)stats->control[i].nanoseconds / 1000.0 /
					(double)stats->control[i].count,
				stats->control[i].cmd, stats->control[i].name);
}

static void print_json(const struct engine_stats *stats, const char *running, const char *release)
{
	const char *comma = "";

	fprintf(stderr,
		"{\"driver\":\"%s\",\"release\":\"%s\",\"received\":%" PRIu64
		",\"passed\":%" PRIu64 ",\"handled\":%" PRIu64 ",\"vanished\":%" PRIu64
		",\"retried\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"unreadable\":%" PRIu64
		",\"controls\":[",
		running, release, stats->received, stats->passed, stats->handled, stats->vanished,
		stats->retried, stats->refused, stats->unreadable);
	for (uint32_t i = 0; i < stats->control_count; i++) {
		if (!stats->control[i].count)
			continue;
		fprintf(stderr,
			"%s{\"cmd\":%u,\"name\":\"%s\",\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}",
			comma, stats->control[i].cmd, stats->control[i].name,
			stats->control[i].count, stats->control[i].nanoseconds);
		comma = ",";
	}
	fprintf(stderr, "]}\n");
}

void run_stats_print(struct engine *engine, const struct nvabi_pids *pids, enum run_stats form)
{
	char running[NVABI_VERSION_TEXT], release[NVABI_VERSION_TEXT];
	struct engine_stats stats;

	engine_stats(engine, &stats);
	nvabi_version_format(&pids->running, running);
	nvabi_version_format(&pids->release, release);
	if (form == RUN_STATS_JSON)
		print_json(&stats, running, release);
	else
		print_text(&stats, running, release);
}
