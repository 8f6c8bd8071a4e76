#include "nvabi/tools/load-abi.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static bool same_fields(const struct loaded_change *a, const struct loaded_change *b)
{
	return a->field_count == b->field_count &&
	       (!a->field_count || !memcmp(a->field, b->field, a->field_count * sizeof(*a->field)));
}

static bool same_change(const struct loaded_change *a, const struct loaded_change *b)
{
	return a->value == b->value && a->type == b->type && a->flags == b->flags &&
	       a->align == b->align && a->size == b->size && same_fields(a, b);
}

/* The item's change that holds at RELEASE, or NULL. */
static const struct loaded_change *nearest_change(const struct loaded_abi *abi, uint32_t item,
						  uint32_t release)
{
	for (int at = (int)release; at >= 0; at = abi->tree.release[at].parent)
		for (uint32_t i = abi->item[item].last; i; i = abi->change[i - 1].next)
			if (abi->change[i - 1].release == (uint32_t)at)
				return &abi->change[i - 1];
	return NULL;
}

/* "[4][2]" and "@16" behind a type; TEXT is cut where the type ends. */
static int parse_suffix(char *text, struct loaded_field *field)
{
	char *at = strchr(text, '@'), *dim = strchr(text, '[');
	uint64_t number;

	if (at) {
		*at++ = '\0';
		if (table_number(at, UINT32_MAX, &number))
			return -EINVAL;
		field->has_offset = true;
		field->offset = (uint32_t)number;
	}
	if (!dim)
		return 0;
	*dim++ = '\0';
	for (;;) {
		char *end = strchr(dim, ']');

		if (!end || field->dim_count == 4)
			return -EINVAL;
		*end++ = '\0';
		if (table_number(dim, UINT32_MAX, &number))
			return -EINVAL;
		field->dim[field->dim_count++] = (uint32_t)number;
		if (!*end)
			return 0;
		if (*end != '[')
			return -EINVAL;
		dim = end + 1;
	}
}

/* A scalar word, or the name of a structure. */
static int parse_type(struct loaded_abi *abi, const char *word, uint32_t *type)
{
	uint32_t item;

	for (uint32_t i = 0; i < ABI_RECORD; i++)
		if (!strcmp(nvabi_scalars[i].word, word)) {
			*type = i;
			return 0;
		}
	if (!*word)
		return -EINVAL;
	item = load_abi_item(abi, ABI_KIND_RECORD, word);
	*type = ABI_RECORD + item;
	return item == UINT32_MAX ? -ENOMEM : 0;
}

static int parse_field(struct loaded_abi *abi, const struct table_line *line, char *word,
		       struct loaded_change *change, struct mpu_error *error)
{
	char *colon = strchr(word, ':');
	struct loaded_field *field;

	if (!colon || colon == word)
		return table_refuse(line, error, "'%s' is not FIELD:TYPE", word);
	*colon = '\0';
	field = table_append(&change->field, &change->field_count, sizeof(*field));
	if (!field)
		return mpu_fail(error, ENOMEM, "no memory");
	field->name = load_abi_text(abi, word);
	if (parse_suffix(colon + 1, field) || parse_type(abi, colon + 1, &field->type) ||
	    field->type == ABI_NOTHING)
		return table_refuse(line, error, "'%s' has no good type", word);
	return 0;
}

static int parse_record(struct loaded_abi *abi, const struct table_line *line,
			struct loaded_change *change, struct mpu_error *error)
{
	int rc = 0;

	change->flags = strcmp(line->word[0], "union") ? 0 : ABI_UNION;
	for (unsigned int i = 2; !rc && i < line->count; i++) {
		bool align = !strncmp(line->word[i], "align=", 6);
		uint64_t number;

		if (!strcmp(line->word[i], "tag")) {
			change->flags |= ABI_TAG;
			continue;
		}
		if (!align && strncmp(line->word[i], "size=", 5)) {
			rc = parse_field(abi, line, line->word[i], change, error);
			continue;
		}
		if (table_number(strchr(line->word[i], '=') + 1, UINT32_MAX, &number) || !number)
			return table_refuse(line, error, "'%s' is not a number", line->word[i]);
		*(align ? &change->align : &change->size) = (uint32_t)number;
	}
	return rc;
}

static int parse_call(struct loaded_abi *abi, const struct table_line *line,
		      struct loaded_change *change, struct mpu_error *error)
{
	uint64_t number;

