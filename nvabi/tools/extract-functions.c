/* Whether a function of the driver is the same in two trees, whatever its comments and blanks. */
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

static uint64_t hash_in_file(struct extract *extract, const char *path, const char *function)
{
	struct tokens tokens = {0};
	uint64_t hash = 0;

	if (clang_parseTranslationUnit2(extract->index, path, NULL, 0, NULL, 0,
					CXTranslationUnit_SingleFileParse, &tokens.unit))
		return 0;
	CXFile file = clang_getFile(tokens.unit, path);
	size_t size = 0;

	if (file && clang_getFileContents(tokens.unit, file, &size)) {
		CXSourceRange all = clang_getRange(
		    clang_getLocationForOffset(tokens.unit, file, 0),
		    clang_getLocationForOffset(tokens.unit, file, (unsigned int)size));

		clang_tokenize(tokens.unit, all, &tokens.token, &tokens.count);
		hash = hash_definition(&tokens, function);
		clang_disposeTokens(tokens.unit, tokens.token, tokens.count);
	}
	clang_disposeTranslationUnit(tokens.unit);
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
