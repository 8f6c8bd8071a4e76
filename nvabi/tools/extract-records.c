/* Parameter structures as the compiler lays them out, as rows. */
#include "nvabi/lines.h"
#include "nvabi/tools/extract.h"

#include "base/cleanup.h"

#include <errno.h>
#include <search.h>
#include <string.h>

struct named_type {
	char *name;
	CXType type;
};

struct record {
	char *name;
	CXType type;
	bool tag_only;
};

struct writer {
	struct extract *extract;
	void *types;	/* tsearch() tree of named_type */
	void *typedefs; /* of named_type, named by the record that they stand for */
	struct record *record;
	uint32_t record_count;
	FILE *out;
	/* The record being written. */
	const char *owner;
	long long at, align;
	int unnamed;
	bool is_union;
	int rc;
	struct mpu_error *error;
};

static int compare_types(const void *a, const void *b)
{
	return strcmp(((const struct named_type *)a)->name, ((const struct named_type *)b)->name);
}

static void free_type(void *node)
{
	struct named_type *type = node;

	free(type->name);
	free(type);
}

/* Remembers the first typedef that stands for each record. */
static int note_typedef(struct writer *writer, CXCursor cursor)
{
	CXType canonical = clang_getCanonicalType(clang_getCursorType(cursor));
	struct named_type *type, **found;
	CXString usr;

	if (canonical.kind != CXType_Record)
		return 0;
	usr = clang_getCursorUSR(clang_getTypeDeclaration(canonical));
	type = calloc(1, sizeof(*type));
	if (type)
		type->name = strdup(clang_getCString(usr));
	clang_disposeString(usr);
	if (!type || !type->name) {
		free(type);
		return -ENOMEM;
	}
	type->type = clang_getCursorType(cursor);
	found = tsearch(type, &writer->typedefs, compare_types);
	if (!found || *found != type)
		free_type(type);
	return found ? 0 : -ENOMEM;
}

static enum CXChildVisitResult visit_types(CXCursor cursor, CXCursor parent, CXClientData data)
{
	enum CXCursorKind kind = clang_getCursorKind(cursor);
	struct writer *writer = data;
	struct named_type *type, **found;
	CXString name;

	(void)parent;
	if (kind != CXCursor_TypedefDecl && kind != CXCursor_StructDecl &&
	    kind != CXCursor_UnionDecl)
		return CXChildVisit_Continue;
	name = clang_getCursorSpelling(cursor);
	type = calloc(1, sizeof(*type));
	if (type)
		type->name = strdup(clang_getCString(name));
	clang_disposeString(name);
	if (!type || !type->name) {
		writer->rc = -ENOMEM;
		free(type);
		return CXChildVisit_Break;
	}
	type->type = clang_getCursorType(cursor);
	found = tsearch(type, &writer->types, compare_types);
	if (!found)
		writer->rc = -ENOMEM;
	if (found && *found != type && kind == CXCursor_TypedefDecl)
		(*found)->type = type->type;
	if (!found || *found != type)
		free_type(type);
	if (!writer->rc && kind == CXCursor_TypedefDecl)
		writer->rc = note_typedef(writer, cursor);
	return writer->rc ? CXChildVisit_Break : CXChildVisit_Continue;
}

static const struct named_type *find_type(const struct writer *writer, const char *name)
{
	struct named_type key = {.name = (char *)(uintptr_t)name};
	struct named_type *const *found = tfind(&key, &writer->types, compare_types);

	return found ? *found : NULL;
}

static char *copy_of(CXString string)
{
	char *copy = strdup(clang_getCString(string));

	clang_disposeString(string);
	return copy;
}

/* The typedef that stands for a record, or NULL. */
static char *typedef_name(const struct writer *writer, CXType canonical)
{
	CXString usr = clang_getCursorUSR(clang_getTypeDeclaration(canonical));
	struct named_type key = {.name = (char *)(uintptr_t)clang_getCString(usr)};
	struct named_type *const *found = tfind(&key, &writer->typedefs, compare_types);

	clang_disposeString(usr);
	return found ? copy_of(clang_getTypedefName((*found)->type)) : NULL;
}

