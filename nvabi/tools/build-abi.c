/* From rows as they were read to the compact tables. */
#include "nvabi/tools/load-abi.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

static uint32_t hash_of(const char *text, uint32_t seed)
{
	uint32_t hash = 2166136261U ^ seed;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619U;
	return hash;
}

/* The slot of a hash table of COUNT (a power of two) in which NAME is or would be. */
static uint32_t *text_slot(const struct loaded_abi *abi, uint32_t *slots, uint32_t count,
			   const char *name)
{
	uint32_t i = hash_of(name, 0) & (count - 1);

	while (slots[i] && strcmp(abi->text + slots[i] - 1, name))
		i = (i + 1) & (count - 1);
	return &slots[i];
}

static bool grow_slots(struct loaded_abi *abi)
{
	uint32_t count = abi->slot_count ? abi->slot_count * 2 : 4096;
	uint32_t *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return false;
	for (uint32_t i = 0; i < abi->slot_count; i++)
		if (abi->slot[i])
			*text_slot(abi, slots, count, abi->text + abi->slot[i] - 1) = abi->slot[i];
	free(abi->slot);
	abi->slot = slots;
	abi->slot_count = count;
	return true;
}

static bool grow_text(struct loaded_abi *abi, size_t more)
{
	while (abi->text_size + more > abi->text_room) {
		uint32_t room = abi->text_room ? abi->text_room * 2 : 65536;
		char *text = realloc(abi->text, room);

		if (!text)
			return false;
		if (!abi->text_room)
			text[abi->text_size++] = '\0';
		abi->text = text;
		abi->text_room = room;
	}
	return true;
}

uint32_t load_abi_text(struct loaded_abi *abi, const char *name)
{
	size_t length = strlen(name) + 1;
	uint32_t *slot;

	if (!*name || !grow_text(abi, length + 1))
		return 0;
	if (abi->name_count * 2 >= abi->slot_count && !grow_slots(abi))
		return 0;
	slot = text_slot(abi, abi->slot, abi->slot_count, name);
	if (!*slot) {
		memcpy(abi->text + abi->text_size, name, length);
		*slot = abi->text_size + 1;
		abi->text_size += (uint32_t)length;
		abi->name_count++;
	}
	return *slot - 1;
}

static uint32_t *item_slot(const struct loaded_abi *abi, uint32_t *slots, uint32_t count,
			   uint32_t kind, uint32_t name)
{
	uint32_t i = (name * 2654435761U ^ kind) & (count - 1);

	while (slots[i] &&
	       (abi->item[slots[i] - 1].name != name || abi->item[slots[i] - 1].kind != kind))
		i = (i + 1) & (count - 1);
	return &slots[i];
}

static bool grow_item_slots(struct loaded_abi *abi)
{
	uint32_t count = abi->item_slot_count ? abi->item_slot_count * 2 : 4096;
	uint32_t *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return false;
	for (uint32_t i = 0; i < abi->item_count; i++)
		*item_slot(abi, slots, count, abi->item[i].kind, abi->item[i].name) = i + 1;
	free(abi->item_slot);
	abi->item_slot = slots;
	abi->item_slot_count = count;
	return true;
}

uint32_t load_abi_item(struct loaded_abi *abi, uint32_t kind, const char *name)
{
	uint32_t text = load_abi_text(abi, name), *slot;
	struct loaded_item *item;

	if (!text)
		return UINT32_MAX;
	if (abi->item_count * 2 >= abi->item_slot_count && !grow_item_slots(abi))
		return UINT32_MAX;
	slot = item_slot(abi, abi->item_slot, abi->item_slot_count, kind, text);
	if (!*slot) {
		item = table_append(&abi->item, &abi->item_count, sizeof(*item));
		if (!item)
			return UINT32_MAX;
		item->name = text;
		item->kind = kind;
		*slot = abi->item_count;
	}
	return *slot - 1;
}

int load_abi_begin(struct loaded_abi *abi, const char *releases, struct mpu_error *error)
{
	*abi = (struct loaded_abi){.at_release = UINT32_MAX};
	return load_tree(releases, &abi->tree, error);
}

int load_abi_begin_one(struct loaded_abi *abi, const struct nvabi_version *version,
		       struct mpu_error *error)
{
	*abi = (struct loaded_abi){.one_release = true};
	abi->tree.release = calloc(1, sizeof(*abi->tree.release));
	if (!abi->tree.release)
		return mpu_fail(error, ENOMEM, "no memory");
	abi->tree.count = 1;
	*abi->tree.release = (struct nvabi_release){.version = *version, .parent = -1};
	return 0;
}

