/* Structures of one release: sizes, offsets, and what each field means. */
#include "nvabi/abi-rows.h"
#include "nvabi/abi-tables.h"

#include <errno.h>
#include <string.h>

uint32_t nvabi_body_number(const uint8_t **at)
{
	uint32_t number = 0;
	int shift = 0;

	for (;;) {
		uint8_t byte = *(*at)++;

		number |= (uint32_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return number;
		shift += 7;
	}
}

void nvabi_body_next(const struct nvabi_abi_tables *tables, const uint8_t **at,
		     struct nvabi_body_field *field)
{
	uint32_t name = nvabi_body_number(at), type = nvabi_body_number(at);

	*field = (struct nvabi_body_field){
	    .name = tables->text + name, .name_at = name, .type = type >> 2};
	if (type & 1) {
		field->dim_count = nvabi_body_number(at);
		for (uint32_t i = 0; i < field->dim_count; i++)
			field->dim[i] = nvabi_body_number(at);
	}
	field->has_offset = type & 2;
	if (field->has_offset)
		field->offset = nvabi_body_number(at);
}

const char *nvabi_type_name(const struct nvabi_abi *abi, uint32_t type)
{
	return type < ABI_RECORD ? nvabi_scalars[type].word
				 : nvabi_item_name(abi, type - ABI_RECORD);
}

static uint32_t round_up(uint32_t value, uint32_t align)
{
	return (value + align - 1) / align * align;
}

static uint32_t elements(const struct nvabi_body_field *field)
{
	uint32_t count = 1;

	for (uint32_t i = 0; i < field->dim_count; i++)
		count *= field->dim[i];
	return count;
}

/* Where FIELD lies, AT bytes being taken before it; AT moves behind it. */
static uint32_t place(const struct nvabi_body_field *field, struct nvabi_size type, bool is_union,
		      uint32_t *at)
{
	uint32_t offset = is_union ? 0 : round_up(*at, type.align);
	uint32_t size = type.size * elements(field);

	if (field->has_offset)
		offset = field->offset;
	if (offset + size > *at || !is_union)
		*at = offset + size;
	return offset;
}

static struct nvabi_size work_out(struct nvabi_abi *abi, const struct nvabi_abi_change *change)
{
	const uint8_t *at = abi->tables->body + change->value;
	uint32_t count = nvabi_body_number(&at), own_align, own_size;
	struct nvabi_size size = {0, 1};

	for (uint32_t i = 0; i < count; i++) {
		struct nvabi_body_field field;
		struct nvabi_size type;

		nvabi_body_next(abi->tables, &at, &field);
		type = nvabi_type_size(abi, field.type);
		place(&field, type, change->flags & ABI_UNION, &size.size);
		if (type.align > size.align)
			size.align = type.align;
	}
	own_align = nvabi_body_number(&at);
	own_size = nvabi_body_number(&at);
	if (own_align)
		size.align = own_align;
	size.size = own_size ? own_size : round_up(size.size, size.align);
	return size;
}

struct nvabi_size nvabi_type_size(struct nvabi_abi *abi, uint32_t type)
{
	const struct nvabi_abi_change *change;
	struct nvabi_size *known;

	if (type < ABI_RECORD) {
		uint8_t size = nvabi_scalars[type].size;

		return (struct nvabi_size){size, size ? size : 1};
	}
	change = nvabi_item_change(abi, type - ABI_RECORD);
	if (!change)
		return (struct nvabi_size){0, 1};
	known = &abi->size[type - ABI_RECORD];
	if (!known->align) {
		known->align = 1; /* ends a structure that holds itself; such tables are refused */
		*known = work_out(abi, change);
	}
	return *known;
}

/* The type that NAME means, or -1. */
static int find_type(const struct nvabi_abi *abi, const char *name)
{
	int item;

	for (int i = 0; i < ABI_NOTHING; i++)
		if (!strcmp(nvabi_scalars[i].word, name))
			return i;
	item = nvabi_record_item(abi, name);
	return item < 0 ? -1 : ABI_RECORD + item;
}

bool nvabi_abi_size(struct nvabi_abi *abi, const char *structure, uint32_t *size, uint32_t *align)
{
	int type = find_type(abi, structure);
	struct nvabi_size found;

	if (type < 0)
		return false;
	found = nvabi_type_size(abi, (uint32_t)type);
	*size = found.size;
	*align = found.align;
	return true;
}

static const struct nvabi_abi_role *find_role(const struct nvabi_abi *abi, uint32_t record,
					      uint32_t field)
{
	uint32_t low = 0, high = abi->tables->role_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (abi->tables->role[middle].record < record)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < abi->tables->role_count && abi->tables->role[low].record == record; low++)
		if (abi->tables->role[low].field == field)
			return &abi->tables->role[low];
	return NULL;
}

/* What types and names say by themselves; everything else is told by nvabi/data/abi-roles. */
static enum nvabi_role certain_role(const struct nvabi_body_field *field)
{
	if (field->type == ABI_POINTER || field->type == ABI_ADDRESS)
		return NVABI_ROLE_POINTER;
	if (field->type != ABI_HANDLE)
		return NVABI_ROLE_NONE;
	if (!strncmp(field->name, "hClient", 7) || !strncmp(field->name, "hRoot", 5))
		return NVABI_ROLE_CLIENT;
	return NVABI_ROLE_OBJECT;
}

