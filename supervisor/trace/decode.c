#include "supervisor/trace/decode.h"

#include "base/cleanup.h"

#include <string.h>

enum {
	ELEMENTS = 16,		/* of an array */
	RAW_BYTES = 32,		/* of what is not known */
	NESTED_BYTES = 1 << 16, /* of memory behind a pointer */
	PAIR = 8,		/* bytes of an index with its data */
};

static uint64_t get(const uint8_t *bytes, uint32_t size)
{
	uint64_t value = 0;

	memcpy(&value, bytes, size < sizeof(value) ? size : sizeof(value));
	return value;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return !size || (!bytes[0] && !memcmp(bytes, bytes + 1, size - 1));
}

void decode_raw(struct decode *decode, const uint8_t *bytes, uint32_t size)
{
	uint32_t shown = size < RAW_BYTES ? size : RAW_BYTES;

	values_bytes(decode->values, bytes, shown, shown < size);
}

/* ---- Scalars ---- */

static bool is_signed(const char *type)
{
	return type[0] == 's' && strchr("1368", type[1]);
}

/* Bits and addresses are read in hexadecimal. */
static bool wants_hex(const char *name)
{
	static const char *const words[] = {"flag", "mask", "addr", "class", "cmd"};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcasestr(name, words[i]))
			return true;
	return false;
}

static void put_pid(struct decode *decode, pid_t number)
{
	struct values *values = decode->values;
	pid_t host = number > 0 && decode->host_pid ? decode->host_pid(decode->context, number) : 0;

	if (!values->json) {
		values_signed(values, number);
		if (host && host != number)
			text_format(values->out, "<host %d>", host);
		return;
	}
	values_open(values, '{');
	values_name(values, "target");
	values_signed(values, number);
	values_name(values, "host");
	if (host)
		values_signed(values, host);
	else
		text_add(values->out, "null");
	values_close(values, '}');
}

static void put_address(struct decode *decode, uint64_t address)
{
	if (!address && !decode->values->json)
		text_add(decode->values->out, "NULL");
	else
		values_hex(decode->values, address, 1);
}

static void put_real(struct decode *decode, const uint8_t *bytes, uint32_t size)
{
	float single;
	double real;

	memcpy(&single, bytes, sizeof(single));
	if (size == sizeof(real))
		memcpy(&real, bytes, sizeof(real));
	else
		real = (double)single;
	values_real(decode->values, real);
}

static void put_scalar(struct decode *decode, const struct nvabi_field *field, const uint8_t *bytes,
		       uint32_t size)
{
	uint64_t value = get(bytes, size);

	if (decode->budget)
		decode->budget--;
	if (field->role == NVABI_ROLE_PID)
		put_pid(decode, (pid_t)value);
	else if (field->role == NVABI_ROLE_POINTER || field->role == NVABI_ROLE_KERNEL ||
		 !strcmp(field->type, "pointer") || !strcmp(field->type, "address"))
		put_address(decode, value);
	else if (!strcmp(field->type, "handle") || field->role == NVABI_ROLE_CLIENT ||
		 field->role == NVABI_ROLE_OBJECT)
		values_hex(decode->values, value, 8);
	else if (field->role == NVABI_ROLE_FD)
		values_signed(decode->values, (int32_t)value);
	else if (!strcmp(field->type, "bool") && value <= 1)
		values_bool(decode->values, value);
	else if (field->type[0] == 'f' && strspn(field->type + 1, "0123456789") == 2)
		put_real(decode, bytes, size);
	else if (is_signed(field->type))
		values_signed(decode->values,
			      (int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size));
	else if (value && wants_hex(field->name) && !decode->values->json)
		values_hex(decode->values, value, 1);
	else
		values_number(decode->values, value);
}

/* Whether bytes are a text: at least three characters that can be printed, then nothing. */
static bool is_text(const uint8_t *bytes, uint32_t size, bool declared)
{
	size_t length = strnlen((const char *)bytes, size);

	if (declared)
		return true;
	for (size_t i = 0; i < length; i++)
		if (bytes[i] < ' ' || bytes[i] > '~')
			return false;
	return length >= 3 && is_zero(bytes + length, size - length);
}

static void put_bytes(struct decode *decode, const uint8_t *bytes, uint32_t size, bool declared)
{
	uint32_t used = size, shown;

	if (decode->budget)
		decode->budget--;
	if (is_text(bytes, size, declared)) {
		values_string(decode->values, (const char *)bytes,
			      strnlen((const char *)bytes, size));
		return;
	}
	while (used > 1 && !bytes[used - 1])
		used--;
	shown = used < RAW_BYTES ? used : RAW_BYTES;
	values_bytes(decode->values, bytes, shown, shown < size);
}

/* ---- Structures and arrays ---- */

static bool is_scalar(const char *type)
{
	static const char *const words[] = {"u8",     "u16",	 "u32",	    "u64",  "s8",
					    "s16",    "s32",	 "s64",	    "char", "bool",
					    "handle", "pointer", "address", "f32",  "f64"};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i], type))
			return true;
	return false;
}

