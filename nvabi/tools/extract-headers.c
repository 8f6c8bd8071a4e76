/* Which headers hold the ABI, and their translation unit. */
#include "nvabi/lines.h"
#include "nvabi/tools/extract.h"

#include "base/cleanup.h"

#include <errno.h>
#include <ftw.h>
#include <string.h>
#include <unistd.h>

#define SDK  "src/common/sdk/nvidia/inc"
#define ARCH "src/nvidia/arch/nvalloc/unix/include"
#define UVM  "kernel-open/nvidia-uvm"

/* Without these a tree is not the driver's. In this order: later headers lean on the earlier. */
static const char *const required[] = {
    SDK "/nvtypes.h",		SDK "/nvos.h",
    ARCH "/nv-ioctl-numbers.h", ARCH "/nv-ioctl.h",
    ARCH "/nv_escape.h",	ARCH "/nv-unix-nvos-params-wrappers.h",
    UVM "/uvm_ioctl.h",		UVM "/uvm_linux_ioctl.h",
};
/* Of each pair the first that is there: nv-ioctl-numa.h was the kernel interface's alone at first.
 */
static const char *const optional[][2] = {
    {ARCH "/nv-ioctl-numa.h", "kernel-open/common/inc/nv-ioctl-numa.h"},
    {ARCH "/nv-ioctl-lockless-diag.h", ARCH "/nv-ioctl-nvlog.h"},
};
static const char *const folders[] = {SDK "/alloc", SDK "/class", SDK "/ctrl"};

/* nftw() has no argument for its callback's context. */
static struct extract *walking;

static int add_header(struct extract *extract, const char *path)
{
	char **slot = table_append(&extract->header, &extract->header_count, sizeof(*slot));

	if (slot)
		*slot = strdup(path);
	return slot && *slot ? 0 : -ENOMEM;
}

static int visit_file(const char *path, const struct stat *status, int type, struct FTW *at)
{
	size_t length = strlen(path);

	(void)status;
	(void)at;
	if (type != FTW_F || length < 2 || strcmp(path + length - 2, ".h"))
		return 0;
	return add_header(walking, path + strlen(walking->tree) + 1);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_folder(struct extract *extract, const char *folder)
{
	cleanup_free char *path = NULL;
	uint32_t first = extract->header_count;
	int rc;

	if (asprintf(&path, "%s/%s", extract->tree, folder) < 0)
		return -ENOMEM;
	if (access(path, F_OK))
		return 0;
	walking = extract;
	rc = nftw(path, visit_file, 16, FTW_PHYS);
	if (!rc && extract->header_count > first)
		qsort(extract->header + first, extract->header_count - first, sizeof(char *),
		      by_name);
	return rc;
}

static bool there(const struct extract *extract, const char *name)
{
	cleanup_free char *path = NULL;

	return asprintf(&path, "%s/%s", extract->tree, name) >= 0 && !access(path, R_OK);
}

int extract_find_headers(struct extract *extract, struct mpu_error *error)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(required) / sizeof(*required); i++) {
		if (!there(extract, required[i]))
			return mpu_fail(error, EINVAL,
					"%s: not the driver's source: %s is not there",
					extract->tree, required[i]);
		rc = add_header(extract, required[i]);
	}
	for (size_t i = 0; !rc && i < sizeof(optional) / sizeof(*optional); i++)
		for (size_t k = 0; !rc && k < 2 && optional[i][k]; k++) {
			if (!there(extract, optional[i][k]))
				continue;
			rc = add_header(extract, optional[i][k]);
			break;
		}
	for (size_t i = 0; !rc && i < sizeof(folders) / sizeof(*folders); i++)
		rc = add_folder(extract, folders[i]);
	return rc ? mpu_fail(error, ENOMEM, "%s: cannot be listed", extract->tree) : 0;
}

static int refuse_diagnostics(const struct extract *extract, struct mpu_error *error)
{
	unsigned int count = clang_getNumDiagnostics(extract->unit);

	for (unsigned int i = 0; i < count; i++) {
		CXDiagnostic at = clang_getDiagnostic(extract->unit, i);
		bool bad = clang_getDiagnosticSeverity(at) >= CXDiagnostic_Error;

		if (bad) {
			CXString text =
			    clang_formatDiagnostic(at, CXDiagnostic_DisplaySourceLocation);

			mpu_fail(error, EINVAL, "%s", clang_getCString(text));
			clang_disposeString(text);
		}
		clang_disposeDiagnostic(at);
		if (bad)
			return -EINVAL;
	}
	return 0;
}

int extract_parse(struct extract *extract, const char *tail, struct mpu_error *error)
{
	static const char *const folder[] = {SDK,
					     ARCH,
					     UVM,
					     "kernel-open/common/inc",
					     "src/nvidia/generated",
					     "src/nvidia/src/kernel/rmapi"};
	enum { FOLDERS = sizeof(folder) / sizeof(*folder) };
	char include[FOLDERS][4096];
	const char *args[FOLDERS + 5] = {"-xc", "-std=gnu11", "-w", "--target=x86_64-linux-gnu"};
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return mpu_fail(error, ENOMEM, "no memory");
	for (uint32_t i = 0; i < extract->header_count; i++)
		fprintf(out, "#include \"%s/%s\"\n", extract->tree, extract->header[i]);
	fprintf(out, "%s", tail);
	if (fclose(out))
		return mpu_fail(error, ENOMEM, "no memory");
	for (int i = 0; i < FOLDERS; i++) {
		snprintf(include[i], sizeof(include[i]), "-I%s/%s", extract->tree, folder[i]);
		args[4 + i] = include[i];
	}
	if (extract->unit)
		clang_disposeTranslationUnit(extract->unit);
	extract->unit = NULL;
	if (!extract->index)
		extract->index = clang_createIndex(0, 0);
	struct CXUnsavedFile unsaved = {"nvabi-headers.c", text, size};
	enum CXErrorCode code = clang_parseTranslationUnit2(
	    extract->index, unsaved.Filename, args, 4 + FOLDERS, &unsaved, 1,
	    CXTranslationUnit_DetailedPreprocessingRecord, &extract->unit);

	if (code != CXError_Success)
		return mpu_fail(error, EINVAL, "%s: libclang cannot parse it (code %d)",
				extract->tree, (int)code);
	return refuse_diagnostics(extract, error);
}
