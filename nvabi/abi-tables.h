/* The whole ABI as the programs carry it. Private to nvabi; tools/load-abi.c makes the same from
 * text. */
#ifndef NVABI_ABI_TABLES_H
#define NVABI_ABI_TABLES_H

#include "nvabi/abi.h"
#include "nvabi/tables.h"

/* Types are numbers: a scalar word, or ABI_RECORD + the item of a structure or union. */
enum nvabi_scalar {
	ABI_U8,
	ABI_U16,
	ABI_U32,
	ABI_U64,
	ABI_S8,
	ABI_S16,
	ABI_S32,
	ABI_S64,
	ABI_CHAR,
	ABI_BOOL,
	ABI_HANDLE,
	ABI_POINTER,
	ABI_ADDRESS,
	ABI_F32,
	ABI_F64,
	ABI_NOTHING, /* a call without parameters */
	ABI_RECORD,
};

/* The word of a scalar type and its size. */
struct nvabi_scalar_type {
	const char *word;
	uint8_t size;
};
extern const struct nvabi_scalar_type nvabi_scalars[ABI_RECORD];

enum { ABI_KIND_RECORD = NVABI_KINDS, ABI_KIND_SHIFT = 28 };

/* A call or record: where its name is in the text, and its kind in the high bits. Items are sorted:
 * records by name behind the calls. */
typedef uint32_t nvabi_item;

/* ABI_TAG: C knows the record by its tag only, as `struct NAME`. ABI_UNNAMED: no public header has
 * the call's name; the driver exports it all the same. */
enum nvabi_change_flags { ABI_GONE = 1, ABI_UNION = 2, ABI_TAG = 4, ABI_UNNAMED = 8 };

/* At RELEASE, the item appears, changes or goes. The changes of one item stand together. */
struct nvabi_abi_change {
	uint32_t value; /* calls: number; records: where their fields are in the body */
	uint16_t item;
	uint16_t type; /* calls: of the parameters */
	uint16_t release;
	uint16_t flags;
};

/* What a field means, as nvabi/data/abi-roles says. */
struct nvabi_abi_role {
	uint16_t record; /* item */
	uint16_t role;
	uint32_t field;	 /* name in the text */
	uint32_t length; /* in the text, 0 for none */
};

struct nvabi_abi_tables {
	const struct nvabi_release *release;
	uint32_t release_count;
	const char *text; /* names, each with its NUL; the first is empty */
	uint32_t text_size;
	const nvabi_item *item;
	uint32_t item_count;
	const struct nvabi_abi_change *change;
	uint32_t change_count;
	const uint8_t *body;
	uint32_t body_size;
	const struct nvabi_abi_role *role; /* sorted by record */
	uint32_t role_count;
	const struct nvabi_installer *installer;
	uint32_t installer_count;
};

/* Compiled from data/. */
extern const struct nvabi_abi_tables nvabi_abi_tables;

/* nvabi_abi_open() on the given tables. */
int nvabi_abi_open_from(const struct nvabi_abi_tables *tables, const struct nvabi_version *running,
			struct nvabi_abi **abi);

/* The body of a record: a number of fields; then for each field its name, type << 2 with bit 0: it
 * has dimensions, bit 1: it has an offset; then the number of dimensions and these, then the
 * offset. Last the record's own alignment and size, 0 where they follow from the fields. All are
 * numbers of 7 bits a byte, the lowest first, bit 7 set in all bytes but the last. */
uint32_t nvabi_body_number(const uint8_t **at);

/* Private look-ups shared by abi.c and abi-fields.c. */
struct nvabi_abi {
	const struct nvabi_abi_tables *tables;
	int release;
	enum nvabi_match match;
	uint32_t *current; /* per item: index of its change + 1, 0 where the release has it not */
	struct nvabi_size {
		uint32_t size, align;
	} * size; /* per item: of records already worked out */
};
const char *nvabi_item_name(const struct nvabi_abi *abi, uint32_t item);
uint32_t nvabi_item_kind(const struct nvabi_abi *abi, uint32_t item);
const struct nvabi_abi_change *nvabi_item_change(const struct nvabi_abi *abi, uint32_t item);
int nvabi_record_item(const struct nvabi_abi *abi, const char *name);
struct nvabi_size nvabi_type_size(struct nvabi_abi *abi, uint32_t type);
const char *nvabi_type_name(const struct nvabi_abi *abi, uint32_t type);

/* One field as it stands in the body. */
struct nvabi_body_field {
	const char *name;
	uint32_t name_at; /* in the text */
	uint32_t type;
	uint32_t dim[4];
	uint32_t dim_count;
	bool has_offset;
	uint32_t offset; /* only with has_offset */
};
void nvabi_body_next(const struct nvabi_abi_tables *tables, const uint8_t **at,
		     struct nvabi_body_field *field);

enum { NVABI_DEEPEST = 24 }; /* nesting of structures */

#endif
