#include "nvabi/tools/facts.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* A structure as C code names it. One that is the type of a member is known by way of the structure
 * around it; what is in a member without a name counts as the outer one's, from base on. */
struct c_structure {
	char name[512]; /* as in the tables */
	char type[640]; /* as in C */
	uint32_t base;
	bool unnamed;
};

/* How facts are put into words. */
struct fact_style {
	void (*call)(FILE *out, const struct nvabi_call *call);
	void (*structure)(FILE *out, const struct c_structure *at, uint32_t size, uint32_t align);
	void (*field)(FILE *out, const struct c_structure *at, const struct nvabi_field *field);
};

struct fact_walk {
	const struct fact_style *style;
	FILE *out;
	struct c_structure at;
	struct fact_counts counts;
};

/* A scalar's word in the driver's headers, or the structure's own name. */
static const char *c_type(const char *type)
{
	static const char *const words[][2] = {
	    {"u8", "NvU8"},	  {"u16", "NvU16"},   {"u32", "NvU32"},	      {"u64", "NvU64"},
	    {"s8", "NvS8"},	  {"s16", "NvS16"},   {"s32", "NvS32"},	      {"s64", "NvS64"},
	    {"char", "char"},	  {"bool", "NvBool"}, {"handle", "NvHandle"}, {"pointer", "NvP64"},
	    {"address", "void *"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i][0], type))
			return words[i][1];
	return type;
}

/* Looks for one member of a structure. */
struct member {
	const char *name;
	size_t length;
	uint32_t offset;
	char dims[64];
	bool found;
};

static int find_member(const struct nvabi_field *field, void *context)
{
	struct member *member = context;

	if (strlen(field->name) != member->length ||
	    strncmp(field->name, member->name, member->length))
		return 0;
	member->found = true;
	member->offset = field->offset;
	snprintf(member->dims, sizeof(member->dims), "%s", field->dims);
	return 1;
}

/* "OUTER.array.inner" is the type of an element of member inner of an element of array. */
static bool name_in_c(struct nvabi_abi *abi, const char *name, enum nvabi_tag tag,
		      struct c_structure *at)
{
	static const char *const words[] = {
	    [NVABI_TYPEDEF] = "", [NVABI_STRUCT_TAG] = "struct ", [NVABI_UNION_TAG] = "union "};
	size_t length = strcspn(name, ".");
	size_t wrote;

	*at = (struct c_structure){0};
	snprintf(at->name, sizeof(at->name), "%s", name);
	if (!name[length]) {
		snprintf(at->type, sizeof(at->type), "%s%s", words[tag], name);
		return true;
	}
	wrote = (size_t)snprintf(at->type, sizeof(at->type), "__typeof__(((%.*s *)0)", (int)length,
				 name);
	for (const char *arrow = "->"; name[length]; arrow = at->unnamed ? arrow : ".") {
		char outer[512];
		struct member member = {.name = name + length + 1,
					.length = strcspn(name + length + 1, ".")};

		snprintf(outer, sizeof(outer), "%.*s", (int)length, name);
		nvabi_abi_fields(abi, outer, false, find_member, &member);
		if (!member.found)
			return false;
		length += 1 + member.length;
		at->unnamed = *member.name == '?';
		at->base = at->unnamed ? at->base + member.offset : 0;
		if (at->unnamed)
			continue;
		wrote += (size_t)snprintf(at->type + wrote, sizeof(at->type) - wrote, "%s%.*s",
					  arrow, (int)member.length, member.name);
		for (const char *dim = member.dims; (dim = strchr(dim, '[')); dim++)
			wrote +=
			    (size_t)snprintf(at->type + wrote, sizeof(at->type) - wrote, "[0]");
	}
	if (!strchr(at->type, '-')) /* an unnamed member of a named structure */
		snprintf(at->type, sizeof(at->type), "%.*s", (int)strcspn(name, "."), name);
	else
		snprintf(at->type + wrote, sizeof(at->type) - wrote, ")");
	return true;
}

static int write_field(const struct nvabi_field *field, void *context)
{
	struct fact_walk *walk = context;
	struct nvabi_field moved = *field;

	if (*field->name == '?')
		return 0;
	moved.offset += walk->at.base;
	walk->style->field(walk->out, &walk->at, &moved);
	walk->counts.fields++;
	return 0;
}

static struct fact_counts walk_facts(struct nvabi_abi *abi, const struct fact_style *style,
				     FILE *out)
{
	struct fact_walk walk = {.style = style, .out = out};
	uint32_t cursor = 0, size, align;
	struct nvabi_call call;
	const char *name;
	enum nvabi_tag tag;

	while (nvabi_abi_next(abi, &cursor, &call)) {
		if (call.unnamed)
			continue;
		style->call(out, &call);
		walk.counts.calls++;
	}
	cursor = 0;
	while ((name = nvabi_abi_next_structure(abi, &cursor, &tag))) {
		if (!name_in_c(abi, name, tag, &walk.at) ||
		    !nvabi_abi_size(abi, name, &size, &align))
			continue;
		if (!walk.at.unnamed) {
			style->structure(out, &walk.at, size, align);
			walk.counts.structures++;
		}
		nvabi_abi_fields(abi, name, false, write_field, &walk);
	}
	return walk.counts;
}

