#include "nvabi/abi-print.h"

#include <inttypes.h>
#include <string.h>

struct printing {
	FILE *out;
	bool json, first;
};

/* The driver's names hold nothing that JSON would want escaped, but nothing is taken on trust. */
static void print_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", (unsigned int)(unsigned char)*text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static int print_json_field(const struct nvabi_field *field, void *context)
{
	struct printing *printing = context;
	FILE *out = printing->out;

	fprintf(out, "%s{\"name\":", printing->first ? "" : ",");
	print_string(out, field->name);
	fprintf(out, ",\"offset\":%" PRIu32 ",\"size\":%" PRIu32 ",\"type\":", field->offset,
		field->size);
	print_string(out, field->type);
	fprintf(out, ",\"count\":%" PRIu32 ",\"role\":", field->count);
	print_string(out, nvabi_role_name(field->role));
	if (field->length) {
		fprintf(out, ",\"length\":");
		print_string(out, field->length);
	}
	fputc('}', out);
	printing->first = false;
	return 0;
}

static int print_text_field(const struct nvabi_field *field, void *context)
{
	struct printing *printing = context;

	fprintf(printing->out, "  %6" PRIu32 " %6" PRIu32 "  %s %s%s", field->offset, field->size,
		field->name, field->type, field->dims);
	if (field->role)
		fprintf(printing->out, " [%s%s%s]", nvabi_role_name(field->role),
			field->length ? ": " : "", field->length ? field->length : "");
	fputc('\n', printing->out);
	return 0;
}

static void print_json_call(struct nvabi_abi *abi, const struct nvabi_call *call, FILE *out)
{
	struct printing printing = {.out = out, .json = true, .first = true};

	fprintf(out, "{\"kind\":\"%s\",\"name\":", nvabi_kind_name(call->kind));
	print_string(out, call->name);
	fprintf(out, ",\"number\":%" PRIu32 ",\"struct\":", call->number);
	if (call->structure)
		print_string(out, call->structure);
	else
		fprintf(out, "null");
	fprintf(out, ",\"size\":%" PRIu32 ",\"align\":%" PRIu32 ",\"fields\":[", call->size,
		call->align);
	if (call->structure)
		nvabi_abi_fields(abi, call->structure, true, print_json_field, &printing);
	fprintf(out, "]}\n");
}

void nvabi_print_call(struct nvabi_abi *abi, const struct nvabi_call *call, bool json, FILE *out)
{
	struct printing printing = {.out = out};

	if (json) {
		print_json_call(abi, call, out);
		return;
	}
	fprintf(out, "%s %s 0x%" PRIx32, nvabi_kind_name(call->kind), call->name, call->number);
	if (!call->structure) {
		fprintf(out, "\n");
		return;
	}
	fprintf(out, " %s %" PRIu32 " bytes, align %" PRIu32 "\n", call->structure, call->size,
		call->align);
	nvabi_abi_fields(abi, call->structure, true, print_text_field, &printing);
}

/* Of the roles, those that somebody who reads a difference must look at. */
static const enum nvabi_role touching[] = {NVABI_ROLE_PID, NVABI_ROLE_FD, NVABI_ROLE_POINTER,
					   NVABI_ROLE_KERNEL};

static void print_json_difference(const struct nvabi_difference *difference, FILE *out)
{
	bool first = true;

	fprintf(out, "{\"change\":\"%s\",\"kind\":\"%s\",\"name\":",
		nvabi_change_name(difference->change), difference->kind);
	print_string(out, difference->name);
	if (difference->before) {
		fprintf(out, ",\"before\":");
		print_string(out, difference->before);
	}
	if (difference->after) {
		fprintf(out, ",\"after\":");
		print_string(out, difference->after);
	}
	fprintf(out, ",\"touches\":[");
	for (size_t i = 0; i < sizeof(touching) / sizeof(*touching); i++) {
		if (!difference->touches[touching[i]])
			continue;
		fprintf(out, "%s\"%s\"", first ? "" : ",", nvabi_role_name(touching[i]));
		first = false;
	}
	fprintf(out, "]}\n");
}

void nvabi_print_difference(const struct nvabi_difference *difference, bool json, FILE *out)
{
	static const char signs[] = {
	    [NVABI_ADDED] = '+', [NVABI_REMOVED] = '-', [NVABI_CHANGED] = '~'};

	if (json) {
		print_json_difference(difference, out);
		return;
	}
	fprintf(out, "%c %s %s", signs[difference->change], difference->kind, difference->name);
	if (difference->before)
		fprintf(out, " %s", difference->before);
	if (difference->before && difference->after)
		fprintf(out, " ->");
	if (difference->after)
		fprintf(out, " %s", difference->after);
	for (size_t i = 0; i < sizeof(touching) / sizeof(*touching); i++)
		if (difference->touches[touching[i]])
			fprintf(out, " [%s]", nvabi_role_name(touching[i]));
	fputc('\n', out);
}
