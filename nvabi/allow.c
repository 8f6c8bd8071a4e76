#include "nvabi/allow.h"

#include "base/cleanup.h"
#include "nvabi/load-policy.h"
#include "nvabi/pids.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef FUSE_SUPER_MAGIC /* Linux 5.14 */
#define FUSE_SUPER_MAGIC 0x65735546
#endif

enum { MOST_TEXT = 1 << 20 };

struct nvabi_allow {
	struct loaded_policy file;
	struct nvabi_policy_tables tables; /* mpu's and the file's */
};

/* ---- Who wrote it ---- */

/* There a file can be anybody's and say that it is root's: /proc/PID/environ, or what FUSE shows.
 */
static bool says_who_owns(int fd)
{
	struct statfs status;

	return !fstatfs(fd, &status) && status.f_type != PROC_SUPER_MAGIC &&
	       status.f_type != FUSE_SUPER_MAGIC;
}

static int check_writers(int fd, const char *path, struct mpu_error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	if (!says_who_owns(fd))
		return mpu_fail(
		    error, EACCES,
		    "%s: lies where nobody can tell who wrote it (procfs, FUSE): copy it "
		    "to /etc/mpu",
		    path);
	if (!S_ISREG(status.st_mode))
		return mpu_fail(error, EACCES, "%s: is no regular file", path);
	if (status.st_uid && status.st_uid != geteuid())
		return mpu_fail(error, EACCES,
				"%s: belongs to user %u, who could allow driver calls by it: make "
				"it root's (chown root)",
				path, status.st_uid);
	if (status.st_mode & (S_IWGRP | S_IWOTH))
		return mpu_fail(error, EACCES,
				"%s: others than its owner can write to it, and allow driver calls "
				"by it (mode %04o): chmod go-w",
				path, status.st_mode & 07777);
	if (status.st_size > MOST_TEXT)
		return mpu_fail(error, EFBIG, "%s: longer than 1 MiB", path);
	return 0;
}

/* ---- What a row may be ---- */

static const struct nvabi_policy_row *find_own(const struct nvabi_policy_row *row)
{
	for (uint32_t i = 0; i < nvabi_policy_tables.row_count; i++)
		if (!(nvabi_policy_tables.row[i].flags & POLICY_PATTERN) &&
		    load_policy_same_call(&nvabi_policy_tables.row[i], row))
			return &nvabi_policy_tables.row[i];
	return NULL;
}

/* How the call is made stays as it is. Returns what is wrong with ROW, or NULL. */
static const char *widen(struct nvabi_policy_row *row, const struct nvabi_policy_row *own)
{
	static const char *const ways[] = {"its way is execute, as mpu has it",
					   "its way is continue, as mpu has it",
					   "its way is firmware, as mpu has it"};

	if (row->way != own->way)
		return ways[own->way];
	if (row->flags & POLICY_NUMBERED &&
	    (row->number != own->number || (row->size && row->size != own->size)))
		return "mpu has a row for it with another number or size: leave them out, or write "
		       "what `mpuctl abi policy` shows";
	row->flags = own->flags | POLICY_ADDED | POLICY_WIDENS;
	row->number = own->number;
	row->size = own->size;
	return NULL;
}

/* Whether the older way of allocating is continued, as what is allocated is memory of who calls. */
static bool pins_memory(const char *name)
{
	for (uint32_t i = 0; i < nvabi_policy_tables.row_count; i++) {
		const struct nvabi_policy_row *own = &nvabi_policy_tables.row[i];

		if (own->kind == NVABI_MEMORY_CLASS && own->way == NVABI_WAY_CONTINUE &&
		    !strcmp(own->name, name))
			return true;
	}
	return false;
}

const char *nvabi_allow_never(uint32_t kind, const char *name)
{
	switch (kind) {
	case NVABI_CLASS:
		return pins_memory(name)
			   ? "it is memory of who allocates it, which is the proxy: mpu allows it "
			     "by NV_ESC_RM_ALLOC_MEMORY"
			   : NULL;
	case NVABI_ESCAPE:
		return "mpu has no row for this escape, and each needs code of its own: a row can "
		       "only allow an escape that mpu has to more capabilities";
	case NVABI_HEAP_FUNCTION:
		return "mpu has no row for this function, and knows of its parameters neither "
		       "which hold nor which are pointers";
	case NVABI_MEMORY_CLASS:
		return "mpu has no row for this class as memory, and what the older way of "
		       "allocating takes for an address depends on the class: allow it as a class";
	default:
		return NULL;
	}
}