static bool put_number(struct loaded_abi *abi, uint32_t number)
{
	if (abi->body_size + 5 > abi->body_room) {
		uint32_t room = abi->body_room ? abi->body_room * 2 : 65536;
		uint8_t *body = realloc(abi->body, room);

		if (!body)
			return false;
		abi->body = body;
		abi->body_room = room;
	}
	for (; number > 0x7f; number >>= 7)
		abi->body[abi->body_size++] = (uint8_t)(number | 0x80);
	abi->body[abi->body_size++] = (uint8_t)number;
	return true;
}

/* Items are numbered anew when they are sorted. */
static uint32_t sorted_type(const struct loaded_abi *abi, uint32_t type)
{
	return type < ABI_RECORD ? type : ABI_RECORD + abi->item[type - ABI_RECORD].order;
}

static bool put_field(struct loaded_abi *abi, const struct loaded_field *field)
{
	uint32_t type = sorted_type(abi, field->type) << 2;
	bool fine;

	type |= (uint32_t)(field->dim_count > 0) | (uint32_t)field->has_offset << 1;
	fine = put_number(abi, field->name) && put_number(abi, type);
	if (field->dim_count)
		fine = fine && put_number(abi, field->dim_count);
	for (uint32_t i = 0; i < field->dim_count; i++)
		fine = fine && put_number(abi, field->dim[i]);
	if (field->has_offset)
		fine = fine && put_number(abi, field->offset);
	return fine;
}

static bool put_record(struct loaded_abi *abi, const struct loaded_change *change)
{
	bool fine = put_number(abi, change->field_count);

	for (uint32_t i = 0; i < change->field_count; i++)
		fine = fine && put_field(abi, &change->field[i]);
	return fine && put_number(abi, change->align) && put_number(abi, change->size);
}

struct sorting {
	const struct loaded_abi *abi;
	uint32_t index;
};

static int by_kind_and_name(const void *a, const void *b)
{
	const struct sorting *left = a, *right = b;
	const struct loaded_item *l = &left->abi->item[left->index];
	const struct loaded_item *r = &right->abi->item[right->index];

	if (l->kind != r->kind)
		return l->kind < r->kind ? -1 : 1;
	return strcmp(left->abi->text + l->name, left->abi->text + r->name);
}

static bool sort_items(struct loaded_abi *abi)
{
	cleanup_free struct sorting *order = calloc(abi->item_count + 1, sizeof(*order));

	abi->out_item = calloc(abi->item_count + 1, sizeof(*abi->out_item));
	if (!order || !abi->out_item)
		return false;
	for (uint32_t i = 0; i < abi->item_count; i++)
		order[i] = (struct sorting){abi, i};
	qsort(order, abi->item_count, sizeof(*order), by_kind_and_name);
	for (uint32_t i = 0; i < abi->item_count; i++) {
		struct loaded_item *item = &abi->item[order[i].index];

		item->order = i;
		abi->out_item[i] = item->name | item->kind << ABI_KIND_SHIFT;
	}
	return true;
}

static int by_item(const void *a, const void *b)
{
	const struct nvabi_abi_change *left = a, *right = b;

	if (left->item != right->item)
		return left->item < right->item ? -1 : 1;
	return (left->release > right->release) - (left->release < right->release);
}

static bool build_changes(struct loaded_abi *abi)
{
	abi->out_change = calloc(abi->change_count + 1, sizeof(*abi->out_change));
	if (!abi->out_change)
		return false;
	for (uint32_t i = 0; i < abi->change_count; i++) {
		const struct loaded_change *from = &abi->change[i];
		struct nvabi_abi_change *to = &abi->out_change[i];
		bool record = abi->item[from->item].kind == ABI_KIND_RECORD;

		to->item = (uint16_t)abi->item[from->item].order;
		to->type = (uint16_t)sorted_type(abi, from->type);
		to->release = (uint16_t)from->release;
		to->flags = (uint16_t)from->flags;
		to->value = record ? abi->body_size : from->value;
		if (record && !(from->flags & ABI_GONE) && !put_record(abi, from))
			return false;
	}
	qsort(abi->out_change, abi->change_count, sizeof(*abi->out_change), by_item);
	return true;
}

