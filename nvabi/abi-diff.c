#include "nvabi/abi-diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { WORDS = 512 };

struct kept_field {
	char name[128];
	char type[192]; /* with dimensions */
	uint32_t offset;
	uint8_t role;
};

/* The fields of one structure; a union of both releases never holds more than a few hundred. */
struct kept {
	struct kept_field *field;
	uint32_t count, room;
};

struct diff {
	struct nvabi_abi *base, *next;
	nvabi_difference_fn *fn;
	void *context;
	struct kept before, after;
};

const char *nvabi_change_name(enum nvabi_change change)
{
	static const char *const names[] = {"added", "removed", "changed"};

	return names[change];
}

static int keep_field(const struct nvabi_field *field, void *context)
{
	struct kept *kept = context;
	struct kept_field *at;

	if (kept->count == kept->room) {
		uint32_t room = kept->room ? kept->room * 2 : 64;
		struct kept_field *grown = reallocarray(kept->field, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		kept->field = grown;
		kept->room = room;
	}
	at = &kept->field[kept->count++];
	snprintf(at->name, sizeof(at->name), "%s", field->name);
	snprintf(at->type, sizeof(at->type), "%s%s", field->type, field->dims);
	at->offset = field->offset;
	at->role = (uint8_t)field->role;
	return 0;
}

static int keep_fields(struct nvabi_abi *abi, const char *structure, struct kept *kept)
{
	kept->count = 0;
	return nvabi_abi_fields(abi, structure, false, keep_field, kept);
}

static const struct kept_field *find_kept(const struct kept *kept, const char *name)
{
	for (uint32_t i = 0; i < kept->count; i++)
		if (!strcmp(kept->field[i].name, name))
			return &kept->field[i];
	return NULL;
}

static int note_role(const struct nvabi_field *field, void *context)
{
	bool *touches = context;

	touches[field->role] = true;
	return 0;
}

static void describe_call(struct nvabi_abi *abi, const struct nvabi_call *call, char *words,
			  bool *touches)
{
	snprintf(words, WORDS, "0x%" PRIx32 " %s", call->number,
		 call->structure ? call->structure : "-");
	if (call->structure)
		nvabi_abi_fields(abi, call->structure, true, note_role, touches);
}

static int report_call(struct diff *diff, const struct nvabi_call *base,
		       const struct nvabi_call *next)
{
	char before[WORDS], after[WORDS];
	struct nvabi_difference difference = {
	    .change = !base   ? NVABI_ADDED
		      : !next ? NVABI_REMOVED
			      : NVABI_CHANGED,
	    .kind = nvabi_kind_name(base ? base->kind : next->kind),
	    .name = base ? base->name : next->name,
	};

	if (base) {
		describe_call(diff->base, base, before, difference.touches);
		difference.before = before;
	}
	if (next) {
		describe_call(diff->next, next, after, difference.touches);
		difference.after = after;
	}
	if (base && next && !strcmp(before, after))
		return 0;
	return diff->fn(&difference, diff->context);
}

static int order_of_calls(const struct nvabi_call *base, bool has_base,
			  const struct nvabi_call *next, bool has_next)
{
	if (!has_base || !has_next)
		return has_base ? -1 : 1;
	if (base->kind != next->kind)
		return base->kind < next->kind ? -1 : 1;
	return strcmp(base->name, next->name);
}

static int diff_calls(struct diff *diff)
{
	uint32_t base_cursor = 0, next_cursor = 0;
	struct nvabi_call base, next;
	bool has_base = nvabi_abi_next(diff->base, &base_cursor, &base);
	bool has_next = nvabi_abi_next(diff->next, &next_cursor, &next);
	int rc = 0;

	while (!rc && (has_base || has_next)) {
		int order = order_of_calls(&base, has_base, &next, has_next);

		rc = report_call(diff, order <= 0 ? &base : NULL, order >= 0 ? &next : NULL);
		if (order <= 0)
			has_base = nvabi_abi_next(diff->base, &base_cursor, &base);
		if (order >= 0)
			has_next = nvabi_abi_next(diff->next, &next_cursor, &next);
	}
	return rc;
}

static int report_field(struct diff *diff, const char *structure, const struct kept_field *base,
			const struct kept_field *next)
{
	const struct kept_field *any = base ? base : next;
	char name[WORDS], before[WORDS], after[WORDS];
	struct nvabi_difference difference = {
	    .change = !base   ? NVABI_ADDED
		      : !next ? NVABI_REMOVED
			      : NVABI_CHANGED,
	    .kind = "field",
	    .name = name,
	    .before = base ? before : NULL,
	    .after = next ? after : NULL,
	};

	if (!any)
		return 0;
	snprintf(name, sizeof(name), "%s.%s", structure, any->name);
	if (base)
		snprintf(before, sizeof(before), "%s at %" PRIu32, base->type, base->offset);
	if (next)
		snprintf(after, sizeof(after), "%s at %" PRIu32, next->type, next->offset);
	if (base && next && !strcmp(before, after))
		return 0;
	if (base)
		difference.touches[base->role] = true;
	if (next)
		difference.touches[next->role] = true;
	return diff->fn(&difference, diff->context);
}

static int report_structure(struct diff *diff, const char *name, bool in_base, bool in_next)
{
	char before[WORDS], after[WORDS];
	uint32_t size = 0, align = 1;
	struct nvabi_difference difference = {
	    .change = !in_base	 ? NVABI_ADDED
		      : !in_next ? NVABI_REMOVED
				 : NVABI_CHANGED,
	    .kind = "struct",
	    .name = name,
	    .before = in_base ? before : NULL,
	    .after = in_next ? after : NULL,
	};

	if (in_base) {
		nvabi_abi_size(diff->base, name, &size, &align);
		snprintf(before, sizeof(before), "%" PRIu32 " bytes", size);
		nvabi_abi_fields(diff->base, name, true, note_role, difference.touches);
	}
	if (in_next) {
		nvabi_abi_size(diff->next, name, &size, &align);
		snprintf(after, sizeof(after), "%" PRIu32 " bytes", size);
		nvabi_abi_fields(diff->next, name, true, note_role, difference.touches);
	}
	if (in_base && in_next && !strcmp(before, after))
		return 0;
	return diff->fn(&difference, diff->context);
}

static int diff_fields(struct diff *diff, const char *name)
{
	int rc = keep_fields(diff->base, name, &diff->before);

	if (!rc)
		rc = keep_fields(diff->next, name, &diff->after);
	for (uint32_t i = 0; !rc && i < diff->before.count; i++)
		rc = report_field(diff, name, &diff->before.field[i],
				  find_kept(&diff->after, diff->before.field[i].name));
	for (uint32_t i = 0; !rc && i < diff->after.count; i++)
		if (!find_kept(&diff->before, diff->after.field[i].name))
			rc = report_field(diff, name, NULL, &diff->after.field[i]);
	return rc;
}

static int diff_structures(struct diff *diff)
{
	uint32_t base_cursor = 0, next_cursor = 0;
	enum nvabi_tag tag;
	const char *base = nvabi_abi_next_structure(diff->base, &base_cursor, &tag);
	const char *next = nvabi_abi_next_structure(diff->next, &next_cursor, &tag);
	int rc = 0;

	while (!rc && (base || next)) {
		int order = !base ? 1 : !next ? -1 : strcmp(base, next);

		rc = report_structure(diff, order <= 0 ? base : next, order <= 0, order >= 0);
		if (!rc && !order)
			rc = diff_fields(diff, base);
		if (order <= 0)
			base = nvabi_abi_next_structure(diff->base, &base_cursor, &tag);
		if (order >= 0)
			next = nvabi_abi_next_structure(diff->next, &next_cursor, &tag);
	}
	return rc;
}

int nvabi_abi_diff(struct nvabi_abi *base, struct nvabi_abi *next, nvabi_difference_fn *fn,
		   void *context)
{
	struct diff diff = {.base = base, .next = next, .fn = fn, .context = context};
	int rc = diff_calls(&diff);

	if (!rc)
		rc = diff_structures(&diff);
	free(diff.before.field);
	free(diff.after.field);
	return rc;
}

static const char *space_name(enum nvabi_pid_space space)
{
	static const char *const names[] = {"global", "caller_ns", "caller_ns_partial", "mixed"};

	return names[space];
}

static int report_meaning(const char *name, const char *before, const char *after,
			  nvabi_difference_fn *fn, void *context)
{
	const struct nvabi_difference difference = {
	    .change = NVABI_CHANGED,
	    .kind = "pids",
	    .name = name,
	    .before = before,
	    .after = after,
	    .touches = {[NVABI_ROLE_PID] = true},
	};

	return strcmp(before, after) ? fn(&difference, context) : 0;
}

int nvabi_semantics_diff(const struct nvabi_version *base, const struct nvabi_version *next,
			 nvabi_difference_fn *fn, void *context)
{
	static const char *const kinds[] = {"tgid", "tid"};
	struct nvabi_pids before, after;
	const struct nvabi_pid_semantics *b = &before.semantics, *a = &after.semantics;
	int rc = nvabi_pids_compose(base, &before);

	if (!rc)
		rc = nvabi_pids_compose(next, &after);
	if (!rc)
		rc = report_meaning("get_pids", space_name(b->get_pids), space_name(a->get_pids),
				    fn, context);
	if (!rc)
		rc = report_meaning("get_pid_info", space_name(b->get_pid_info),
				    space_name(a->get_pid_info), fn, context);
	if (!rc)
		rc = report_meaning("util_samples", space_name(b->util_samples),
				    space_name(a->util_samples), fn, context);
	if (!rc)
		rc = report_meaning("accounting", space_name(b->accounting),
				    space_name(a->accounting), fn, context);
	if (!rc)
		rc = report_meaning("kind", kinds[b->kind], kinds[a->kind], fn, context);
	if (!rc)
		rc = report_meaning("util_raw_for_init_ns", b->util_raw_for_init_ns ? "yes" : "no",
				    a->util_raw_for_init_ns ? "yes" : "no", fn, context);
	return rc;
}