struct walk {
	struct nvabi_abi *abi;
	nvabi_field_fn *fn;
	void *context;
	bool deep;
	char path[1024];
	char dims[64];
};

static int walk_record(struct walk *walk, uint32_t item, uint32_t base, size_t length, int depth);

static void write_dims(const struct nvabi_body_field *field, char *out, size_t size)
{
	size_t length = 0;

	*out = '\0';
	for (uint32_t i = 0; i < field->dim_count; i++)
		length += (size_t)snprintf(out + length, size - length, "[%u]", field->dim[i]);
}

static int walk_field(struct walk *walk, uint32_t record, const struct nvabi_body_field *field,
		      uint32_t offset, size_t length, int depth)
{
	const struct nvabi_abi_role *role = find_role(walk->abi, record, field->name_at);
	struct nvabi_size type = nvabi_type_size(walk->abi, field->type);
	struct nvabi_field out = {
	    .name = walk->path,
	    .type = nvabi_type_name(walk->abi, field->type),
	    .dims = walk->dims,
	    .offset = offset,
	    .count = elements(field),
	    .size = type.size * elements(field),
	    .role = role ? (enum nvabi_role)role->role : certain_role(field),
	    .length = role && role->length ? walk->abi->tables->text + role->length : NULL,
	};
	int wrote = snprintf(walk->path + length, sizeof(walk->path) - length, "%s%s",
			     length ? "." : "", field->name);
	int rc;

	if (wrote < 0 || (size_t)wrote >= sizeof(walk->path) - length)
		return -ENAMETOOLONG;
	write_dims(field, walk->dims, sizeof(walk->dims));
	rc = walk->fn(&out, walk->context);
	if (rc || !walk->deep || field->type < ABI_RECORD)
		return rc;
	length += (size_t)wrote;
	for (uint32_t i = 0; i < field->dim_count && length + 3 < sizeof(walk->path); i++)
		length += (size_t)snprintf(walk->path + length, 3, "[]");
	return walk_record(walk, field->type - ABI_RECORD, offset, length, depth + 1);
}

static int walk_record(struct walk *walk, uint32_t item, uint32_t base, size_t length, int depth)
{
	const struct nvabi_abi_change *change = nvabi_item_change(walk->abi, item);
	const uint8_t *at;
	uint32_t count, used = 0;
	int rc = 0;

	if (!change)
		return -ENOENT;
	if (depth > NVABI_DEEPEST)
		return -ELOOP;
	at = walk->abi->tables->body + change->value;
	count = nvabi_body_number(&at);
	for (uint32_t i = 0; !rc && i < count; i++) {
		struct nvabi_body_field field;
		uint32_t offset;

		nvabi_body_next(walk->abi->tables, &at, &field);
		offset = place(&field, nvabi_type_size(walk->abi, field.type),
			       change->flags & ABI_UNION, &used);
		rc = walk_field(walk, item, &field, base + offset, length, depth);
		walk->path[length] = '\0';
	}
	return rc;
}

int nvabi_abi_fields(struct nvabi_abi *abi, const char *structure, bool deep, nvabi_field_fn *fn,
		     void *context)
{
	struct walk walk = {.abi = abi, .fn = fn, .context = context, .deep = deep};
	int item = nvabi_record_item(abi, structure);

	if (item < 0) /* a scalar has no fields */
		return find_type(abi, structure) >= 0 ? 0 : -ENOENT;
	return walk_record(&walk, (uint32_t)item, 0, 0, 0);
}

static void write_record_row(struct nvabi_abi *abi, uint32_t item, FILE *out)
{
	const struct nvabi_abi_change *change = nvabi_item_change(abi, item);
	const uint8_t *at = abi->tables->body + change->value;
	uint32_t count = nvabi_body_number(&at), align, size;

	fprintf(out, "%s %s", change->flags & ABI_UNION ? "union" : "struct",
		nvabi_item_name(abi, item));
	for (uint32_t i = 0; i < count; i++) {
		struct nvabi_body_field field;
		char dims[64];

		nvabi_body_next(abi->tables, &at, &field);
		write_dims(&field, dims, sizeof(dims));
		fprintf(out, " %s:%s%s", field.name, nvabi_type_name(abi, field.type), dims);
		if (field.has_offset)
			fprintf(out, "@%u", field.offset);
	}
	align = nvabi_body_number(&at);
	size = nvabi_body_number(&at);
	if (align)
		fprintf(out, " align=%u", align);
	if (size)
		fprintf(out, " size=%u", size);
	if (change->flags & ABI_TAG)
		fprintf(out, " tag");
	fputc('\n', out);
}

void nvabi_abi_write_rows(struct nvabi_abi *abi, FILE *out)
{
	uint32_t cursor = 0;
	struct nvabi_call call;

	while (nvabi_abi_next(abi, &cursor, &call))
		fprintf(out, "%s %s 0x%x %s%s\n", nvabi_kind_name(call.kind), call.name,
			call.number, call.structure ? call.structure : "-",
			call.unnamed ? " unnamed" : "");
	/* Structures and unions: the extraction sorts whole lines, so structures come first. */
	for (int unions = 0; unions < 2; unions++)
		for (uint32_t i = 0; i < abi->tables->item_count; i++)
			if (nvabi_item_change(abi, i) &&
			    nvabi_item_kind(abi, i) == ABI_KIND_RECORD &&
			    !!(nvabi_item_change(abi, i)->flags & ABI_UNION) == unions)
				write_record_row(abi, i, out);
}