static void fact_call(FILE *out, const struct nvabi_call *call)
{
	fprintf(out, "%s %s 0x%" PRIx32 " %" PRIu32 " %" PRIu32 "\n", nvabi_kind_name(call->kind),
		call->name, call->number, call->size, call->align);
}

static void fact_structure(FILE *out, const struct c_structure *at, uint32_t size, uint32_t align)
{
	fprintf(out, "struct %s %" PRIu32 " %" PRIu32 "\n", at->name, size, align);
}

static void fact_field(FILE *out, const struct c_structure *at, const struct nvabi_field *field)
{
	fprintf(out, "%s.%s %" PRIu32 " %" PRIu32 "\n", at->name, field->name, field->offset,
		field->size);
}

struct fact_counts write_facts(struct nvabi_abi *abi, FILE *out)
{
	static const struct fact_style style = {fact_call, fact_structure, fact_field};

	return walk_facts(abi, &style, out);
}

static void program_call(FILE *out, const struct nvabi_call *call)
{
	const char *type = call->structure ? c_type(call->structure) : NULL;

	fprintf(out, "\tprintf(\"%s %s 0x%%x %%u %%u\\n\", (unsigned)(%s), ",
		nvabi_kind_name(call->kind), call->name, call->name);
	if (type)
		fprintf(out, "(unsigned)sizeof(%s), (unsigned)_Alignof(%s));\n", type, type);
	else
		fprintf(out, "0u, 1u);\n");
}

static void program_structure(FILE *out, const struct c_structure *at, uint32_t size,
			      uint32_t align)
{
	(void)size;
	(void)align;
	fprintf(out,
		"\tprintf(\"struct %s %%u %%u\\n\", (unsigned)sizeof(%s), "
		"(unsigned)_Alignof(%s));\n",
		at->name, at->type, at->type);
}

static void program_field(FILE *out, const struct c_structure *at, const struct nvabi_field *field)
{
	fprintf(out, "\tprintf(\"%s.%s %%u %%u\\n\", (unsigned)offsetof(%s, %s), ", at->name,
		field->name, at->type, field->name);
	if (field->count)
		fprintf(out, "(unsigned)sizeof(((%s *)0)->%s));\n", at->type, field->name);
	else
		fprintf(out, "0u);\n");
}

static void include(char *const *headers, uint32_t count, FILE *out)
{
	fprintf(out, "#include <stddef.h>\n#include <stdio.h>\n");
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, "#include \"%s\"\n", headers[i]);
}

void write_fact_program(struct nvabi_abi *abi, char *const *headers, uint32_t count, FILE *out)
{
	static const struct fact_style style = {program_call, program_structure, program_field};

	include(headers, count, out);
	fprintf(out, "int main(void)\n{\n");
	walk_facts(abi, &style, out);
	fprintf(out, "\treturn 0;\n}\n");
}

static void assert_call(FILE *out, const struct nvabi_call *call)
{
	fprintf(out, "_Static_assert((unsigned)(%s) == 0x%" PRIx32 "u, \"number of %s\");\n",
		call->name, call->number, call->name);
	if (call->structure)
		fprintf(out,
			"_Static_assert(sizeof(%s) == %" PRIu32
			", \"size of the parameters of %s\");\n",
			c_type(call->structure), call->size, call->name);
}

static void assert_structure(FILE *out, const struct c_structure *at, uint32_t size, uint32_t align)
{
	fprintf(out,
		"_Static_assert(sizeof(%s) == %" PRIu32 ", \"size of %s\");\n"
		"_Static_assert(_Alignof(%s) == %" PRIu32 ", \"alignment of %s\");\n",
		at->type, size, at->name, at->type, align, at->name);
}

static void assert_field(FILE *out, const struct c_structure *at, const struct nvabi_field *field)
{
	fprintf(out, "_Static_assert(offsetof(%s, %s) == %" PRIu32 ", \"offset of %s.%s\");\n",
		at->type, field->name, field->offset, at->name, field->name);
	if (field->count)
		fprintf(out,
			"_Static_assert(sizeof(((%s *)0)->%s) == %" PRIu32
			", \"size of %s.%s\");\n",
			at->type, field->name, field->size, at->name, field->name);
}

struct fact_counts write_assertions(struct nvabi_abi *abi, char *const *headers, uint32_t count,
				    FILE *out)
{
	static const struct fact_style style = {assert_call, assert_structure, assert_field};

	include(headers, count, out);
	return walk_facts(abi, &style, out);
}

uint64_t fact_hash(FILE *file)
{
	uint64_t hash = 0xcbf29ce484222325U;
	int byte;

	rewind(file);
	while ((byte = getc(file)) != EOF)
		hash = (hash ^ (uint8_t)byte) * 0x100000001b3U;
	return hash;
}