/* Returns why there can be no such new row, or NULL. */
static const char *refuse_new(const struct nvabi_policy_row *row)
{
	const char *never = nvabi_allow_never(row->kind, row->name);

	if (never)
		return never;
	if (row->flags & POLICY_PATTERN)
		return "a pattern would allow calls that nobody has looked at: give each a row";
	if (row->flags & POLICY_ARRAY)
		return "only mpu's own rows may leave the size of parameters open";
	if (row->kind == NVABI_CONTROL && row->way == NVABI_WAY_CONTINUE)
		return "a control is made from a copy: its way is execute";
	if (row->kind == NVABI_CONTROL && row->flags & POLICY_NUMBERED &&
	    (!row->size || row->size > POLICY_MOST_BYTES))
		return "a control without a name wants the size of its parameters, 1 byte to 1 "
		       "MiB: "
		       "NUMBER:SIZE";
	if (row->kind == NVABI_CONTROL)
		return NULL;
	if (row->flags & POLICY_NUMBERED)
		return "only a control can be allowed by its number: write the call's name";
	if (row->kind == NVABI_UVM && row->way != NVABI_WAY_CONTINUE)
		return "UVM works on the memory of who calls: its way is continue";
	if (row->kind == NVABI_CLASS && row->way != NVABI_WAY_EXECUTE)
		return "a class is allocated from a copy: its way is execute";
	return NULL;
}

static int place(struct loaded_row *loaded, const char *path, struct mpu_error *error)
{
	struct nvabi_policy_row *row = &loaded->row;
	const struct nvabi_policy_row *own = find_own(row);
	const char *wrong = own ? widen(row, own) : refuse_new(row);

	row->flags |= POLICY_ADDED;
	return wrong ? mpu_fail(error, EINVAL, "%s:%u: %s %s: %s", path, loaded->line,
				nvabi_policy_kind_name(row->kind), row->name, wrong)
		     : 0;
}

/* ---- The file ---- */

/* Whose parameters lie behind a pointer is known of two escapes, and which descriptors the driver
 * makes of one: of nothing that can be added. */
static int check_use(const struct loaded_param *loaded, const char *path, struct mpu_error *error)
{
	const struct nvabi_policy_param *param = &loaded->param;
	const bool makes_descriptor =
	    param->use == POLICY_DESCRIPTOR && param->directions & NVABI_OUT;

	if (param->use != POLICY_NESTED && !makes_descriptor)
		return 0;
	return mpu_fail(
	    error, EINVAL,
	    "%s:%u: %s is %s no call that can be added: say in, out, inout, null, value or "
	    "fd-in",
	    path, loaded->line, param->field,
	    makes_descriptor ? "a descriptor that the driver makes in" : "nested in");
}

static bool is_translated(const struct nvabi_version *release, uint32_t control)
{
	struct nvabi_pids pids;

	return !nvabi_pids_compose(release, &pids) && nvabi_pids_find(&pids, control);
}

static int load(struct nvabi_allow *allow, FILE *file, const char *path, struct mpu_error *error)
{
	int rc = load_policy_lines(&allow->file, file, path, error);

	for (uint32_t i = 0; !rc && i < allow->file.row_count; i++)
		rc = place(&allow->file.row[i], path, error);
	for (uint32_t i = 0; !rc && i < allow->file.param_count; i++)
		rc = check_use(&allow->file.param[i], path, error);
	if (!rc)
		rc = check_policy(&allow->file, &nvabi_policy_tables, &nvabi_abi_tables,
				  is_translated, path, path, error);
	return rc ? rc
		  : load_policy_finish(&allow->file, &nvabi_policy_tables, &allow->tables, error);
}

/* Does not wait for who writes, where it is a FIFO. */
static FILE *open_text(const char *path, struct mpu_error *error)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file;

	if (fd < 0)
		mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	if (fd < 0 || check_writers(fd, path, error))
		return NULL;
	file = fdopen(fd, "r");
	if (file)
		fd = -1;
	else
		mpu_fail(error, ENOMEM, "%s: no memory", path);
	return file;
}

int nvabi_allow_read(const char *path, struct nvabi_allow **opened, struct mpu_error *error)
{
	struct mpu_error failure = {0};
	cleanup_file FILE *file = open_text(path, &failure);
	struct nvabi_allow *allow;
	int rc;

	if (!file)
		return mpu_fail(error, failure.code, "%s", failure.text);
	allow = calloc(1, sizeof(*allow));
	rc =
	    allow ? load(allow, file, path, error) : mpu_fail(error, ENOMEM, "%s: no memory", path);
	if (rc) {
		nvabi_allow_free(allow);
		return rc;
	}
	*opened = allow;
	return 0;
}

void nvabi_allow_free(struct nvabi_allow *allow)
{
	if (!allow)
		return;
	unload_policy(&allow->file);
	free(allow);
}

uint32_t nvabi_allow_rows(const struct nvabi_allow *allow)
{
	return allow->file.row_count;
}

int nvabi_policy_open_with(const struct nvabi_version *running, const struct nvabi_allow *allow,
			   struct nvabi_policy **policy)
{
	return nvabi_policy_open_from(allow ? &allow->tables : &nvabi_policy_tables,
				      &nvabi_abi_tables, running, policy);
}
