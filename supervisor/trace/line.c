#include "supervisor/trace/line.h"

#include <stdio.h>
#include <string.h>

/* Fields of one call; more is cut. */
enum { TEXT_SCALARS = 128, JSON_SCALARS = 4096 };

static const char red[] = "\033[31m", cyan[] = "\033[36m", dim[] = "\033[2m", plain[] = "\033[0m";

/* ---- Parameters ---- */

static void put_argument(struct decode *decode, const struct trace_call *call, const uint8_t *bytes,
			 const uint8_t *before)
{
	const struct nvabi_call *outer = call->outer;
	const uint32_t size = call->argument.size;
	struct values *values = decode->values;

	if (!outer || !outer->structure || !outer->size) {
		decode_raw(decode, bytes, size);
		return;
	}
	if (size <= outer->size || size % outer->size) {
		decode_structure(decode, outer->structure, bytes, size, before);
		return;
	}
	values_open(values, '[');
	for (uint32_t at = 0; at < size && decode->budget; at += outer->size) {
		values_item(values);
		decode_structure(decode, outer->structure, bytes + at, outer->size, NULL);
	}
	values_close(values, ']');
}

/* Params of another size than the release's are in an unknown shape. */
static const char *shape_of_params(const struct trace_call *call)
{
	const struct nvabi_call *inner = call->inner;

	return inner && inner->structure && inner->size == call->params.size ? inner->structure
									     : NULL;
}

void line_parameters(const struct trace_call *call, const struct trace_piece *after,
		     struct decode *decode, bool json, struct text *out)
{
	const bool control = call->inner_kind == NVABI_CONTROL;
	struct values values = {.out = out, .json = json};
	char number[LINE_STATUS];
	struct decode_inner inner = {
	    .field = control ? "cmd" : "hClass",
	    .word = call->inner ? call->inner->name : number,
	    .pointer = control ? "params" : "pAllocParms",
	    .structure = shape_of_params(call),
	    .bytes = after ? after[1].bytes : call->params.bytes,
	    .before = after && after[1].bytes ? call->params.bytes : NULL,
	    .size = call->params.size,
	    .hide_status = true,
	};
	const uint8_t *bytes = after ? after[0].bytes : call->argument.bytes;

	snprintf(number, sizeof(number), "0x%x", call->inner_number);
	decode->values = &values;
	decode->budget = json ? JSON_SCALARS : TEXT_SCALARS;
	if (!call->has_inner)
		inner = (struct decode_inner){.field = "", .hide_status = true};
	decode->inner = &inner;
	if (bytes)
		put_argument(decode, call, bytes, after ? call->argument.bytes : NULL);
	else if (json)
		text_add(out, "null");
	else
		values_hex(&values, call->argument.address, 1);
}

/* ---- Names ---- */

const char *line_status(const struct nvabi_abi *abi, uint32_t status, char buffer[LINE_STATUS])
{
	const char *name = abi ? nvabi_abi_status(abi, status) : NULL;

	if (name)
		return name;
	snprintf(buffer, LINE_STATUS, "0x%x", status);
	return buffer;
}

static void put_outer_name(const struct trace_call *call, struct text *out)
{
	if (call->outer)
		text_add(out, call->outer->name);
	else if (call->kind == NVABI_UVM)
		text_format(out, "uvm 0x%x", call->number_of_kind);
	else
		text_format(out, "escape 0x%x", call->number_of_kind);
}

void line_call_name(const struct trace_call *call, struct text *out)
{
	const bool class = call->has_inner && call->inner_kind == NVABI_CLASS;

	if (!call->has_inner || class)
		put_outer_name(call, out);
	if (class)
		text_add(out, " ");
	if (call->has_inner && call->inner)
		text_add(out, call->inner->name);
	else if (call->has_inner)
		text_format(out, "%s 0x%x", nvabi_kind_name(call->inner_kind), call->inner_number);
}

static bool has_failed(const struct trace_call *call)
{
	return call->errnum || (call->has_status && call->status != NV_OK);
}

static bool is_unknown(const struct trace_call *call)
{
	return !call->outer || (call->has_inner && !call->inner);
}

/* ---- Text ---- */

static void put_time(const struct trace_call *call, struct text *out)
{
	struct tm local;

	localtime_r(&call->wall.tv_sec, &local);
	text_format(out, "%02d:%02d:%02d.%06ld ", local.tm_hour, local.tm_min, local.tm_sec,
		    call->wall.tv_nsec / 1000);
}

static void put_caller(const struct trace_call *call, struct text *out)
{
	text_format(out, "%d", call->tgid);
	if (call->tid != call->tgid)
		text_format(out, "/%d", call->tid);
	if (call->number && call->number != call->tgid)
		text_format(out, "(%d)", call->number);
}

