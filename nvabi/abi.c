#include "nvabi/abi.h"
#include "nvabi/abi-tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct nvabi_scalar_type nvabi_scalars[ABI_RECORD] = {
    [ABI_U8] = {"u8", 1},	    [ABI_U16] = {"u16", 2},	  [ABI_U32] = {"u32", 4},
    [ABI_U64] = {"u64", 8},	    [ABI_S8] = {"s8", 1},	  [ABI_S16] = {"s16", 2},
    [ABI_S32] = {"s32", 4},	    [ABI_S64] = {"s64", 8},	  [ABI_CHAR] = {"char", 1},
    [ABI_BOOL] = {"bool", 1},	    [ABI_HANDLE] = {"handle", 4}, [ABI_POINTER] = {"pointer", 8},
    [ABI_ADDRESS] = {"address", 8}, [ABI_F32] = {"f32", 4},	  [ABI_F64] = {"f64", 8},
    [ABI_NOTHING] = {"-", 0},
};

const char *nvabi_kind_name(enum nvabi_kind kind)
{
	static const char *const names[NVABI_KINDS] = {"escape", "uvm", "control", "class"};

	return names[kind];
}

const char *nvabi_role_name(enum nvabi_role role)
{
	static const char *const names[NVABI_ROLES] = {
	    [NVABI_ROLE_NONE] = "",	    [NVABI_ROLE_POINTER] = "pointer",
	    [NVABI_ROLE_FD] = "fd",	    [NVABI_ROLE_PID] = "pid",
	    [NVABI_ROLE_CLIENT] = "client", [NVABI_ROLE_OBJECT] = "object",
	    [NVABI_ROLE_COUNT] = "count",   [NVABI_ROLE_KERNEL] = "kernel",
	};

	return names[role];
}

const char *nvabi_item_name(const struct nvabi_abi *abi, uint32_t item)
{
	return abi->tables->text + (abi->tables->item[item] & ((1U << ABI_KIND_SHIFT) - 1));
}

uint32_t nvabi_item_kind(const struct nvabi_abi *abi, uint32_t item)
{
	return abi->tables->item[item] >> ABI_KIND_SHIFT;
}

/* The change that holds in this release, or NULL where the release has not got the item. */
const struct nvabi_abi_change *nvabi_item_change(const struct nvabi_abi *abi, uint32_t item)
{
	uint32_t current = item < abi->tables->item_count ? abi->current[item] : 0;

	return current ? &abi->tables->change[current - 1] : NULL;
}

/* How many steps each release is from the root, on the way to this one; 0 where it is not on it. */
static void mark_ancestors(const struct nvabi_abi *abi, uint16_t *depth)
{
	uint16_t steps = 0;

	for (int at = abi->release; at >= 0; at = abi->tables->release[at].parent)
		steps++;
	for (int at = abi->release; at >= 0; at = abi->tables->release[at].parent)
		depth[at] = steps--;
}

static void take_nearest_changes(struct nvabi_abi *abi, const uint16_t *depth)
{
	const struct nvabi_abi_tables *tables = abi->tables;
	uint32_t i = 0;

	while (i < tables->change_count) {
		uint32_t item = tables->change[i].item, best = 0;
		uint16_t nearest = 0;

		for (; i < tables->change_count && tables->change[i].item == item; i++) {
			if (depth[tables->change[i].release] <= nearest)
				continue;
			nearest = depth[tables->change[i].release];
			best = tables->change[i].flags & ABI_GONE ? 0 : i + 1;
		}
		abi->current[item] = best;
	}
}

static bool has_anything(const struct nvabi_abi *abi)
{
	for (uint32_t i = 0; i < abi->tables->item_count; i++)
		if (abi->current[i])
			return true;
	return false;
}

int nvabi_abi_open_from(const struct nvabi_abi_tables *tables, const struct nvabi_version *running,
			struct nvabi_abi **opened)
{
	enum nvabi_match match;
	int release = nvabi_tree_find(tables->release, tables->release_count, running, &match);
	struct nvabi_abi *abi;
	uint16_t *depth;