/* These stand behind pointers only, so that no table has them: u32 index, u32 data in every
 * release. */
static bool is_pair(const char *type)
{
	static const char *const names[] = {"NV0041_CTRL_SURFACE_INFO", "NV0080_CTRL_GR_INFO",
					    "NV2080_CTRL_BIOS_INFO",	"NV2080_CTRL_BUS_INFO",
					    "NV2080_CTRL_FB_INFO",	"NV2080_CTRL_GR_INFO"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i], type))
			return true;
	return false;
}

static void put_pair(struct values *values, const uint8_t *bytes)
{
	values_open(values, '{');
	values_name(values, "index");
	values_number(values, get(bytes, 4));
	values_name(values, "data");
	values_number(values, get(bytes + 4, 4));
	values_close(values, '}');
}

static void put_element(struct decode *decode, const struct nvabi_field *field,
			const uint8_t *bytes, uint32_t size)
{
	if (is_scalar(field->type))
		put_scalar(decode, field, bytes, size);
	else if (is_pair(field->type))
		put_pair(decode->values, bytes);
	else if (!decode->values->json && is_zero(bytes, size))
		text_add(decode->values->out, "{0}");
	else
		decode_structure(decode, field->type, bytes, size, NULL);
}

/* What is zero at the end of an array is not printed. */
static void put_array(struct decode *decode, const struct nvabi_field *field, const uint8_t *bytes,
		      uint32_t size, uint32_t count)
{
	uint32_t used = count;

	while (used && is_zero(bytes + (size_t)(used - 1) * size, size))
		used--;
	values_open(decode->values, '[');
	for (uint32_t i = 0; i < used; i++) {
		if (i == ELEMENTS || !decode->budget) {
			used = i;
			break;
		}
		values_item(decode->values);
		put_element(decode, field, bytes + (size_t)i * size, size);
	}
	if (used < count)
		values_more(decode->values, false);
	values_close(decode->values, ']');
	decode->values->follows = true;
}

static void put_all(struct decode *decode, const struct nvabi_field *field, const uint8_t *bytes)
{
	const bool is_char = !strcmp(field->type, "char");

	if (!*field->dims)
		put_element(decode, field, bytes, field->size);
	else if (is_char || !strcmp(field->type, "u8"))
		put_bytes(decode, bytes, field->size, is_char);
	else
		put_array(decode, field, bytes, field->size / (field->count ? field->count : 1),
			  field->count);
}

/* ---- Memory behind a pointer ---- */

struct walk {
	struct decode *decode;
	const char *structure;
	const uint8_t *bytes, *before;
	uint32_t size;
	bool is_union, cut;
	/* Looking for one field: */
	const char *wanted;
	uint64_t found;
};

static int find_value(const struct nvabi_field *field, void *context)
{
	struct walk *walk = context;

	if (strcmp(field->name, walk->wanted) || field->size > 8 ||
	    field->offset + field->size > walk->size)
		return 0;
	walk->found = get(walk->bytes + field->offset, field->size);
	return 1;
}

/* "count*sizeof(TYPE)", "count*4", "size": how many elements of which type. */
static bool parse_length(struct walk *walk, const char *expression, struct nvabi_field *element,
			 char *type, size_t type_size)
{
	static const char sizeof_word[] = "sizeof(";
	uint64_t product = 1;
	char text[256], *rest = text, *factor;

	*element = (struct nvabi_field){.name = "", .type = "u8", .dims = "", .size = 1};
	snprintf(text, sizeof(text), "%s", expression);
	while ((factor = strsep(&rest, "*"))) {
		uint32_t align;

		if (!strncmp(factor, sizeof_word, sizeof(sizeof_word) - 1)) {
			snprintf(type, type_size, "%.*s",
				 (int)strcspn(factor + sizeof(sizeof_word) - 1, ")"),
				 factor + sizeof(sizeof_word) - 1);
			element->type = type;
			if (is_pair(type))
				element->size = PAIR;
			else if (!nvabi_abi_size(walk->decode->abi, type, &element->size, &align))
				return false;
		} else if (!strcmp(factor, "4")) {
			element->type = "u32";
			element->size = 4;
		} else if (*factor >= '0' && *factor <= '9') {
			product *= strtoull(factor, NULL, 10);
		} else {
			walk->wanted = factor;
			walk->found = 0;
			if (nvabi_abi_fields(walk->decode->abi, walk->structure, false, find_value,
					     walk) != 1)
				return false;
			product *= walk->found;
		}
		if (product > UINT32_MAX)
			return false;
	}
	element->count = (uint32_t)product;
	return product > 0 && element->size > 0;
}

