#include "tests/simrm/release.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

enum { MAX_RELEASES = 1024, MAX_FIELDS = 8 };

struct row {
	struct sim_version version;
	struct sim_version parent; /* parts 0: root */
	enum pid_space get_pids, get_pid_info, util, accounting;
	enum pid_kind kind;
	bool util_raw;
};

struct table {
	struct row row[MAX_RELEASES];
	unsigned count;
};

int sim_version_parse(const char *text, struct sim_version *version)
{
	unsigned number[3] = {0}, parts = 0;
	const char *at = text;

	for (;;) {
		unsigned long value = 0;
		const char *first = at;

		for (; *at >= '0' && *at <= '9' && at - first < 6; at++)
			value = value * 10 + (unsigned long)(*at - '0');
		if (at == first || value > 65535 || parts == 3)
			return -EINVAL;
		number[parts++] = (unsigned)value;
		if (!*at)
			break;
		if (*at++ != '.')
			return -EINVAL;
	}
	*version = (struct sim_version){number[0], number[1], number[2], parts};
	return 0;
}

int sim_version_compare(const struct sim_version *a, const struct sim_version *b)
{
	if (a->major != b->major)
		return a->major < b->major ? -1 : 1;
	if (a->minor != b->minor)
		return a->minor < b->minor ? -1 : 1;
	if (a->patch != b->patch)
		return a->patch < b->patch ? -1 : 1;
	return 0;
}

static struct row *find(struct table *table, const struct sim_version *version)
{
	for (unsigned i = 0; i < table->count; i++)
		if (!sim_version_compare(&table->row[i].version, version))
			return &table->row[i];
	return NULL;
}

/* Splits LINE at its commas in place. Returns the number of fields. */
static unsigned split(char *line, char *field[MAX_FIELDS])
{
	unsigned count = 0;

	line[strcspn(line, "\r\n")] = '\0';
	while (line && count < MAX_FIELDS) {
		field[count++] = line;
		line = strchr(line, ',');
		if (line)
			*line++ = '\0';
	}
	return count;
}