static int by_record(const void *a, const void *b)
{
	const struct nvabi_abi_role *left = a, *right = b;

	if (left->record != right->record)
		return left->record < right->record ? -1 : 1;
	return (left->field > right->field) - (left->field < right->field);
}

static bool build_roles(struct loaded_abi *abi)
{
	abi->out_role = calloc(abi->role_count + 1, sizeof(*abi->out_role));
	if (!abi->out_role)
		return false;
	for (uint32_t i = 0; i < abi->role_count; i++)
		abi->out_role[i] = (struct nvabi_abi_role){
		    .record = (uint16_t)abi->item[abi->role[i].item].order,
		    .role = (uint16_t)abi->role[i].role,
		    .field = abi->role[i].field,
		    .length = abi->role[i].length,
		};
	qsort(abi->out_role, abi->role_count, sizeof(*abi->out_role), by_record);
	return true;
}

/* Where the row of an item stands that holds in the release of OPENED. */
static int refuse_row(const struct loaded_abi *abi, const struct nvabi_abi *opened, uint32_t item,
		      struct mpu_error *error, const char *why, const char *what)
{
	const struct nvabi_abi_change *change = nvabi_item_change(opened, item);
	char text[NVABI_VERSION_TEXT];

	for (uint32_t i = 0; i < abi->change_count; i++) {
		const struct loaded_change *row = &abi->change[i];

		if (abi->item[row->item].order != item || row->release != change->release)
			continue;
		return mpu_fail(
		    error, EINVAL, "%s:%u: in %s, %s %s %s", row->file, row->line,
		    nvabi_version_format(&abi->tree.release[opened->release].version, text),
		    nvabi_item_name(opened, item), why, what);
	}
	return mpu_fail(error, EINVAL, "%s %s %s", nvabi_item_name(opened, item), why, what);
}

enum visit { UNSEEN, OPEN, SEEN };

/* Follows the structures in a structure; one that is met again while open holds itself. */
static int check_record(const struct loaded_abi *abi, const struct nvabi_abi *opened, uint32_t item,
			uint8_t *seen, struct mpu_error *error)
{
	const struct nvabi_abi_change *change = nvabi_item_change(opened, item);
	const uint8_t *at = opened->tables->body + change->value;
	uint32_t count = nvabi_body_number(&at);
	int rc = 0;

	seen[item] = OPEN;
	for (uint32_t i = 0; !rc && i < count; i++) {
		struct nvabi_body_field field;
		uint32_t inner;

		nvabi_body_next(opened->tables, &at, &field);
		if (field.type < ABI_RECORD)
			continue;
		inner = field.type - ABI_RECORD;
		if (!nvabi_item_change(opened, inner))
			return refuse_row(abi, opened, item, error, "wants the structure",
					  nvabi_item_name(opened, inner));
		if (seen[inner] == OPEN)
			return refuse_row(abi, opened, item, error, "holds itself through",
					  nvabi_item_name(opened, inner));
		if (seen[inner] == UNSEEN)
			rc = check_record(abi, opened, inner, seen, error);
	}
	seen[item] = SEEN;
	return rc;
}

static int check_release(const struct loaded_abi *abi, struct nvabi_abi *opened,
			 struct mpu_error *error)
{
	uint32_t count = opened->tables->item_count;
	cleanup_free uint8_t *seen = calloc(count + 1, 1);
	int rc = seen ? 0 : mpu_fail(error, ENOMEM, "no memory");

	for (uint32_t item = 0; !rc && item < count; item++) {
		const struct nvabi_abi_change *change = nvabi_item_change(opened, item);

		if (!change)
			continue;
		if (nvabi_item_kind(opened, item) == ABI_KIND_RECORD) {
			if (seen[item] == UNSEEN)
				rc = check_record(abi, opened, item, seen, error);
		} else if (change->type >= ABI_RECORD &&
			   !nvabi_item_change(opened, change->type - ABI_RECORD)) {
			rc = refuse_row(abi, opened, item, error, "wants the structure",
					nvabi_item_name(opened, change->type - ABI_RECORD));
		}
	}
	return rc;
}

/* Structures are there for the sake of calls. */
static int check_reached(const struct loaded_abi *abi, struct nvabi_abi *opened,
			 struct mpu_error *error)
{
	uint32_t count = opened->tables->item_count;
	cleanup_free uint8_t *seen = calloc(count + 1, 1);
	int rc = seen ? 0 : mpu_fail(error, ENOMEM, "no memory");