/* The name under which C code knows a record: a typedef's, best one like its tag, or else the tag.
 * Records without a name are called after the member that has their type. Returns a copy. */
static char *record_name(const struct writer *writer, CXType canonical, bool *tag_only)
{
	cleanup_free char *text = copy_of(clang_getTypeSpelling(canonical));
	bool tagged = text && (!strncmp(text, "struct ", 7) || !strncmp(text, "union ", 6));
	const char *name = tagged ? strchr(text, ' ') + 1 : text;
	const struct named_type *same;

	*tag_only = false;
	if (!text || strchr(name, '(') || strchr(name, ' '))
		return NULL;
	same = find_type(writer, name);
	if (!tagged || (same && same->type.kind == CXType_Typedef))
		return strdup(name);
	char *other = typedef_name(writer, canonical);
	*tag_only = !other;
	return other ? other : strdup(name);
}

static int want_record(struct writer *writer, const char *name, CXType canonical, bool tag_only)
{
	struct record *record;

	for (uint32_t i = 0; i < writer->record_count; i++)
		if (!strcmp(writer->record[i].name, name))
			return 0;
	record = table_append(&writer->record, &writer->record_count, sizeof(*record));
	if (!record)
		return -ENOMEM;
	record->type = canonical;
	record->tag_only = tag_only;
	record->name = strdup(name);
	return record->name ? 0 : -ENOMEM;
}

/* The driver's own scalar types that say what a value is. */
static const char *telling_typedef(CXType type)
{
	static const char *const words[][2] = {
	    {"NvHandle", "handle"}, {"NvP64", "pointer"}, {"NvBool", "bool"}};

	while (type.kind == CXType_Typedef || type.kind == CXType_Elaborated) {
		CXString name = clang_getTypedefName(type);
		const char *word = NULL;

		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
			if (clang_getCString(name) && !strcmp(clang_getCString(name), words[i][0]))
				word = words[i][1];
		clang_disposeString(name);
		if (word)
			return word;
		if (type.kind == CXType_Elaborated)
			type = clang_Type_getNamedType(type);
		else
			type = clang_getTypedefDeclUnderlyingType(clang_getTypeDeclaration(type));
	}
	return NULL;
}

static const char *scalar_word(CXType type, CXType canonical)
{
	const char *word = telling_typedef(type);
	long long size = clang_Type_getSizeOf(canonical);
	bool is_signed = true;

	if (word)
		return word;
	switch (canonical.kind) {
	case CXType_Bool:
		return "bool";
	case CXType_Char_S:
	case CXType_Char_U:
		return "char";
	case CXType_Float:
		return "f32";
	case CXType_Double:
		return "f64";
	case CXType_Pointer:
		return "address";
	case CXType_Enum:
	case CXType_UChar:
	case CXType_UShort:
	case CXType_UInt:
	case CXType_ULong:
	case CXType_ULongLong:
		is_signed = false;
		break;
	case CXType_SChar:
	case CXType_Short:
	case CXType_Int:
	case CXType_Long:
	case CXType_LongLong:
		break;
	default:
		return NULL;
	}
	switch (size) {
	case 1:
		return is_signed ? "s8" : "u8";
	case 2:
		return is_signed ? "s16" : "u16";
	case 4:
		return is_signed ? "s32" : "u32";
	case 8:
		return is_signed ? "s64" : "u64";
	default:
		return NULL;
	}
}

/* Strips arrays from TYPE and writes their dimensions ("[4][2]"). */
static CXType strip_arrays(CXType type, char *dims, size_t size)
{
	size_t length = 0;

	*dims = '\0';
	for (;;) {
		CXType canonical = clang_getCanonicalType(type);
		long long count = 0;

		if (canonical.kind == CXType_ConstantArray)
			count = clang_getArraySize(canonical);
		else if (canonical.kind != CXType_IncompleteArray)
			return type;
		length += (size_t)snprintf(dims + length, size - length, "[%lld]", count);
		type = clang_getArrayElementType(type.kind == CXType_ConstantArray ||
							 type.kind == CXType_IncompleteArray
						     ? type
						     : canonical);
	}
}