	if (line->count != 4 && (line->count != 5 || strcmp(line->word[4], "unnamed")))
		return table_refuse(line, error, "wants: %s name number structure [unnamed]",
				    line->word[0]);
	change->flags = line->count == 5 ? ABI_UNNAMED : 0;
	if (table_number(line->word[2], UINT32_MAX, &number))
		return table_refuse(line, error, "'%s' is not a number", line->word[2]);
	change->value = (uint32_t)number;
	if (parse_type(abi, line->word[3], &change->type))
		return mpu_fail(error, ENOMEM, "no memory");
	return 0;
}

static uint32_t kind_of(const char *word)
{
	for (uint32_t kind = 0; kind < NVABI_KINDS; kind++)
		if (!strcmp(nvabi_kind_name((enum nvabi_kind)kind), word))
			return kind;
	return !strcmp(word, "struct") || !strcmp(word, "union") ? (uint32_t)ABI_KIND_RECORD
								 : UINT32_MAX;
}

static int add_change(struct loaded_abi *abi, const struct table_line *line,
		      struct loaded_change *change, struct mpu_error *error)
{
	const struct loaded_change *before = nearest_change(abi, change->item, change->release);
	struct loaded_change *added;

	if (before && before->release == change->release)
		return table_refuse(line, error,
				    "a second row for %s in this release, first in line %u",
				    line->word[1], before->line);
	if (change->flags & ABI_GONE ? !before || before->flags & ABI_GONE
				     : before && same_change(before, change))
		return table_refuse(line, error, "the row of %s changes nothing", line->word[1]);
	added = table_append(&abi->change, &abi->change_count, sizeof(*added));
	if (!added)
		return mpu_fail(error, ENOMEM, "no memory");
	*added = *change;
	added->next = abi->item[change->item].last;
	abi->item[change->item].last = abi->change_count;
	change->field = NULL;
	return 0;
}

static int read_section(struct loaded_abi *abi, const struct table_line *line,
			struct mpu_error *error)
{
	uint32_t release;
	int rc;

	if (line->count != 2)
		return table_refuse(line, error, "wants: release version");
	rc = load_release_of(&abi->tree, line, line->word[1], &release, error);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < abi->change_count; i++)
		if (abi->change[i].release == release)
			return table_refuse(line, error, "a second section of %s", line->word[1]);
	abi->at_release = release;
	return 0;
}

static int read_row(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_abi *abi = context;
	struct loaded_change change = {.line = line->number, .type = ABI_NOTHING};
	uint32_t kind = kind_of(line->word[0]);
	int rc = 0;

	if (!strcmp(line->word[0], "release"))
		return read_section(abi, line, error);
	if (kind == UINT32_MAX)
		return table_refuse(line, error, "'%s' begins no row", line->word[0]);
	if (abi->at_release == UINT32_MAX)
		return table_refuse(line, error, "a row before the first 'release'");
	if (line->count < 2)
		return table_refuse(line, error, "wants: %s name ...", line->word[0]);
	change.file = abi->file[abi->file_count - 1];
	change.release = abi->at_release;
	change.item = load_abi_item(abi, kind, line->word[1]);
	if (change.item == UINT32_MAX)
		return mpu_fail(error, ENOMEM, "no memory");
	if (line->count == 3 && !strcmp(line->word[2], "gone"))
		change.flags = ABI_GONE;
	else if (kind == ABI_KIND_RECORD)
		rc = parse_record(abi, line, &change, error);
	else
		rc = parse_call(abi, line, &change, error);
	if (!rc)
		rc = add_change(abi, line, &change, error);
	free(change.field);
	return rc;
}

int load_abi_file(struct loaded_abi *abi, const char *path, struct mpu_error *error)
{
	char **name = table_append(&abi->file, &abi->file_count, sizeof(*name));

	if (name)
		*name = strdup(path);
	if (!name || !*name)
		return mpu_fail(error, ENOMEM, "no memory");
	return table_read(path, read_row, abi, error);
}

static int is_number(const struct dirent *entry)
{
	return *entry->d_name && strspn(entry->d_name, "0123456789") == strlen(entry->d_name);
}