static int parse_space(const char *word, enum pid_space *space)
{
	static const char *const words[] = {
	    [SPACE_GLOBAL] = "global",
	    [SPACE_CALLER_NS] = "caller_ns",
	    [SPACE_CALLER_NS_PARTIAL] = "caller_ns_partial",
	    [SPACE_MIXED] = "mixed",
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(word, words[i])) {
			*space = (enum pid_space)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_semantics(char **field, unsigned count, struct table *table)
{
	struct row row = {0};

	if (count != 7 || sim_version_parse(field[0], &row.version) ||
	    parse_space(field[1], &row.get_pids) || parse_space(field[2], &row.get_pid_info) ||
	    parse_space(field[3], &row.util) || parse_space(field[4], &row.accounting))
		return -EINVAL;
	row.kind = !strcmp(field[5], "tid") ? KIND_TID : KIND_TGID;
	if (row.kind == KIND_TGID && strcmp(field[5], "tgid"))
		return -EINVAL;
	row.util_raw = !strcmp(field[6], "yes");
	if (!row.util_raw && strcmp(field[6], "no"))
		return -EINVAL;
	table->row[table->count++] = row;
	return 0;
}

static int parse_parent(char **field, unsigned count, struct table *table)
{
	struct sim_version version;
	struct row *row;

	if (count != 3 || sim_version_parse(field[0], &version))
		return -EINVAL;
	row = find(table, &version);
	if (!row || (field[1][0] && sim_version_parse(field[1], &row->parent)))
		return -EINVAL;
	return 0;
}

static int read_table(const char *data, const char *name, struct table *table,
		      int (*parse)(char **, unsigned, struct table *), struct mpu_error *error)
{
	char path[PATH_MAX], line[512], *field[MAX_FIELDS];
	cleanup_file FILE *file = NULL;
	unsigned number = 0;

	snprintf(path, sizeof(path), "%s/%s", data, name);
	file = fopen(path, "re");
	if (!file)
		return mpu_fail(error, errno,
				"%s: %s; name the folder that holds it with --data=DIR", path,
				strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (!number++)
			continue;
		if (table->count == MAX_RELEASES || parse(field, split(line, field), table))
			return mpu_fail(error, EINVAL, "%s:%u: not a row of this table", path,
					number);
	}
	return 0;
}

static struct row *nearest_older(struct table *table, const struct sim_version *version)
{
	struct row *same_major = NULL, *any = NULL;

	for (unsigned i = 0; i < table->count; i++) {
		struct row *row = &table->row[i];

		if (sim_version_compare(&row->version, version) > 0)
			continue;
		if (!any || sim_version_compare(&row->version, &any->version) > 0)
			any = row;
		if (row->version.major == version->major &&
		    (!same_major || sim_version_compare(&row->version, &same_major->version) > 0))
			same_major = row;
	}
	return same_major ? same_major : any;
}

/* Where the headers or the source changed: RELEASE and all that descend from it. */
struct change {
	const char *release;
	void (*apply)(struct release *release);
};

static void util_72_samples(struct release *release)
{
	release->util_samples = 72;
}

static void util_six_engines(struct release *release)
{
	release->util_engines = 6;
}

static void util_kernel_pointers(struct release *release)
{
	release->util_os_pid_info = true;
}

static void util_v1_gone(struct release *release)
{
	release->util_v1 = false;
}

static void nvenc_v2_added(struct release *release)
{
	release->nvenc_v2 = true;
}

static void rusd_polling_added(struct release *release)
{
	release->rusd_proc_util = true;
}

static void video_bind_added(struct release *release)
{
	release->video_bind = true;
}

static void size_checked_early(struct release *release)
{
	release->size_checked_first = true;
}

static void ioctls_validated(struct release *release)
{
	release->ioctl_size_first = true;
}

static void flags_and_rusd_added(struct release *release)
{
	release->alloc_flags = true;
	release->rusd_params = 4;
}

static void alloc_size_added(struct release *release)
{
	release->alloc_params_size = true;
}

static void numa_node_and_polling_added(struct release *release)
{
	release->memory_numa_node = true;
	release->fb_info_list = 55;
	release->rusd_params = 8;
}

static void fb_info_57(struct release *release)
{
	release->fb_info_list = 57;
}

static void probed_flags_added(struct release *release)
{
	release->probed_flags = true;
	release->fb_info_list = 128;
}

static const struct change changes[] = {
    {"515.86.01", util_72_samples},
    {"525.53", util_72_samples},
    {"525.53", flags_and_rusd_added},
    {"530.30.02", nvenc_v2_added},
    {"535.43.02", alloc_size_added},
    {"535.161.07", size_checked_early},
    {"545.23.06", numa_node_and_polling_added},
    {"545.29.06", video_bind_added},
    {"550.40.07", util_six_engines},
    {"550.54.14", size_checked_early},
    {"555.42.02", util_v1_gone},
    {"560.28.03", util_v1_gone},
    {"560.28.03", fb_info_57},
    {"570.86.15", util_kernel_pointers},
    {"580.65.06", probed_flags_added},
    {"590.44.01", rusd_polling_added},
    {"595.44.02", ioctls_validated},
    {"595.45.04", ioctls_validated},
    {NULL, NULL},
};

static void apply_changes_at(const struct sim_version *at, struct release *release)
{
	struct sim_version version;

	for (const struct change *change = changes; change->release; change++)
		if (!sim_version_parse(change->release, &version) &&
		    !sim_version_compare(&version, at))
			change->apply(release);
}

/* Applies all changes from the root of the tree to ROW. */
static int walk_tree(struct table *table, const struct row *row, struct release *release)
{
	const struct row *path[MAX_RELEASES];
	unsigned depth = 0;

	for (; row; row = row->parent.parts ? find(table, &row->parent) : NULL) {
		if (depth == MAX_RELEASES)
			return -ELOOP;
		path[depth++] = row;
	}
	while (depth)
		apply_changes_at(&path[--depth]->version, release);
	return 0;
}

int release_load(const char *data, const char *text, struct release *release,
		 struct mpu_error *error)
{
	static const struct sim_version r460 = {.major = 460};
	cleanup_free struct table *table = calloc(1, sizeof(*table));
	const struct row *row;
	int err;

	if (!table)
		return mpu_fail(error, ENOMEM, "no memory for the table of releases");
	*release = (struct release){
	    .util_samples = 100, .util_engines = 4, .util_v1 = true, .fb_info_list = 54};
	if (sim_version_parse(text, &release->version) || strlen(text) >= sizeof(release->text))
		return mpu_fail(
		    error, EINVAL,
		    "--driver-version=%s: not a driver version; write it as NVIDIA does, "
		    "550.100 or 535.104.05",
		    text);
	strcpy(release->text, text);
	err = read_table(data, "pid-semantics.csv", table, parse_semantics, error);
	if (!err)
		err = read_table(data, "driver-tree.csv", table, parse_parent, error);
	if (err)
		return err;
	row = nearest_older(table, &release->version);
	if (!row) { /* closed, R440 to R510: host PIDs everywhere */
		release->util_raw_for_init_ns = true;
		release->pid_info_stride =
		    sim_version_compare(&release->version, &r460) < 0 ? 40 : 48;
		return 0;
	}
	release->pid_info_stride = 72;
	release->semantic = row->version;
	release->get_pids = row->get_pids;
	release->get_pid_info = row->get_pid_info;
	release->util = row->util;
	release->accounting = row->accounting;
	release->kind = row->kind;
	release->util_raw_for_init_ns = row->util_raw;
	err = walk_tree(table, row, release);
	if (err)
		return mpu_fail(error, -err,
				"%s/driver-tree.csv: the releases above %s form a circle", data,
				text);
	return 0;
}
