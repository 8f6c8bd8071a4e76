/* Which macros number a call. */
#include "nvabi/lines.h"
#include "nvabi/tools/extract.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { BODY = 16 };

/* A macro as its tokens stand in the header. */
struct macro {
	char name[160];
	char file[64]; /* without folders */
	char body[BODY][96];
	unsigned int body_count;
	char comment[512]; /* directly behind it, on its last line */
};

struct macro_visit {
	struct extract *extract;
	int rc;
};

static void copy_string(char *out, size_t size, CXString text)
{
	const char *from = clang_getCString(text);

	snprintf(out, size, "%s", from ? from : "");
	clang_disposeString(text);
}

static unsigned int line_of(CXSourceLocation location)
{
	unsigned int line;

	clang_getSpellingLocation(location, NULL, &line, NULL, NULL);
	return line;
}

/* From the macro's name to the end of the line on which it ends. */
static CXSourceRange to_line_end(CXTranslationUnit unit, CXSourceRange extent)
{
	CXSourceLocation end = clang_getRangeEnd(extent);
	unsigned int offset;
	size_t size;
	CXFile file;
	const char *text;

	clang_getSpellingLocation(end, &file, NULL, NULL, &offset);
	text = clang_getFileContents(unit, file, &size);
	while (text && offset < size && text[offset] != '\n')
		offset++;
	return clang_getRange(clang_getRangeStart(extent),
			      clang_getLocationForOffset(unit, file, offset));
}

static void read_tokens(CXTranslationUnit unit, CXSourceRange extent, struct macro *macro)
{
	unsigned int last = line_of(clang_getRangeEnd(extent)), count = 0;
	CXToken *tokens = NULL;

	clang_tokenize(unit, to_line_end(unit, extent), &tokens, &count);
	for (unsigned int i = 1; i < count; i++) {
		CXString text = clang_getTokenSpelling(unit, tokens[i]);

		if (clang_getTokenKind(tokens[i]) != CXToken_Comment) {
			if (macro->body_count < BODY)
				copy_string(macro->body[macro->body_count++], 96, text);
			else
				clang_disposeString(text);
			continue;
		}
		if (line_of(clang_getTokenLocation(unit, tokens[i])) == last && !*macro->comment)
			copy_string(macro->comment, sizeof(macro->comment), text);
		else
			clang_disposeString(text);
	}
	clang_disposeTokens(unit, tokens, count);
}

static bool read_macro(CXTranslationUnit unit, CXCursor cursor, struct macro *macro)
{
	char path[4096], *slash;
	CXFile file;

	memset(macro, 0, sizeof(*macro));
	clang_getSpellingLocation(clang_getCursorLocation(cursor), &file, NULL, NULL, NULL);
	if (!file || clang_Cursor_isMacroFunctionLike(cursor) ||
	    clang_Cursor_isMacroBuiltin(cursor))
		return false;
	copy_string(path, sizeof(path), clang_getFileName(file));
	slash = strrchr(path, '/');
	snprintf(macro->file, sizeof(macro->file), "%.63s", slash ? slash + 1 : path);
	copy_string(macro->name, sizeof(macro->name), clang_getCursorSpelling(cursor));
	read_tokens(unit, clang_getCursorExtent(cursor), macro);
	return macro->body_count > 0;
}

/* The number itself, bare or in parentheses. */
static bool is_literal(const struct macro *macro, uint64_t *number)
{
	bool parens =
	    macro->body_count == 3 && !strcmp(macro->body[0], "(") && !strcmp(macro->body[2], ")");
	const char *text = macro->body[parens];
	char *end;

	if ((macro->body_count != 1 && !parens) || !isdigit((unsigned char)*text))
		return false;
	*number = strtoull(text, &end, 0);
	return strspn(end, "uUlL") == strlen(end);
}

static bool class_of_name(const char *name, uint64_t *number)
{
	char digits[5] = "";

	if (strncmp(name, "NV", 2) || strspn(name + 2, "0123456789ABCDEFabcdef") < 4)
		return false;
	memcpy(digits, name + 2, 4);
	*number = strtoull(digits, NULL, 16);
	return !strncmp(name + 6, "_CTRL_", 6);
}

/* NVIDIA's generator of these headers says in a comment of what a control's number consists: the
 * interface, and the message, which is named after the parameter structure where there is one. */
