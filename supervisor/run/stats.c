#include "supervisor/run/stats.h"

#include "base/cleanup.h"
#include "supervisor/confine/refuse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What a confined command was refused, row by row. */
struct refused {
	struct journal_refused row[JOURNAL_REFUSED];
	uint32_t count;
	uint64_t forgotten;
	struct nvabi_abi *abi; /* for names; or NULL */
};

static const char *name_of(const struct refused *refused, uint32_t index)
{
	const char *name = refused_name(refused->abi, refused->row[index].kind,
					refused->row[index].number);

	return name ? name : "";
}

static void print_text(const struct engine_stats *stats, const char *running, const char *release,
		       const struct refused *refused)
{
	fprintf(stderr,
		"mpu-run: driver %s (as %s): %" PRIu64 " driver calls seen, %" PRIu64
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
	if (stats->executed || stats->continued)
		fprintf(stderr,
			"mpu-run: confined: %" PRIu64 " made from a copy, %" PRIu64
			" bound to the caller's memory\n",
			stats->executed, stats->continued);
	for (uint32_t i = 0; i < refused->count; i++)
		fprintf(stderr, "mpu-run: %8" PRIu64 " x refused  %s 0x%08x %s\n",
			refused->row[i].count, refused_kind_name(refused->row[i].kind),
			refused->row[i].number, name_of(refused, i));
}

static void print_json(const struct engine_stats *stats, const char *running, const char *release,
		       const struct refused *refused)
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
	fprintf(stderr,
		"],\"confined\":{\"executed\":%" PRIu64 ",\"continued\":%" PRIu64
		",\"forgotten\":%" PRIu64 ",\"calls\":[",
		stats->executed, stats->continued, refused->forgotten);
	for (uint32_t i = 0; i < refused->count; i++)
		fprintf(stderr,
			"%s{\"kind\":\"%s\",\"number\":%u,\"name\":\"%s\",\"count\":%" PRIu64 "}",
			i ? "," : "", refused_kind_name(refused->row[i].kind),
			refused->row[i].number, name_of(refused, i), refused->row[i].count);
	fprintf(stderr, "]}}\n");
}

void run_stats_print(struct engine *engine, struct journal *journal, const struct nvabi_pids *pids,
		     enum run_stats form)
{
	cleanup_free struct refused *refused = calloc(1, sizeof(*refused));
	char running[NVABI_VERSION_TEXT], release[NVABI_VERSION_TEXT];
	struct engine_stats stats;

	if (!refused)
		return;
	engine_stats(engine, &stats);
	refused->count = refused_rows(journal, refused->row, &refused->forgotten);
	if (refused->count)
		nvabi_abi_open(&pids->running, &refused->abi);
	nvabi_version_format(&pids->running, running);
	nvabi_version_format(&pids->release, release);
	if (form == RUN_STATS_JSON)
		print_json(&stats, running, release, refused);
	else
		print_text(&stats, running, release, refused);
	nvabi_abi_close(refused->abi);
}
