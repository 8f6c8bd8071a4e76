/* Reads nvabi/data/abi: the text tables of the whole ABI as struct nvabi_abi_tables. */
#ifndef NVABI_TOOLS_LOAD_ABI_H
#define NVABI_TOOLS_LOAD_ABI_H

#include "nvabi/abi-tables.h"
#include "nvabi/tools/load.h"

#include <stddef.h>

struct loaded_field {
	uint32_t name; /* in the text */
	uint32_t type; /* a scalar, or ABI_RECORD + index of a loaded_item */
	uint32_t dim[4];
	uint32_t dim_count;
	bool has_offset;
	uint32_t offset;
};

/* One row. */
struct loaded_change {
	uint32_t item;
	uint32_t release;
	uint32_t line;
	const char *file;
	uint32_t value, type, flags; /* as in struct nvabi_abi_change */
	struct loaded_field *field;
	uint32_t field_count;
	uint32_t align, size;
	uint32_t next; /* the same item's row before this one, + 1 */
};

struct loaded_item {
	uint32_t name;
	uint32_t kind;
	uint32_t last; /* change + 1 */
	uint32_t order;
};

struct loaded_role {
	uint32_t item, field, role, length;
	uint32_t line;
};

/* The tables while they are read, and what they are compiled to. Free it with unload_abi(). */
struct loaded_abi {
	struct loaded_tree tree;
	char *text;
	uint32_t text_size, text_room;
	uint32_t *slot; /* hash of the text: offset + 1 */
	uint32_t slot_count, name_count;
	uint32_t *item_slot; /* hash of the items: index + 1 */
	uint32_t item_slot_count;
	struct loaded_item *item;
	uint32_t item_count;
	struct loaded_change *change;
	uint32_t change_count;
	struct loaded_role *role;
	uint32_t role_count;
	struct nvabi_installer *installer;
	uint32_t installer_count;
	char **file; /* names, for errors */
	uint32_t file_count;
	uint32_t at_release; /* of the section being read, or UINT32_MAX */
	bool one_release;    /* only part of the history is there: roles may find no field */
	/* Compiled: */
	nvabi_item *out_item;
	struct nvabi_abi_change *out_change;
	uint8_t *body;
	uint32_t body_size, body_room;
	struct nvabi_abi_role *out_role;
};

/* Starts with the tree of the file RELEASES. */
int load_abi_begin(struct loaded_abi *abi, const char *releases, struct mpu_error *error);

/* Starts for the rows of one release alone, which nvabi-extract wrote. */
int load_abi_begin_one(struct loaded_abi *abi, const struct nvabi_version *version,
		       struct mpu_error *error);

/* Reads one file of rows. Refuses, with file and line: malformed rows, releases that are not in the
 * tree, a second row for the same thing in one release, rows that change nothing, and the going of
 * what was not there. A release's parents must have been read before it. */
int load_abi_file(struct loaded_abi *abi, const char *path, struct mpu_error *error);

/* Reads all files of the folder PATH, in the order of their numbers. */
int load_abi_folder(struct loaded_abi *abi, const char *path, struct mpu_error *error);

/* Reads the roles of fields. Refuses roles of fields that no release has, and a second role. */
int load_abi_roles(struct loaded_abi *abi, const char *path, struct mpu_error *error);

/* Reads the installers' checksums. */
int load_abi_installers(struct loaded_abi *abi, const char *path, struct mpu_error *error);

/* Compiles what was read into TABLES, which borrows from ABI. Refuses structures that hold
 * themselves, fields whose structure is not in the release that has the field, and structures that are
 * in the parameters of no call. */
int load_abi_finish(struct loaded_abi *abi, struct nvabi_abi_tables *tables,
		    struct mpu_error *error);

/* All of nvabi/data, under the folder DATA. */
int load_abi(const char *data, struct loaded_abi *abi, struct nvabi_abi_tables *tables,
	     struct mpu_error *error);

void unload_abi(struct loaded_abi *abi);

/* NAME in the text, added where it is not there; 0 without memory, and for "". */
uint32_t load_abi_text(struct loaded_abi *abi, const char *name);
/* The item of that kind and name, added where it is not there; UINT32_MAX without memory. */
uint32_t load_abi_item(struct loaded_abi *abi, uint32_t kind, const char *name);

#endif
