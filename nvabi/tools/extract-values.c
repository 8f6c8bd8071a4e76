/* Numbers of macros and the driver's list of resources, as the compiler evaluates them. */
#include "nvabi/lines.h"
#include "nvabi/tools/extract.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

#define VALUE_PREFIX "nvabi_value_"

struct list_visit {
	struct extract *extract;
	char name[160]; /* of the class whose parameters come next */
	int rc;
};

/* RS_REQUIRED(X) and RS_OPTIONAL(X) name the parameters X; RS_NONE says that there are none. */
static int add_resource(struct list_visit *visit, const char *alloc)
{
	struct extract_call *call = extract_add(visit->extract, EXTRACT_CLASS, visit->name);
	const char *open = strchr(alloc, '(');

	*visit->name = '\0';
	if (!call)
		return -ENOMEM;
	call->listed = true;
	if (!open || call->params)
		return 0;
	call->params = strndup(open + 1, strcspn(open + 1, ") "));
	return call->params ? 0 : -ENOMEM;
}

static enum CXChildVisitResult visit_strings(CXCursor cursor, CXCursor parent, CXClientData data)
{
	struct list_visit *visit = data;
	CXEvalResult result;

	enum CXChildVisitResult next = CXChildVisit_Recurse;

	(void)parent;
	result = clang_Cursor_Evaluate(cursor);
	if (result && clang_EvalResult_getKind(result) == CXEval_StrLiteral) {
		const char *text = clang_EvalResult_getAsStr(result);

		if (*visit->name)
			visit->rc = add_resource(visit, text);
		else
			snprintf(visit->name, sizeof(visit->name), "%s", text);
		next = visit->rc ? CXChildVisit_Break : CXChildVisit_Continue;
	}
	clang_EvalResult_dispose(result);
	return next;
}

static enum CXChildVisitResult find_list(CXCursor cursor, CXCursor parent, CXClientData data)
{
	CXString name = clang_getCursorSpelling(cursor);
	bool found = clang_getCursorKind(cursor) == CXCursor_VarDecl &&
		     !strcmp(clang_getCString(name), "nvabi_resources");

	(void)parent;
	clang_disposeString(name);
	if (found)
		clang_visitChildren(cursor, visit_strings, data);
	return CXChildVisit_Continue;
}

int extract_classes(struct extract *extract, struct mpu_error *error)
{
	static const char tail[] =
	    "#define RS_ENTRY(class, internal, multi, parents, alloc, ...) #class, #alloc,\n"
	    "static const char *const nvabi_resources[] = {\n"
	    "#include \"resource_list.h\"\n"
	    "};\n";
	struct list_visit visit = {.extract = extract};
	int rc = extract_parse(extract, tail, error);

	if (rc)
		return rc;
	clang_visitChildren(clang_getTranslationUnitCursor(extract->unit), find_list, &visit);
	return visit.rc ? mpu_fail(error, ENOMEM, "no memory") : 0;
}

static struct extract_call *find_call(struct extract *extract, const char *name)
{
	for (uint32_t i = 0; i < extract->call_count; i++)
		if (!strcmp(extract->call[i].name, name))
			return &extract->call[i];
	return NULL;
}

static enum CXChildVisitResult visit_value(CXCursor cursor, CXCursor parent, CXClientData data)
{
	static uint32_t next; /* values stand in the order of the calls */
	struct extract *extract = data;
	CXString name = clang_getCursorSpelling(cursor);
	const char *text = clang_getCString(name);
	struct extract_call *call = NULL;

	(void)parent;
	if (clang_getCursorKind(cursor) == CXCursor_VarDecl &&
	    !strncmp(text, VALUE_PREFIX, strlen(VALUE_PREFIX))) {
		text += strlen(VALUE_PREFIX);
		next = next < extract->call_count ? next : 0;
		call = strcmp(extract->call[next].name, text) ? find_call(extract, text)
							      : &extract->call[next];
	}
	if (call) {
		CXEvalResult result = clang_Cursor_Evaluate(cursor);

		if (result && clang_EvalResult_getKind(result) == CXEval_Int) {
			call->number = (uint32_t)clang_EvalResult_getAsUnsigned(result);
			call->known = true;
		}
		clang_EvalResult_dispose(result);
		next = (uint32_t)(call - extract->call) + 1;
	}
	clang_disposeString(name);
	return CXChildVisit_Continue;
}

/* Classes of which the list of resources says nothing: their headers may. */
static int name_class_params(struct extract *extract, struct mpu_error *error)
{
	for (uint32_t i = 0; i < extract->call_count; i++) {
		struct extract_call *call = &extract->call[i];

		if (call->kind != EXTRACT_CLASS || call->listed || call->params)
			continue;
		for (uint32_t m = 0; m < extract->message_count && !call->params; m++) {
			if (extract->message[m].number != call->number)
				continue;
			call->params = strdup(extract->message[m].params);
			if (!call->params)
				return mpu_fail(error, ENOMEM, "no memory");
		}
	}
	return 0;
}

int extract_numbers(struct extract *extract, struct mpu_error *error)
{
	cleanup_free char *tail = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&tail, &size);
	int rc;

	if (!out)
		return mpu_fail(error, ENOMEM, "no memory");
	for (uint32_t i = 0; i < extract->call_count; i++)
		if (!extract->call[i].unnamed)
			fprintf(out, "static const unsigned long long " VALUE_PREFIX "%s = (%s);\n",
				extract->call[i].name, extract->call[i].name);
	if (fclose(out))
		return mpu_fail(error, ENOMEM, "no memory");
	rc = extract_parse(extract, tail, error);
	if (rc)
		return rc;
	clang_visitChildren(clang_getTranslationUnitCursor(extract->unit), visit_value, extract);
	for (uint32_t i = 0; i < extract->call_count; i++)
		if (!extract->call[i].known)
			return mpu_fail(error, EINVAL, "%s: %s has no constant value",
					extract->tree, extract->call[i].name);
	return name_class_params(extract, error);
}
