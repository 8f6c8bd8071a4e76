/* What is asked of the driver's C files, token by token: whether a function is the same in two
 * trees, whatever its comments and blanks, and whether a control is exported. */
#include "nvabi/lines.h"
#include "nvabi/tools/extract.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct tokens {
	CXTranslationUnit unit;
	CXToken *token;
	unsigned int count;
};

static bool spells(const struct tokens *tokens, unsigned int i, const char *text)
{
	CXString spelling;
	bool same;

	if (i >= tokens->count)
		return false;
	spelling = clang_getTokenSpelling(tokens->unit, tokens->token[i]);
	same = !strcmp(clang_getCString(spelling), text);
	clang_disposeString(spelling);
	return same;
}

/* Behind the bracket that closes the one at I, which is OPEN; the count where none does. */
static unsigned int behind(const struct tokens *tokens, unsigned int i, const char *open,
			   const char *close)
{
	unsigned int depth = 0;

	for (; i < tokens->count; i++) {
		if (spells(tokens, i, open))
			depth++;
		else if (spells(tokens, i, close) && !--depth)
			return i + 1;
	}
	return tokens->count;
}

static uint64_t hash_tokens(const struct tokens *tokens, unsigned int from, unsigned int to)
{
	uint64_t hash = 0xcbf29ce484222325U;

	for (unsigned int i = from; i < to; i++) {
		CXString text;

		if (clang_getTokenKind(tokens->token[i]) == CXToken_Comment)
			continue;
		text = clang_getTokenSpelling(tokens->unit, tokens->token[i]);
		for (const char *at = clang_getCString(text); *at; at++)
			hash = (hash ^ (uint8_t)*at) * 0x100000001b3U;
		hash = (hash ^ 1) * 0x100000001b3U;
		clang_disposeString(text);
	}
	return hash;
}

/* A definition is NAME ( ... ) { ... }. */
static uint64_t hash_definition(const struct tokens *tokens, const char *name)
{
	for (unsigned int i = 0; i < tokens->count; i++) {
		unsigned int body;

		if (!spells(tokens, i, name) || !spells(tokens, i + 1, "("))
			continue;
		body = behind(tokens, i + 1, "(", ")");
		if (spells(tokens, body, "{"))
			return hash_tokens(tokens, i, behind(tokens, body, "{", "}"));
	}
	return 0;
}

/* Reads the tokens of one file alone, its includes left out. Free them with close_tokens(). */
static bool open_tokens(struct extract *extract, const char *path, struct tokens *tokens)
{
	size_t size = 0;
	CXFile file;

	*tokens = (struct tokens){0};
	if (clang_parseTranslationUnit2(extract->index, path, NULL, 0, NULL, 0,
					CXTranslationUnit_SingleFileParse, &tokens->unit))
		return false;
	file = clang_getFile(tokens->unit, path);
	if (file && clang_getFileContents(tokens->unit, file, &size))
		clang_tokenize(tokens->unit,
			       clang_getRange(clang_getLocationForOffset(tokens->unit, file, 0),
					      clang_getLocationForOffset(tokens->unit, file,
									 (unsigned int)size)),
			       &tokens->token, &tokens->count);
	return true;
}

static void close_tokens(struct tokens *tokens)
{
	if (tokens->token)
		clang_disposeTokens(tokens->unit, tokens->token, tokens->count);
	if (tokens->unit)
		clang_disposeTranslationUnit(tokens->unit);
}

static uint64_t hash_in_file(struct extract *extract, const char *path, const char *function)
{
	struct tokens tokens;
	uint64_t hash = 0;

	if (open_tokens(extract, path, &tokens))
		hash = hash_definition(&tokens, function);
	close_tokens(&tokens);
	return hash;
}

int extract_function_hash(const char *tree, const char *file, const char *function, uint64_t *hash,
			  struct mpu_error *error)
{
	struct extract extract = {.index = clang_createIndex(0, 0)};
	cleanup_free char *path = NULL;

	*hash = 0;
	if (asprintf(&path, "%s/%s", tree, file) < 0)
		return mpu_fail(error, ENOMEM, "no memory");
	if (!access(path, R_OK))
		*hash = hash_in_file(&extract, path, function);
	extract_free(&extract);
	return 0;
}

/* The generated tables of exported controls, whose rows begin with the control's number. */
static const char *const export_tables[] = {"src/nvidia/generated/g_subdevice_nvoc.c",
					    "src/nvidia/generated/g_device_nvoc.c"};

struct unnamed {
	struct extract *extract;
	struct tokens table[2];
};

static bool is_exported(const struct unnamed *unnamed, const char *number)
{
	cleanup_free char *literal = NULL;

	if (asprintf(&literal, "%su", number) < 0)
		return false;
	for (size_t t = 0; t < 2; t++)
		for (unsigned int i = 0; i < unnamed->table[t].count; i++)
			if (spells(&unnamed->table[t], i, literal))
				return true;
	return false;
}

static int read_unnamed(const struct table_line *line, void *context, struct mpu_error *error)
{
	struct unnamed *unnamed = context;
	struct extract_call *call;
	uint64_t number;
	bool always;

	if (line->count < 5)
		return table_refuse(line, error, "wants: number name structure where source");
	always = !strcmp(line->word[3], "always");
	if (!always && strcmp(line->word[3], "exported"))
		return table_refuse(line, error, "'%s' is neither always nor exported",
				    line->word[3]);
	if (table_number(line->word[0], UINT32_MAX, &number))
		return table_refuse(line, error, "'%s' is not a number", line->word[0]);
	if (!always && !is_exported(unnamed, line->word[0]))
		return 0;
	for (uint32_t i = 0; i < unnamed->extract->call_count; i++)
		if (!strcmp(unnamed->extract->call[i].name, line->word[1]))
			return 0; /* this release's headers do name it */
	call = extract_add(unnamed->extract, EXTRACT_CONTROL, line->word[1]);
	if (!call)
		return mpu_fail(error, ENOMEM, "no memory");
	call->unnamed = call->known = true;
	call->number = (uint32_t)number;
	call->params = strdup(line->word[2]);
	return call->params ? 0 : mpu_fail(error, ENOMEM, "no memory");
}

int extract_unnamed(struct extract *extract, const char *path, struct mpu_error *error)
{
	struct unnamed unnamed = {.extract = extract};
	int rc = 0;

	for (size_t t = 0; !rc && t < 2; t++) {
		cleanup_free char *table = NULL;

		if (asprintf(&table, "%s/%s", extract->tree, export_tables[t]) < 0)
			return mpu_fail(error, ENOMEM, "no memory");
		if (access(table, R_OK) || !open_tokens(extract, table, &unnamed.table[t]))
			rc = mpu_fail(error, EINVAL, "%s: not the driver's source: %s is not there",
				      extract->tree, export_tables[t]);
	}
	if (!rc)
		rc = table_read(path, read_unnamed, &unnamed, error);
	close_tokens(&unnamed.table[0]);
	close_tokens(&unnamed.table[1]);
	return rc;
}