static int field_type(struct writer *writer, CXType type, const char *field, char *word,
		      size_t size)
{
	CXType canonical = clang_getCanonicalType(type);
	cleanup_free char *name = NULL;
	const char *scalar;
	bool tag_only;

	if (canonical.kind != CXType_Record) {
		scalar = scalar_word(type, canonical);
		if (!scalar)
			return mpu_fail(writer->error, EINVAL, "%s.%s has a type that is not known",
					writer->owner, field);
		snprintf(word, size, "%s", scalar);
		return 0;
	}
	name = record_name(writer, canonical, &tag_only);
	if (!name && asprintf(&name, "%s.%s", writer->owner, field) < 0)
		return -ENOMEM;
	snprintf(word, size, "%s", name);
	return want_record(writer, name, canonical, tag_only);
}

static long long round_up(long long value, long long align)
{
	return (value + align - 1) / align * align;
}

static enum CXVisitorResult write_field(CXCursor cursor, CXClientData data)
{
	struct writer *writer = data;
	CXType type = clang_getCursorType(cursor);
	long long bits = clang_Cursor_getOffsetOfField(cursor), offset = bits / 8;
	long long size = clang_Type_getSizeOf(type), align = clang_Type_getAlignOf(type), expected;
	char name[128], word[256], dims[96];
	CXString spelling = clang_getCursorSpelling(cursor);

	snprintf(name, sizeof(name), "%s", clang_getCString(spelling));
	clang_disposeString(spelling);
	if (!*name || strchr(name, '('))
		snprintf(name, sizeof(name), "?%d", ++writer->unnamed);
	if (clang_Cursor_isBitField(cursor)) {
		fprintf(writer->out, " %s:bits[%d]@%lld.%lld", name,
			clang_getFieldDeclBitWidth(cursor), offset, bits % 8);
		return CXVisit_Continue;
	}
	if (clang_getCanonicalType(type).kind == CXType_IncompleteArray)
		size = 0;
	writer->rc =
	    field_type(writer, strip_arrays(type, dims, sizeof(dims)), name, word, sizeof(word));
	if (writer->rc)
		return CXVisit_Break;
	expected = writer->is_union ? 0 : round_up(writer->at, align);
	fprintf(writer->out, " %s:%s%s", name, word, dims);
	if (offset != expected)
		fprintf(writer->out, "@%lld", offset);
	if (align > writer->align)
		writer->align = align;
	if (writer->is_union)
		writer->at = size > writer->at ? size : writer->at;
	else
		writer->at = offset + size;
	return CXVisit_Continue;
}

static int write_record(struct writer *writer, const struct record *record)
{
	long long size = clang_Type_getSizeOf(record->type);
	long long align = clang_Type_getAlignOf(record->type);
	CXCursor declaration = clang_getTypeDeclaration(record->type);
	cleanup_free char *name = strdup(record->name);

	if (!name)
		return -ENOMEM;
	if (size < 0)
		return mpu_fail(writer->error, EINVAL, "%s is declared, but not defined", name);
	writer->owner = name;
	writer->at = writer->unnamed = 0;
	writer->align = 1;
	writer->is_union = clang_getCursorKind(declaration) == CXCursor_UnionDecl;
	fprintf(writer->out, "%s %s", writer->is_union ? "union" : "struct", name);
	clang_Type_visitFields(record->type, write_field, writer);
	if (writer->rc)
		return writer->rc;
	if (align != writer->align)
		fprintf(writer->out, " align=%lld", align);
	if (size != round_up(writer->at, align))
		fprintf(writer->out, " size=%lld", size);
	if (record->tag_only)
		fprintf(writer->out, " tag");
	fprintf(writer->out, "\n");
	return 0;
}