static bool is_control(const struct macro *macro, char *params, size_t size)
{
	static const char message[] = "_MESSAGE_ID\"";
	uint64_t number, class_number;
	const char *bar;
	size_t length;

	*params = '\0';
	if (!is_literal(macro, &number))
		return false;
	if (!strstr(macro->comment, "finn: Evaluated from \"(FINN_") ||
	    !strstr(macro->comment, "_INTERFACE_ID << 8)"))
		return class_of_name(macro->name, &class_number) && class_number &&
		       number >> 16 == class_number && strstr(macro->name, "_CMD_");
	bar = strstr(macro->comment, "| ");
	length = bar ? strcspn(bar + 2, " ") : 0;
	if (length > sizeof(message) - 1 && length - (sizeof(message) - 1) < size &&
	    !strncmp(bar + 2 + length - (sizeof(message) - 1), message, sizeof(message) - 1))
		snprintf(params, size, "%.*s", (int)(length - (sizeof(message) - 1)), bar + 2);
	return true;
}

/* In clNNNN.h the class is the macro whose value is 0xNNNN. Below 0x10 too much else has such a
 * value; those classes come from the list of resources. */
static bool is_class(const struct macro *macro)
{
	uint64_t number, expected;
	char *end;

	if (strncmp(macro->file, "cl", 2) || !is_literal(macro, &number))
		return false;
	expected = strtoull(macro->file + 2, &end, 16);
	return end == macro->file + 6 && !strcmp(end, ".h") && number == expected && number >= 0x10;
}

static const char *without_suffix(const char *name, const char *suffix, size_t *length)
{
	*length = strlen(name);
	if (*length <= strlen(suffix) || strcmp(name + *length - strlen(suffix), suffix))
		return NULL;
	*length -= strlen(suffix);
	return name;
}

/* A class's header gives its parameters the class's number as a message id. */
static int add_message(struct extract *extract, const struct macro *macro, size_t length)
{
	struct extract_message *message;
	uint64_t number = 0;

	is_literal(macro, &number);
	message = table_append(&extract->message, &extract->message_count, sizeof(*message));
	if (!message)
		return -ENOMEM;
	message->number = (uint32_t)number;
	message->params = strndup(macro->name, length);
	return message->params ? 0 : -ENOMEM;
}

static bool is_escape(const struct macro *macro)
{
	return !strncmp(macro->name, "NV_ESC_", 7) &&
	       (!strcmp(macro->file, "nv_escape.h") ||
		!strncmp(macro->file, "nv-ioctl", strlen("nv-ioctl")));
}

static bool is_uvm(const struct macro *macro)
{
	uint64_t number;

	if (strncmp(macro->name, "UVM_", 4))
		return false;
	if (!strcmp(macro->file, "uvm_ioctl.h"))
		return !strcmp(macro->body[0], "UVM_IOCTL_BASE");
	return !strcmp(macro->file, "uvm_linux_ioctl.h") && is_literal(macro, &number);
}

static int add_macro(struct extract *extract, const struct macro *macro)
{
	struct extract_call *call;
	char params[192] = "";
	enum extract_kind kind;
	size_t length;

	if (is_class(macro) && without_suffix(macro->name, "_MESSAGE_ID", &length))
		return add_message(extract, macro, length);
	if (is_control(macro, params, sizeof(params)))
		kind = EXTRACT_CONTROL;
	else if (is_class(macro))
		kind = EXTRACT_CLASS;
	else if (is_escape(macro))
		kind = EXTRACT_ESCAPE;
	else if (is_uvm(macro))
		kind = EXTRACT_UVM;
	else
		return 0;
	call = extract_add(extract, kind, macro->name);
	if (!call)
		return -ENOMEM;
	if (*params && !call->params) {
		call->params = strdup(params);
		return call->params ? 0 : -ENOMEM;
	}
	return 0;
}

static enum CXChildVisitResult visit_macro(CXCursor cursor, CXCursor parent, CXClientData data)
{
	struct macro_visit *visit = data;
	struct macro macro;

	(void)parent;
	if (clang_getCursorKind(cursor) == CXCursor_MacroDefinition &&
	    read_macro(visit->extract->unit, cursor, &macro))
		visit->rc = add_macro(visit->extract, &macro);
	return visit->rc ? CXChildVisit_Break : CXChildVisit_Continue;
}

int extract_macros(struct extract *extract, struct mpu_error *error)
{
	struct macro_visit visit = {.extract = extract};

	clang_visitChildren(clang_getTranslationUnitCursor(extract->unit), visit_macro, &visit);
	if (visit.rc)
		return mpu_fail(error, ENOMEM, "no memory");
	if (!extract->call_count)
		return mpu_fail(error, EINVAL, "%s: no call is in its headers", extract->tree);
	return 0;
}
