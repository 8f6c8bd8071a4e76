#include "reference.h"

#include "csv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct differences {
	unsigned int count;
	char *why;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static void differ(struct differences *found,
							 const char *format, ...)
{
	va_list args;

	if (found->count++)
		return;
	va_start(args, format);
	vsnprintf(found->why, found->size, format, args);
	va_end(args);
}

static int compose(const struct nvabi_pid_tables *tables, const char *version,
		   struct nvabi_pids *pids)
{
	struct nvabi_version parsed;

	if (nvabi_version_parse(version, &parsed))
		abort();
	return nvabi_pids_compose_from(tables, &parsed, pids);
}

static int find(const struct nvabi_pid_tables *tables, const char *version)
{
	struct nvabi_version parsed;

	if (nvabi_version_parse(version, &parsed))
		return -1;
	for (uint32_t i = 0; i < tables->release_count; i++)
		if (!nvabi_version_compare(&tables->release[i].version, &parsed))
			return (int)i;
	return -1;
}

static const char *const closed_majors[] = {"418", "430", "435", "440", "450", "455",
					    "460", "465", "470", "495", "510"};
enum { CLOSED = sizeof(closed_majors) / sizeof(*closed_majors) };

unsigned int reference_tree(const struct nvabi_pid_tables *tables, char *why, size_t size)
{
	struct differences found = {.why = why, .size = size};
	struct csv csv = read_csv("driver-tree.csv");
	cleanup_free void *owned = csv.cell;

	if (tables->release_count != csv.rows + CLOSED)
		differ(&found, "%u releases instead of %u", tables->release_count,
		       csv.rows + CLOSED);
	for (unsigned int i = 0; i < csv.rows; i++) {
		const char *parent = *csv.cell[i][1] ? csv.cell[i][1] : "510";
		int at = find(tables, csv.cell[i][0]);

		if (at < 0)
			differ(&found, "%s is not listed", csv.cell[i][0]);
		else if (tables->release[at].parent < 0 ||
			 tables->release[at].parent != find(tables, parent))
			differ(&found, "the parent of %s is not %s", csv.cell[i][0], parent);
	}
	for (unsigned int i = 0; i < CLOSED; i++) {
		int at = find(tables, closed_majors[i]);
		int parent = i ? find(tables, closed_majors[i - 1]) : -1;

		if (at < 0 || tables->release[at].parent != parent)
			differ(&found, "closed major %s", closed_majors[i]);
	}
	return found.count;
}

static enum nvabi_pid_space space(const char *word)
{
	static const char *const words[] = {"global", "caller_ns", "caller_ns_partial", "mixed"};

	for (unsigned int i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(word, words[i]))
			return (enum nvabi_pid_space)i;
	fprintf(stderr, "pid-semantics.csv: '%s'\n", word);
	abort();
}

unsigned int reference_semantics(const struct nvabi_pid_tables *tables, char *why, size_t size)
{
	struct differences found = {.why = why, .size = size};
	struct csv csv = read_csv("pid-semantics.csv");
	cleanup_free void *owned = csv.cell;

	for (unsigned int i = 0; i < csv.rows; i++) {
		char(*cell)[CSV_TEXT] = csv.cell[i];
		struct nvabi_pids pids;

		if (compose(tables, cell[0], &pids) || pids.match != NVABI_MATCH_EXACT) {
			differ(&found, "%s cannot be composed", cell[0]);
			continue;
		}
		if (pids.semantics.get_pids != space(cell[1]))
			differ(&found, "%s: get_pids", cell[0]);
		if (pids.semantics.get_pid_info != space(cell[2]))
			differ(&found, "%s: get_pid_info", cell[0]);
		if (pids.semantics.util_samples != space(cell[3]))
			differ(&found, "%s: util_samples", cell[0]);
		if (pids.semantics.accounting != space(cell[4]))
			differ(&found, "%s: accounting", cell[0]);
		if (pids.semantics.kind != (strcmp(cell[5], "tid") ? NVABI_TGID : NVABI_TID))
			differ(&found, "%s: kind", cell[0]);
		if (pids.semantics.util_raw_for_init_ns != !strcmp(cell[6], "yes"))
			differ(&found, "%s: util_raw_for_init_ns", cell[0]);
	}
	return found.count;
}