	for (uint32_t item = 0; !rc && item < count; item++) {
		const struct nvabi_abi_change *change = nvabi_item_change(opened, item);

		if (change && nvabi_item_kind(opened, item) != ABI_KIND_RECORD &&
		    change->type >= ABI_RECORD && seen[change->type - ABI_RECORD] == UNSEEN)
			rc = check_record(abi, opened, change->type - ABI_RECORD, seen, error);
	}
	for (uint32_t item = 0; !rc && item < count; item++)
		if (nvabi_item_change(opened, item) && seen[item] == UNSEEN &&
		    nvabi_item_kind(opened, item) == ABI_KIND_RECORD)
			rc = refuse_row(abi, opened, item, error, "is in the parameters of",
					"no call");
	return rc;
}

static int check_releases(const struct loaded_abi *abi, const struct nvabi_abi_tables *tables,
			  struct mpu_error *error)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < tables->release_count; i++) {
		struct nvabi_abi *opened = NULL;

		rc = nvabi_abi_open_from(tables, &tables->release[i].version, &opened);
		if (rc == -ENOENT) { /* closed: nothing is known of it */
			rc = 0;
			continue;
		}
		rc = rc ? mpu_fail(error, ENOMEM, "no memory") : check_release(abi, opened, error);
		if (!rc)
			rc = check_reached(abi, opened, error);
		nvabi_abi_close(opened);
	}
	return rc;
}

int load_abi_finish(struct loaded_abi *abi, struct nvabi_abi_tables *tables,
		    struct mpu_error *error)
{
	if (abi->item_count + ABI_RECORD > UINT16_MAX || abi->text_size >> ABI_KIND_SHIFT)
		return mpu_fail(error, EINVAL, "more calls or names than the tables have room for");
	if (!sort_items(abi) || !build_changes(abi) || !build_roles(abi))
		return mpu_fail(error, ENOMEM, "no memory");
	*tables = (struct nvabi_abi_tables){
	    .release = abi->tree.release,
	    .release_count = abi->tree.count,
	    .text = abi->text,
	    .text_size = abi->text_size,
	    .item = abi->out_item,
	    .item_count = abi->item_count,
	    .change = abi->out_change,
	    .change_count = abi->change_count,
	    .body = abi->body,
	    .body_size = abi->body_size,
	    .role = abi->out_role,
	    .role_count = abi->role_count,
	    .installer = abi->installer,
	    .installer_count = abi->installer_count,
	};
	return check_releases(abi, tables, error);
}

int load_abi(const char *data, struct loaded_abi *abi, struct nvabi_abi_tables *tables,
	     struct mpu_error *error)
{
	cleanup_free char *releases = NULL, *folder = NULL, *roles = NULL, *installers = NULL;
	int rc = 0;

	if (asprintf(&releases, "%s/releases", data) < 0 || asprintf(&folder, "%s/abi", data) < 0 ||
	    asprintf(&roles, "%s/abi-roles", data) < 0 ||
	    asprintf(&installers, "%s/installers", data) < 0)
		return mpu_fail(error, ENOMEM, "no memory");
	rc = load_abi_begin(abi, releases, error);
	if (!rc)
		rc = load_abi_folder(abi, folder, error);
	if (!rc)
		rc = load_abi_roles(abi, roles, error);
	if (!rc)
		rc = load_abi_installers(abi, installers, error);
	if (!rc)
		rc = load_abi_finish(abi, tables, error);
	if (rc)
		unload_abi(abi);
	return rc;
}

void unload_abi(struct loaded_abi *abi)
{
	for (uint32_t i = 0; i < abi->change_count; i++)
		free(abi->change[i].field);
	for (uint32_t i = 0; i < abi->installer_count; i++) {
		free((char *)(uintptr_t)abi->installer[i].arch);
		free((char *)(uintptr_t)abi->installer[i].sha256);
	}
	for (uint32_t i = 0; i < abi->file_count; i++)
		free(abi->file[i]);
	free(abi->file);
	free(abi->text);
	free(abi->slot);
	free(abi->item_slot);
	free(abi->item);
	free(abi->change);
	free(abi->role);
	free(abi->installer);
	free(abi->out_item);
	free(abi->out_change);
	free(abi->body);
	free(abi->out_role);
	unload_tree(&abi->tree);
	*abi = (struct loaded_abi){0};
}