int load_abi_folder(struct loaded_abi *abi, const char *path, struct mpu_error *error)
{
	struct dirent **entry = NULL;
	int count = scandir(path, &entry, is_number, versionsort), rc = 0;

	if (count < 0)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		cleanup_free char *file = NULL;

		if (!rc && asprintf(&file, "%s/%s", path, entry[i]->d_name) < 0)
			rc = mpu_fail(error, ENOMEM, "no memory");
		if (!rc) {
			abi->at_release = UINT32_MAX;
			rc = load_abi_file(abi, file, error);
		}
		free(entry[i]);
	}
	free(entry);
	return rc;
}

static int read_installer(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_abi *abi = context;
	struct nvabi_installer installer;
	struct nvabi_installer *added;

	if (line->count != 3)
		return table_refuse(line, error, "wants: version arch sha256");
	if (nvabi_version_parse(line->word[0], &installer.version))
		return table_refuse(line, error, "'%s' is not a version", line->word[0]);
	if (strcmp(line->word[1], "x86_64") && strcmp(line->word[1], "aarch64"))
		return table_refuse(line, error, "'%s' is no architecture", line->word[1]);
	if (strlen(line->word[2]) != 64 || strspn(line->word[2], "0123456789abcdef") != 64)
		return table_refuse(line, error, "'%s' is no SHA-256", line->word[2]);
	for (uint32_t i = 0; i < abi->installer_count; i++)
		if (!strcmp(abi->installer[i].sha256, line->word[2]) ||
		    (!nvabi_version_compare(&abi->installer[i].version, &installer.version) &&
		     !strcmp(abi->installer[i].arch, line->word[1])))
			return table_refuse(line, error, "a second row for that installer");
	added = table_append(&abi->installer, &abi->installer_count, sizeof(*added));
	if (!added)
		return mpu_fail(error, ENOMEM, "no memory");
	added->version = installer.version;
	added->arch = strdup(line->word[1]);
	added->sha256 = strdup(line->word[2]);
	return added->arch && added->sha256 ? 0 : mpu_fail(error, ENOMEM, "no memory");
}

int load_abi_installers(struct loaded_abi *abi, const char *path, struct mpu_error *error)
{
	return table_read(path, read_installer, abi, error);
}

static uint32_t role_of(const char *word)
{
	for (uint32_t role = NVABI_ROLE_NONE + 1; role < NVABI_ROLES; role++)
		if (!strcmp(nvabi_role_name((enum nvabi_role)role), word))
			return role;
	return NVABI_ROLE_NONE;
}

static bool any_release_has(const struct loaded_abi *abi, uint32_t item, uint32_t name)
{
	for (uint32_t i = abi->item[item].last; i; i = abi->change[i - 1].next)
		for (uint32_t f = 0; f < abi->change[i - 1].field_count; f++)
			if (abi->change[i - 1].field[f].name == name)
				return true;
	return false;
}

static int read_role(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct loaded_abi *abi = context;
	struct loaded_role role = {.line = line->number}, *added;

	if (line->count < 5)
		return table_refuse(line, error, "wants: structure field role length source");
	role.item = load_abi_item(abi, ABI_KIND_RECORD, line->word[0]);
	role.field = load_abi_text(abi, line->word[1]);
	role.role = role_of(line->word[2]);
	if (role.item == UINT32_MAX || !role.field)
		return mpu_fail(error, ENOMEM, "no memory");
	if (!role.role)
		return table_refuse(line, error, "'%s' is no role", line->word[2]);
	if (!any_release_has(abi, role.item, role.field) && abi->one_release)
		return 0;
	if (!any_release_has(abi, role.item, role.field))
		return table_refuse(line, error, "no release has a field %s in %s", line->word[1],
				    line->word[0]);
	for (uint32_t i = 0; i < abi->role_count; i++)
		if (abi->role[i].item == role.item && abi->role[i].field == role.field)
			return table_refuse(line, error, "a second row for %s.%s, first in line %u",
					    line->word[0], line->word[1], abi->role[i].line);
	if (strcmp(line->word[3], "-"))
		role.length = load_abi_text(abi, line->word[3]);
	added = table_append(&abi->role, &abi->role_count, sizeof(*added));
	if (!added)
		return mpu_fail(error, ENOMEM, "no memory");
	*added = role;
	return 0;
}

int load_abi_roles(struct loaded_abi *abi, const char *path, struct mpu_error *error)
{
	return table_read(path, read_role, abi, error);
}
