#include "supervisor/trace/names.h"

#include <stdlib.h>
#include <string.h>

struct names {
	uint32_t count;
	struct nvabi_call call[];
};

static int compare(const void *a, const void *b)
{
	const struct nvabi_call *left = a, *right = b;

	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	if (left->number != right->number)
		return left->number < right->number ? -1 : 1;
	if (!left->structure != !right->structure)
		return left->structure ? -1 : 1;
	return strcmp(left->name, right->name);
}

struct names *names_new(struct nvabi_abi *abi)
{
	struct nvabi_call call;
	struct names *names;
	uint32_t cursor = 0, count = 0;

	while (nvabi_abi_next(abi, &cursor, &call))
		count++;
	names = malloc(sizeof(*names) + count * sizeof(*names->call));
	if (!names)
		return NULL;
	names->count = 0;
	cursor = 0;
	while (names->count < count && nvabi_abi_next(abi, &cursor, &names->call[names->count]))
		names->count++;
	qsort(names->call, names->count, sizeof(*names->call), compare);
	return names;
}

void names_free(struct names *names)
{
	free(names);
}

const struct nvabi_call *names_find(const struct names *names, enum nvabi_kind kind,
				    uint32_t number)
{
	uint32_t low = 0, high = names ? names->count : 0;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		const struct nvabi_call *call = &names->call[middle];

		if (call->kind < kind || (call->kind == kind && call->number < number))
			low = middle + 1;
		else
			high = middle;
	}
	return names && low < names->count && names->call[low].kind == kind &&
		       names->call[low].number == number
		   ? &names->call[low]
		   : NULL;
}

static int find_no_data(const struct nvabi_field *field, void *context)
{
	(void)context;
	switch (field->role) {
	case NVABI_ROLE_POINTER:
	case NVABI_ROLE_FD:
	case NVABI_ROLE_PID:
	case NVABI_ROLE_KERNEL:
		return 1;
	default:
		return !strcmp(field->type, "pointer") || !strcmp(field->type, "address");
	}
}

bool names_is_plain(struct nvabi_abi *abi, const char *structure)
{
	return nvabi_abi_fields(abi, structure, true, find_no_data, NULL) == 0;
}