static int write_call(struct writer *writer, struct extract_call *call)
{
	const struct named_type *type = call->params ? find_type(writer, call->params) : NULL;
	cleanup_free char *name = NULL;
	CXType canonical;
	bool tag_only;

	const char *unnamed = call->unnamed ? " unnamed" : "";

	if (!type) {
		fprintf(writer->out, "%s %s 0x%x -%s\n", extract_kind_word(call->kind), call->name,
			call->number, unnamed);
		return 0;
	}
	canonical = clang_getCanonicalType(type->type);
	if (canonical.kind == CXType_Record) {
		name = record_name(writer, canonical, &tag_only);
		if (!name)
			return mpu_fail(writer->error, EINVAL, "%s has no name", call->params);
		fprintf(writer->out, "%s %s 0x%x %s%s\n", extract_kind_word(call->kind), call->name,
			call->number, name, unnamed);
		return want_record(writer, name, canonical, tag_only);
	}
	if (!scalar_word(type->type, canonical))
		return mpu_fail(writer->error, EINVAL, "%s is of a type that is not known",
				call->params);
	fprintf(writer->out, "%s %s 0x%x %s%s\n", extract_kind_word(call->kind), call->name,
		call->number, scalar_word(type->type, canonical), unnamed);
	return 0;
}

/* A control's parameters, where the generator's comment does not name them, bear its name. */
static int guess_params(const struct writer *writer, struct extract_call *call)
{
	static const char *const suffixes[] = {"_PARAMS", "_PARAMETERS"};
	const char *command = strstr(call->name, "_CTRL_CMD_");

	if (call->told && find_type(writer, call->told)) {
		free(call->params);
		call->params = steal_ptr(call->told);
		return 0;
	}
	if (call->params && find_type(writer, call->params))
		return 0;
	if (call->kind == EXTRACT_CLASS || call->kind == EXTRACT_ESCAPE || call->unnamed)
		return 0;
	for (size_t i = 0; i < 4; i++) {
		bool shorten = i & 1;
		char *name = NULL;

		if (shorten && !command)
			continue;
		if (asprintf(&name, "%.*s%s%s",
			     shorten ? (int)(command - call->name) + 6 : (int)strlen(call->name),
			     call->name, shorten ? command + 10 : "", suffixes[i / 2]) < 0)
			return -ENOMEM;
		if (find_type(writer, name)) {
			free(call->params);
			call->params = name;
			return 0;
		}
		free(name);
	}
	return 0;
}

static int by_call(const void *a, const void *b)
{
	const struct extract_call *left = a, *right = b;

	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	return strcmp(left->name, right->name);
}

static int by_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Records are found one through another; their rows are sorted by name. */
static int write_records(struct writer *writer, FILE *out)
{
	cleanup_free char **line = NULL;
	uint32_t count = 0;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < writer->record_count; i++) {
		char **text = table_append(&line, &count, sizeof(*text));
		size_t size;

		writer->out = text ? open_memstream(text, &size) : NULL;
		if (!writer->out)
			return -ENOMEM;
		struct record record = writer->record[i];
		rc = write_record(writer, &record);
		fclose(writer->out);
	}
	if (!rc)
		qsort(line, count, sizeof(*line), by_line);
	for (uint32_t i = 0; i < count; i++) {
		if (!rc)
			fputs(line[i], out);
		free(line[i]);
	}
	return rc;
}

int extract_write(struct extract *extract, FILE *out, struct mpu_error *error)
{
	struct writer writer = {.extract = extract, .out = out, .error = error};

	clang_visitChildren(clang_getTranslationUnitCursor(extract->unit), visit_types, &writer);
	qsort(extract->call, extract->call_count, sizeof(*extract->call), by_call);
	for (uint32_t i = 0; !writer.rc && i < extract->call_count; i++) {
		writer.rc = guess_params(&writer, &extract->call[i]);
		if (!writer.rc)
			writer.rc = write_call(&writer, &extract->call[i]);
	}
	if (!writer.rc)
		writer.rc = write_records(&writer, out);
	for (uint32_t i = 0; i < writer.record_count; i++)
		free(writer.record[i].name);
	free(writer.record);
	tdestroy(writer.types, free_type);
	tdestroy(writer.typedefs, free_type);
	if (writer.rc == -ENOMEM)
		mpu_fail(error, ENOMEM, "no memory");
	return writer.rc;
}
