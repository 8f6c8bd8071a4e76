#include "supervisor/trace/summary.h"

#include "supervisor/trace/line.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A program can make up numbers without end: what is beyond the last row is counted in one. */
enum { ROWS = 4096 };

static bool is_row(const struct summary *summary, uint32_t index, const char *name)
{
	return !strcmp(summary->row[index].name.bytes, name) || index == ROWS;
}

static struct summary_row *find_row(struct summary *summary, const char *name)
{
	struct summary_row *grown;

	for (uint32_t i = 0; i < summary->count; i++)
		if (is_row(summary, i, name))
			return &summary->row[i];
	if (summary->count == summary->room) {
		uint32_t room = summary->room ? summary->room * 2 : 64;

		grown = reallocarray(summary->row, room, sizeof(*grown));
		if (!grown)
			return NULL;
		summary->row = grown;
		summary->room = room;
	}
	summary->row[summary->count] = (struct summary_row){0};
	return &summary->row[summary->count++];
}

void summary_add(struct summary *summary, const struct trace_call *call)
{
	struct text name cleanup_text = {0};
	struct summary_row *row;

	line_call_name(call, &name);
	row = name.bytes ? find_row(summary, name.bytes) : NULL;
	if (!row)
		return;
	if (!row->name.bytes) {
		if (row - summary->row == ROWS) {
			text_free(&name);
			text_add(&name, "(further calls)");
		}
		row->name = name;
		name = (struct text){0};
		row->unknown = !call->outer || (call->has_inner && !call->inner);
		row->legacy = trace_call_is_legacy(call);
	}
	row->calls++;
	row->failed += call->errnum || (call->has_status && call->status != NV_OK);
	row->unseen += call->end == TRACE_UNSEEN || call->end == TRACE_UNFINISHED;
	row->executed += call->executed;
	row->nanoseconds += call->driver_ns;
}

static int compare(const void *a, const void *b)
{
	const struct summary_row *left = a, *right = b;

	if (left->calls != right->calls)
		return left->calls < right->calls ? 1 : -1;
	return strcmp(left->name.bytes, right->name.bytes);
}

static struct summary_row total_of(const struct summary *summary)
{
	struct summary_row total = {0};

	for (uint32_t i = 0; i < summary->count; i++) {
		const struct summary_row *row = &summary->row[i];

		total.calls += row->calls;
		total.failed += row->failed;
		total.unseen += row->unseen;
		total.executed += row->executed;
		total.nanoseconds += row->nanoseconds;
	}
	return total;
}

static double seconds(const struct summary_row *row)
{
	return (double)row->nanoseconds / 1e9;
}

static void print_row(const struct summary_row *row, const char *name, struct text *out)
{
	text_format(out, "%8" PRIu64 " %8" PRIu64 " %8" PRIu64, row->calls, row->failed,
		    row->unseen);
	if (row->executed)
		text_format(out, " %8" PRIu64 " %10.6f %9.1f", row->executed, seconds(row),
			    seconds(row) * 1e6 / (double)row->executed);
	else
		text_format(out, " %8s %10s %9s", "-", "-", "-");
	text_format(out, "  %s%s\n", name, row->legacy ? " [legacy]" : "");
}

static void print_text(const struct summary *summary, const char *release, struct text *out)
{
	const struct summary_row total = total_of(summary);
	bool any = false;

	text_format(out, "%8s %8s %8s %8s %10s %9s  %s\n", "calls", "failed", "unseen", "executed",
		    "seconds", "us/call", "call");
	for (uint32_t i = 0; i < summary->count; i++)
		print_row(&summary->row[i], summary->row[i].name.bytes, out);
	print_row(&total, "total", out);
	for (uint32_t i = 0; i < summary->count; i++) {
		const struct summary_row *row = &summary->row[i];

		if (!row->unknown)
			continue;
		if (!any)
			text_format(out, "\nNot known to nvabi as calls of %s:\n", release);
		any = true;
		text_format(out, "%8" PRIu64 "  %s%s\n", row->calls, row->name.bytes,
			    row->legacy ? " [legacy]" : "");
	}
	if (!any)
		text_format(out, "\nAll are known to nvabi as calls of %s.\n", release);
}

static void put_count(struct values *values, const char *name, uint64_t count)
{
	values_name(values, name);
	values_number(values, count);
}

static void print_json(const struct summary *summary, const char *release, struct text *out)
{
	struct values values = {.out = out, .json = true};

	values_open(&values, '{');
	values_name(&values, "release");
	values_word(&values, release);
	values_name(&values, "summary");
	values_open(&values, '[');
	for (uint32_t i = 0; i < summary->count; i++) {
		const struct summary_row *row = &summary->row[i];

		values_item(&values);
		values_open(&values, '{');
		values_name(&values, "call");
		values_word(&values, row->name.bytes);
		put_count(&values, "calls", row->calls);
		put_count(&values, "failed", row->failed);
		put_count(&values, "unseen", row->unseen);
		put_count(&values, "executed", row->executed);
		values_name(&values, "seconds");
		text_format(out, "%.9f", seconds(row));
		values_name(&values, "known");
		values_bool(&values, !row->unknown);
		values_name(&values, "legacy");
		values_bool(&values, row->legacy);
		values_close(&values, '}');
	}
	values_close(&values, ']');
	values_close(&values, '}');
	text_add(out, "\n");
}

void summary_print(struct summary *summary, const char *release, bool json, struct text *out)
{
	if (summary->count)
		qsort(summary->row, summary->count, sizeof(*summary->row), compare);
	if (json)
		print_json(summary, release, out);
	else
		print_text(summary, release, out);
}

void summary_free(struct summary *summary)
{
	for (uint32_t i = 0; i < summary->count; i++)
		text_free(&summary->row[i].name);
	free(summary->row);
	*summary = (struct summary){0};
}