/* The member of CONTROL that the facts call FIELD. */
static int64_t member(const struct nvabi_pid_control *control, const char *field)
{
	static const char *const engines[] = {"fb.", "gr.", "nvenc.", "nvdec.", "nvjpg.", "nvofa."};
#define MEMBER(name)                                                                               \
	if (!strcmp(field, #name))                                                                 \
	return control->name
	MEMBER(size);
	MEMBER(gpu_id);
	MEMBER(pid);
	MEMBER(list_pointer);
	MEMBER(list_count);
	MEMBER(list_first);
	MEMBER(list_stride);
	MEMBER(list_capacity);
	MEMBER(entry_pid);
	MEMBER(entry_sub_pid);
	MEMBER(entry_index);
	MEMBER(entry_result);
	MEMBER(entry_data);
	MEMBER(entry_data_count);
	MEMBER(entry_smc);
	MEMBER(acct_sub_pid);
	MEMBER(acct_gpu_util);
	MEMBER(acct_fb_util);
	MEMBER(acct_max_fb_usage);
	MEMBER(acct_start_time);
	MEMBER(acct_end_time);
	MEMBER(shared_mask);
	MEMBER(shared_width);
	MEMBER(shared_bits);
	MEMBER(all_users);
	MEMBER(sample_timestamp);
	MEMBER(buffer_size);
	MEMBER(sample_count);
	MEMBER(tracker);
#undef MEMBER
	for (unsigned int i = 0; i < control->engine_count; i++) {
		const struct nvabi_engine_layout *engine = &control->engine[i];

		if (strncmp(field, engines[i], strlen(engines[i])))
			continue;
		field += strlen(engines[i]);
		if (!strcmp(field, "util"))
			return engine->util;
		if (!strcmp(field, "proc_id"))
			return engine->proc_id;
		if (!strcmp(field, "sub_process_id"))
			return engine->sub_process_id;
		if (!strcmp(field, "os_pid_info"))
			return engine->os_pid_info;
	}
	return -1;
}

/* NV2080_CTRL_CMD_EVENT_VIDEO_BIND_EVTBUF stands in the headers of every release; the releases
 * before 545.29.06 do not export it. */
static bool exported(const struct nvabi_version *release, uint32_t cmd)
{
	static const struct nvabi_version video_bind = {545, 29, 6, 3};

	return cmd != 0x20800309 || nvabi_version_compare(release, &video_bind) >= 0;
}

static void compare_layout(struct differences *found, const struct csv *layouts, const char *layout,
			   const struct nvabi_pids *pids)
{
	uint32_t expected = 0, previous = 0;

	for (unsigned int i = 0; i < layouts->rows; i++) {
		char(*cell)[CSV_TEXT] = layouts->cell[i];
		uint32_t cmd = (uint32_t)strtoul(cell[1], NULL, 0);
		const struct nvabi_pid_control *control = nvabi_pids_find(pids, cmd);
		int64_t value = strcmp(cell[3], "none") ? strtol(cell[3], NULL, 0) : NVABI_NONE;

		if (strcmp(cell[0], layout) || !exported(&pids->release, cmd))
			continue;
		expected += cmd != previous;
		previous = cmd;
		if (!control || member(control, cell[2]) != value)
			differ(found, "%u.%u.%u: 0x%x %s is not %s", pids->release.major,
			       pids->release.minor, pids->release.patch, cmd, cell[2], cell[3]);
	}
	if (pids->control_count != expected)
		differ(found, "%u.%u.%u: %u controls instead of %u", pids->release.major,
		       pids->release.minor, pids->release.patch, pids->control_count, expected);
	for (uint32_t i = 0; i < pids->control_count; i++)
		if (pids->control[i].assumed_size)
			differ(found, "0x%x: an assumed size in a public release",
			       pids->control[i].cmd);
}

unsigned int reference_layouts(const struct nvabi_pid_tables *tables, char *why, size_t size)
{
	struct differences found = {.why = why, .size = size};
	struct csv layouts = read_csv("pid-layouts.csv");
	struct csv releases = read_csv("pid-layout-releases.csv");
	cleanup_free void *owned = layouts.cell;
	cleanup_free void *also_owned = releases.cell;

	for (unsigned int i = 0; i < releases.rows; i++) {
		struct nvabi_pids pids;

		if (compose(tables, releases.cell[i][0], &pids))
			differ(&found, "%s cannot be composed", releases.cell[i][0]);
		else
			compare_layout(&found, &layouts, releases.cell[i][1], &pids);
	}
	return found.count;
}

/* What is known of GET_PID_INFO in the closed majors: 40 bytes an entry in R440, 48 in R460. */
static const struct {
	const char *major;
	uint32_t size, assumed_size;
	uint16_t stride, smc;
} closed_pid_info[CLOSED] = {
    {"418", 8008, 0, 40, NVABI_NONE}, {"430", 8008, 0, 40, NVABI_NONE},
    {"435", 8008, 0, 40, NVABI_NONE}, {"440", 8008, 0, 40, NVABI_NONE},
    {"450", 9608, 0, 48, 40},	      {"455", 9608, 0, 48, 40},
    {"460", 9608, 0, 48, 40},	      {"465", 9608, 0, 48, 40},
    {"470", 0, 14408, 72, 64},	      {"495", 0, 14408, 72, 64},
    {"510", 0, 14408, 72, 64},
};

unsigned int reference_closed(const struct nvabi_pid_tables *tables, char *why, size_t size)
{
	struct differences found = {.why = why, .size = size};

	for (unsigned int i = 0; i < CLOSED; i++) {
		const char *major = closed_pid_info[i].major;
		const struct nvabi_pid_control *info;
		struct nvabi_pids pids;

		if (compose(tables, major, &pids) || pids.match != NVABI_MATCH_EXACT) {
			differ(&found, "%s cannot be composed", major);
			continue;
		}
		if (pids.semantics.get_pids || pids.semantics.get_pid_info ||
		    pids.semantics.util_samples || pids.semantics.accounting ||
		    pids.semantics.kind != NVABI_TGID || !pids.semantics.util_raw_for_init_ns)
			differ(&found, "%s: not all global", major);
		info = nvabi_pids_find(&pids, 0x2080018e);
		if (!info || info->size != closed_pid_info[i].size ||
		    info->assumed_size != closed_pid_info[i].assumed_size ||
		    info->list_stride != closed_pid_info[i].stride ||
		    info->entry_smc != closed_pid_info[i].smc)
			differ(&found, "%s: GET_PID_INFO", major);
		if (pids.control_count != 14)
			differ(&found, "%s: %u controls", major, pids.control_count);
		for (uint32_t c = 0; c < pids.control_count; c++)
			if (pids.control[c].cmd != 0x2080018e &&
			    (pids.control[c].size || !pids.control[c].assumed_size))
				differ(&found, "%s: 0x%x has a known size", major,
				       pids.control[c].cmd);
	}
	return found.count;
}

/* Read from the exported control tables of the releases: kern_perf_ctrl.c has V1 until 550. */
unsigned int reference_raw(const struct nvabi_pid_tables *tables, char *why, size_t size)
{
	static const struct {
		const char *version;
		bool raw;
	} releases[] = {{"515.43.04", false}, {"550.163.01", false}, {"550.40.85", false},
			{"555.42.02", true},  {"580.142", true},     {"595.45.04", true}};
	struct differences found = {.why = why, .size = size};

	for (size_t i = 0; i < sizeof(releases) / sizeof(*releases); i++) {
		struct nvabi_pids pids;

		if (compose(tables, releases[i].version, &pids)) {
			differ(&found, "%s cannot be composed", releases[i].version);
			continue;
		}
		for (uint32_t c = 0; c < pids.control_count; c++) {
			bool v1 = pids.control[c].cmd == 0x2080a083;

			if (pids.control[c].raw != (v1 && releases[i].raw))
				differ(&found, "%s: 0x%x raw", releases[i].version,
				       pids.control[c].cmd);
		}
	}
	return found.count;
}

static const struct {
	const char *running, *release;
	enum nvabi_match match;
} unlisted[] = {
    /* Newer than the branch's newest release, or between two of them. */
    {"580.159.04", "580.142", NVABI_MATCH_NEIGHBOUR},
    {"535.200.01", "535.183.06", NVABI_MATCH_NEIGHBOUR},
    {"535.309.01", "535.288.01", NVABI_MATCH_NEIGHBOUR},
    {"595.71.05", "595.45.04", NVABI_MATCH_NEIGHBOUR},
    {"570.150", "570.148.08", NVABI_MATCH_NEIGHBOUR},
    /* A side branch's minor number, and numbers beside it. */
    {"515.49.20", "515.49.19", NVABI_MATCH_NEIGHBOUR},
    {"515.50", "515.48.07", NVABI_MATCH_NEIGHBOUR},
    {"525.47.99", "525.47.35", NVABI_MATCH_NEIGHBOUR},
    {"535.43.99", "535.43.28", NVABI_MATCH_NEIGHBOUR},
    {"535.43.05", "535.43.02", NVABI_MATCH_NEIGHBOUR},
    {"535.50", "535.43.02", NVABI_MATCH_NEIGHBOUR},
    {"550.40.60", "550.40.59", NVABI_MATCH_NEIGHBOUR},
    {"550.41", "550.40.07", NVABI_MATCH_NEIGHBOUR},
    {"570.123.99", "570.123.19", NVABI_MATCH_NEIGHBOUR},
    {"570.124.01", "570.86.16", NVABI_MATCH_NEIGHBOUR},
    {"580.94.99", "580.94.18", NVABI_MATCH_NEIGHBOUR},
    {"580.95.01", "580.82.09", NVABI_MATCH_NEIGHBOUR},
    /* Closed majors stand for all their releases. */
    {"470.256.02", "470", NVABI_MATCH_NEIGHBOUR},
    {"418.226.00", "418", NVABI_MATCH_NEIGHBOUR},
    /* Branches of which nothing is known: where the next one grew from. */
    {"425.31", "418", NVABI_MATCH_BRANCH},
    {"515.10", "510", NVABI_MATCH_BRANCH},
    {"525.50", "520.56.06", NVABI_MATCH_BRANCH},
    {"540.10", "535.113.01", NVABI_MATCH_BRANCH},
    {"562.10", "560.35.03", NVABI_MATCH_BRANCH},
    {"600.10", "595.45.04", NVABI_MATCH_BRANCH},
    {"620.06.00", "595.45.04", NVABI_MATCH_BRANCH},
};

unsigned int reference_unlisted(const struct nvabi_pid_tables *tables, char *why, size_t size)
{
	struct differences found = {.why = why, .size = size};
	struct nvabi_pids pids;

	for (unsigned int i = 0; i < sizeof(unlisted) / sizeof(*unlisted); i++) {
		char text[NVABI_VERSION_TEXT];
		int rc = compose(tables, unlisted[i].running, &pids);

		if (rc || pids.match != unlisted[i].match ||
		    strcmp(nvabi_version_format(&pids.release, text), unlisted[i].release))
			differ(&found, "%s is %s instead of %s", unlisted[i].running,
			       rc ? strerror(-rc) : text, unlisted[i].release);
	}
	if (compose(tables, "410.104", &pids) != -ENOENT || compose(tables, "1", &pids) != -ENOENT)
		differ(&found, "a driver older than R418 is found");
	return found.count;
}