static void put_end(const struct trace_call *call, const struct line_style *style, struct text *out)
{
	const char *colour = style->colour && has_failed(call) ? red : "";
	char buffer[LINE_STATUS];

	text_format(out, " = %s", colour);
	if (call->end == TRACE_UNFINISHED)
		text_add(out, "? <unfinished>");
	else if (call->errnum)
		text_format(out, "-1 %s", strerrorname_np(call->errnum));
	else
		text_add(out, call->end == TRACE_ANSWERED ? "0" : "?");
	if (call->has_status)
		text_format(out, " %s", line_status(style->abi, call->status, buffer));
	text_add(out, *colour ? plain : "");
	if (call->executed)
		text_format(out, " <%.6f>", (double)call->driver_ns / 1e9);
	if (call->errnum && !call->executed)
		text_add(out, " (by mpu)");
}

static void print_text(const struct trace_call *call, const struct line_style *style,
		       struct text *out)
{
	const bool colour = style->colour;

	text_add(out, colour ? dim : "");
	put_time(call, out);
	text_add(out, colour ? plain : "");
	put_caller(call, out);
	text_format(out, " ioctl(%d<%s>, %s", call->fd, call->device_name, colour ? cyan : "");
	put_outer_name(call, out);
	text_add(out, colour ? plain : "");
	text_add(out, ", ");
	text_put(out, call->entered.bytes ? call->entered.bytes : "", call->entered.length);
	text_add(out, ")");
	if (call->left.length)
		text_format(out, " => %s", call->left.bytes);
	if (is_unknown(call))
		text_add(out, trace_call_is_legacy(call) ? " [unknown, legacy]" : " [unknown]");
	else if (trace_call_is_legacy(call))
		text_add(out, " [legacy]");
	put_end(call, style, out);
	text_add(out, "\n");
}

/* ---- JSON ---- */

static void put_json_name(struct values *values, const char *key, const struct nvabi_call *call)
{
	values_name(values, key);
	if (call)
		values_word(values, call->name);
	else
		text_add(values->out, "null");
}

static void put_json_call(const struct trace_call *call, struct values *values)
{
	put_json_name(values, nvabi_kind_name(call->kind), call->outer);
	values_name(values, "number");
	values_number(values, call->number_of_kind);
	if (!call->has_inner)
		return;
	put_json_name(values, nvabi_kind_name(call->inner_kind), call->inner);
	values_name(values, call->inner_kind == NVABI_CONTROL ? "cmd" : "hClass");
	values_number(values, call->inner_number);
}

static void put_json_end(const struct trace_call *call, const struct line_style *style,
			 struct values *values)
{
	static const char *const ends[] = {[TRACE_UNSEEN] = "unseen",
					   [TRACE_UNFINISHED] = "unfinished",
					   [TRACE_READ] = "read",
					   [TRACE_ANSWERED] = "answered"};
	char buffer[LINE_STATUS];

	values_name(values, "end");
	values_word(values, ends[call->end]);
	values_name(values, "errno");
	if (call->errnum)
		values_word(values, strerrorname_np(call->errnum));
	else
		text_add(values->out, call->end == TRACE_ANSWERED ? "0" : "null");
	values_name(values, "status");
	if (call->has_status)
		values_word(values, line_status(style->abi, call->status, buffer));
	else
		text_add(values->out, "null");
	values_name(values, "seconds");
	if (call->executed)
		text_format(values->out, "%.9f", (double)call->driver_ns / 1e9);
	else
		text_add(values->out, "null");
}

static void print_json(const struct trace_call *call, const struct line_style *style,
		       struct text *out)
{
	struct values values = {.out = out, .json = true};

	values_open(&values, '{');
	values_name(&values, "time");
	text_format(out, "%lld.%06ld", (long long)call->wall.tv_sec, call->wall.tv_nsec / 1000);
	values_name(&values, "pid");
	values_signed(&values, call->tgid);
	values_name(&values, "tid");
	values_signed(&values, call->tid);
	values_name(&values, "target_pid");
	values_signed(&values, call->number);
	values_name(&values, "fd");
	values_signed(&values, call->fd);
	values_name(&values, "device");
	values_word(&values, call->device_name);
	put_json_call(call, &values);
	values_name(&values, "known");
	values_bool(&values, !is_unknown(call));
	values_name(&values, "legacy");
	values_bool(&values, trace_call_is_legacy(call));
	values_name(&values, "argument");
	text_add(out, call->entered.length ? call->entered.bytes : "null");
	values_name(&values, "changed");
	text_add(out, call->left.length ? call->left.bytes : "null");
	put_json_end(call, style, &values);
	values_close(&values, '}');
	text_add(out, "\n");
}

void line_print(const struct trace_call *call, const struct line_style *style, struct text *out)
{
	if (style->json)
		print_json(call, style, out);
	else
		print_text(call, style, out);
}
