#include "nvabi/tools/policy-command.h"

#include "nvabi/allow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Which rules are wanted. */
struct choice {
	uint32_t capabilities;
	bool strict;
};

static int parse_words(const char *words, struct choice *choice, struct mpu_error *error)
{
	*choice = (struct choice){.capabilities = words ? 0 : NVABI_CAPS};
	for (; words; words = *words ? words + 1 : NULL) {
		size_t length = strcspn(words, ",");

		if (length == 6 && !memcmp(words, "strict", 6))
			choice->strict = true;
		else if (!nvabi_capability_parse(words, length, &choice->capabilities))
			return mpu_fail(
			    error, EINVAL,
			    "'%.*s' is no capability: write compute,utility or others of "
			    "NVIDIA_DRIVER_CAPABILITIES, profiling, rdma, fabric-imex, and "
			    "strict",
			    (int)length, words);
		words += length;
	}
	return 0;
}

static bool chosen(const struct nvabi_rule *rule, const struct choice *choice)
{
	bool loose = rule->pattern || (rule->way == NVABI_WAY_CONTINUE && rule->kind != NVABI_UVM);

	return rule->capabilities & choice->capabilities && !(choice->strict && loose);
}

static void print_capabilities(uint32_t capabilities, const char *quote)
{
	const char *comma = "";

	for (uint32_t bit = 1; bit & NVABI_CAPS; bit <<= 1) {
		if (!(capabilities & bit))
			continue;
		printf("%s%s%s%s", comma, quote, nvabi_capability_name(bit), quote);
		comma = ",";
	}
}

static void print_length(const struct nvabi_length *length)
{
	printf("\"constant\":%" PRIu32, length->constant);
	if (length->width)
		printf(",\"field\":{\"offset\":%" PRIu32 ",\"size\":%u},\"scale\":%" PRIu32
		       ",\"square\":%s,\"limit\":%" PRIu32,
		       length->offset, length->width, length->scale,
		       length->square ? "true" : "false", length->limit);
}

static const char *direction_name(uint8_t directions)
{
	static const char *const names[] = {"null", "in", "out", "inout"};

	return names[directions & (NVABI_IN | NVABI_OUT)];
}

/* Names and reasons are words of text tables. */
static void print_text(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else
			printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	putchar('"');
}

static void print_object(const struct nvabi_rule *rule)
{
	printf("{\"kind\":\"%s\",\"name\":", nvabi_policy_kind_name(rule->kind));
	print_text(rule->name);
	printf(",\"number\":%" PRIu32 ",\"size\":%" PRIu32 ",\"capabilities\":[", rule->number,
	       rule->size);
	print_capabilities(rule->capabilities, "\"");
	printf("],\"way\":\"%s\",\"pattern\":%s,\"pointers\":[", nvabi_way_name(rule->way),
	       rule->pattern ? "true" : "false");
	for (uint32_t i = 0; i < rule->pointer_count; i++) {
		printf("%s{\"offset\":%" PRIu32 ",\"direction\":\"%s\",", i ? "," : "",
		       rule->pointers[i].offset, direction_name(rule->pointers[i].directions));
		print_length(&rule->pointers[i].length);
		printf("}");
	}
	printf("],\"descriptors\":[");
	for (uint32_t i = 0; i < rule->descriptor_count; i++)
		printf("%s{\"offset\":%" PRIu32 ",\"size\":%u,\"direction\":\"%s\"}", i ? "," : "",
		       rule->descriptors[i].offset, rule->descriptors[i].width,
		       direction_name(rule->descriptors[i].directions));
	printf("],\"added\":%s,\"reason\":", rule->added ? "true" : "false");
	print_text(rule->reason);
	printf("}\n");
}

static void print_line(const struct nvabi_rule *rule)
{
	printf("%-7s 0x%08" PRIx32 " %s%s ", nvabi_policy_kind_name(rule->kind), rule->number,
	       rule->name, rule->pattern ? " (pattern)" : "");
	print_capabilities(rule->capabilities, "");
	printf(" %s%s: %s\n", nvabi_way_name(rule->way), rule->added ? " (added)" : "", rule->reason);
}

static void print_rules(const struct nvabi_policy *policy, const struct choice *choice, bool json)
{
	const struct nvabi_rule *rule;

	for (uint32_t i = 0; (rule = nvabi_policy_rule(policy, i)); i++) {
		if (!chosen(rule, choice))
			continue;
		if (json)
			print_object(rule);
		else
			print_line(rule);
	}
}

int policy_print(const char *version, const char *words, const char *path, bool json,
		 struct mpu_error *error)
{
	struct nvabi_allow *allow = NULL;
	struct nvabi_version parsed;
	struct nvabi_policy *policy;
	struct choice choice;
	int rc = parse_words(words, &choice, error);

	if (rc)
		return rc;
	if (nvabi_version_parse(version, &parsed))
		return mpu_fail(error, EINVAL,
				"'%s' is not a driver version: write it as 535.104.05", version);
	rc = path ? nvabi_allow_read(path, &allow, error) : 0;
	if (rc)
		return rc;
	rc = nvabi_policy_open_with(&parsed, allow, &policy);
	if (rc) {
		nvabi_allow_free(allow);
		return mpu_fail(error, -rc, "nothing is known of the ABI of %s%s", version,
				rc == -ENOMEM ? ": no memory" : "");
	}
	print_rules(policy, &choice, json);
	nvabi_policy_close(policy);
	nvabi_allow_free(allow);
	return 0;
}