	if (release < 0)
		return release;
	abi = calloc(1, sizeof(*abi) + tables->item_count * sizeof(*abi->size) +
			    tables->item_count * sizeof(*abi->current));
	depth = calloc(tables->release_count, sizeof(*depth));
	if (!abi || !depth) {
		free(abi);
		free(depth);
		return -ENOMEM;
	}
	abi->tables = tables;
	abi->release = release;
	abi->match = match;
	abi->size = (struct nvabi_size *)(abi + 1);
	abi->current = (uint32_t *)(abi->size + tables->item_count);
	mark_ancestors(abi, depth);
	take_nearest_changes(abi, depth);
	free(depth);
	if (!has_anything(abi)) {
		nvabi_abi_close(abi);
		return -ENOENT;
	}
	*opened = abi;
	return 0;
}

void nvabi_abi_close(struct nvabi_abi *abi)
{
	free(abi);
}

const struct nvabi_version *nvabi_abi_release(const struct nvabi_abi *abi, enum nvabi_match *match)
{
	if (match)
		*match = abi->match;
	return &abi->tables->release[abi->release].version;
}

bool nvabi_abi_partial(const struct nvabi_abi *abi)
{
	return abi->tables->release[abi->release].partial;
}

static void fill_call(struct nvabi_abi *abi, uint32_t item, struct nvabi_call *call)
{
	const struct nvabi_abi_change *change = nvabi_item_change(abi, item);
	struct nvabi_size size = nvabi_type_size(abi, change->type);

	*call = (struct nvabi_call){
	    .kind = (enum nvabi_kind)nvabi_item_kind(abi, item),
	    .name = nvabi_item_name(abi, item),
	    .number = change->value,
	    .structure = change->type == ABI_NOTHING ? NULL : nvabi_type_name(abi, change->type),
	    .size = size.size,
	    .align = size.align,
	    .unnamed = change->flags & ABI_UNNAMED,
	};
}

bool nvabi_abi_next(struct nvabi_abi *abi, uint32_t *cursor, struct nvabi_call *call)
{
	for (; *cursor < abi->tables->item_count; (*cursor)++) {
		if (!nvabi_item_change(abi, *cursor) ||
		    nvabi_item_kind(abi, *cursor) == ABI_KIND_RECORD)
			continue;
		fill_call(abi, (*cursor)++, call);
		return true;
	}
	return false;
}

bool nvabi_abi_by_name(struct nvabi_abi *abi, const char *name, struct nvabi_call *call)
{
	for (uint32_t i = 0; i < abi->tables->item_count; i++) {
		if (!nvabi_item_change(abi, i) || nvabi_item_kind(abi, i) == ABI_KIND_RECORD ||
		    strcmp(nvabi_item_name(abi, i), name))
			continue;
		fill_call(abi, i, call);
		return true;
	}
	return false;
}

bool nvabi_abi_by_number(struct nvabi_abi *abi, uint32_t number, uint32_t *cursor,
			 struct nvabi_call *call)
{
	while (*cursor < abi->tables->item_count) {
		uint32_t item = (*cursor)++;
		const struct nvabi_abi_change *change = nvabi_item_change(abi, item);

		if (!change || nvabi_item_kind(abi, item) == ABI_KIND_RECORD ||
		    change->value != number)
			continue;
		fill_call(abi, item, call);
		return true;
	}
	return false;
}

/* Records are sorted by name and stand behind the calls. */
int nvabi_record_item(const struct nvabi_abi *abi, const char *name)
{
	uint32_t low = 0, high = abi->tables->item_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		int order = nvabi_item_kind(abi, middle) == ABI_KIND_RECORD
				? strcmp(nvabi_item_name(abi, middle), name)
				: -1;

		if (!order)
			return nvabi_item_change(abi, middle) ? (int)middle : -1;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

const char *nvabi_abi_next_structure(struct nvabi_abi *abi, uint32_t *cursor, enum nvabi_tag *tag)
{
	for (; *cursor < abi->tables->item_count; (*cursor)++) {
		const struct nvabi_abi_change *change = nvabi_item_change(abi, *cursor);

		if (!change || nvabi_item_kind(abi, *cursor) != ABI_KIND_RECORD)
			continue;
		*tag = !(change->flags & ABI_TAG)  ? NVABI_TYPEDEF
		       : change->flags & ABI_UNION ? NVABI_UNION_TAG
						   : NVABI_STRUCT_TAG;
		return nvabi_item_name(abi, (*cursor)++);
	}
	return NULL;
}