/* Returns false where only the address can be told. */
static bool put_behind(struct walk *walk, const struct nvabi_field *field, uint64_t address)
{
	struct decode *decode = walk->decode;
	struct nvabi_field element;
	cleanup_free uint8_t *bytes = NULL;
	char type[128];
	uint64_t size;

	if (!decode->read || !field->length || !address ||
	    !parse_length(walk, field->length, &element, type, sizeof(type)))
		return false;
	size = (uint64_t)element.size * element.count;
	if (size > NESTED_BYTES)
		size = NESTED_BYTES / element.size * element.size;
	bytes = malloc(size ? size : 1);
	if (!size || !bytes || decode->read(decode->context, address, bytes, size))
		return false;
	if (decode->values->json) {
		values_open(decode->values, '{');
		values_name(decode->values, "address");
		values_hex(decode->values, address, 1);
		values_name(decode->values, "value");
	} else {
		values_hex(decode->values, address, 1);
		text_add(decode->values->out, " -> ");
	}
	if (element.size == 1)
		put_bytes(decode, bytes, (uint32_t)size, false);
	else
		put_array(decode, &element, bytes, element.size, (uint32_t)(size / element.size));
	if (decode->values->json)
		values_close(decode->values, '}');
	return true;
}

/* ---- Fields ---- */

static bool is_inner(const char *name, const char *wanted)
{
	return wanted && !strcmp(name, wanted);
}

static void put_inner_pointer(struct decode *decode, uint64_t address)
{
	const struct decode_inner *inner = decode->inner;

	decode->inner = NULL;
	if (!address || !inner->bytes)
		put_address(decode, address);
	else if (inner->structure)
		decode_structure(decode, inner->structure, inner->bytes, inner->size,
				 inner->before);
	else
		decode_raw(decode, inner->bytes, inner->size);
	decode->inner = inner;
}

static bool put_special(struct decode *decode, const struct nvabi_field *field,
			const uint8_t *bytes)
{
	const struct decode_inner *inner = decode->inner;

	if (!inner)
		return false;
	if (inner->word && is_inner(field->name, inner->field)) {
		values_word(decode->values, inner->word);
		return true;
	}
	if (is_inner(field->name, inner->pointer)) {
		put_inner_pointer(decode, get(bytes, 8));
		return true;
	}
	return false;
}

static bool is_status(const struct nvabi_field *field)
{
	return field->size == 4 &&
	       (!strcmp(field->name, "status") || !strcmp(field->name, "rmStatus"));
}

/* Whether this field has changed, or what it leads to. */
static bool has_changed(const struct walk *walk, const struct nvabi_field *field)
{
	const struct decode_inner *inner = walk->decode->inner;

	if (inner && inner->before && inner->bytes && is_inner(field->name, inner->pointer))
		return memcmp(inner->bytes, inner->before, inner->size) != 0;
	return memcmp(walk->bytes + field->offset, walk->before + field->offset, field->size) != 0;
}

static int put_field(const struct nvabi_field *field, void *context)
{
	struct walk *walk = context;
	struct decode *decode = walk->decode;
	const uint8_t *bytes = walk->bytes + field->offset;

	if ((uint64_t)field->offset + field->size > walk->size || !decode->budget) {
		walk->cut = true;
		return 1;
	}
	if (decode->inner && decode->inner->hide_status && is_status(field))
		return 0;
	if (walk->before && !has_changed(walk, field))
		return 0;
	if (walk->is_union && !decode->values->json && decode->values->follows) {
		text_add(decode->values->out, " | ");
		decode->values->follows = false;
	}
	values_name(decode->values, field->name);
	if (put_special(decode, field, bytes))
		return 0;
	if (field->role == NVABI_ROLE_POINTER && !*field->dims && field->size == 8 &&
	    put_behind(walk, field, get(bytes, 8)))
		return 0;
	put_all(decode, field, bytes);
	return 0;
}

static int count_at_start(const struct nvabi_field *field, void *context)
{
	unsigned int *at_start = context;

	*at_start += !field->offset && field->size;
	return 0;
}

void decode_structure(struct decode *decode, const char *structure, const uint8_t *bytes,
		      uint32_t size, const uint8_t *before)
{
	struct walk walk = {.decode = decode,
			    .structure = structure,
			    .bytes = bytes,
			    .before = before,
			    .size = size};
	struct nvabi_field scalar = {
	    .name = "", .type = structure, .dims = "", .size = size, .count = 1};
	unsigned int at_start = 0;

	if (is_scalar(structure)) {
		put_scalar(decode, &scalar, bytes, size);
		return;
	}
	values_open(decode->values, '{');
	nvabi_abi_fields(decode->abi, structure, false, count_at_start, &at_start);
	walk.is_union = at_start > 1;
	nvabi_abi_fields(decode->abi, structure, false, put_field, &walk);
	if (walk.cut)
		values_more(decode->values, true);
	values_close(decode->values, '}');
}

/* ---- The status ---- */

static int find_status(const struct nvabi_field *field, void *context)
{
	int *offset = context;

	if (!is_status(field) && strcmp(field->name, "params.status"))
		return 0;
	*offset = (int)field->offset;
	return 1;
}

int decode_status_offset(struct nvabi_abi *abi, const char *structure)
{
	int offset = -1;

	nvabi_abi_fields(abi, structure, true, find_status, &offset);
	return offset;
}
