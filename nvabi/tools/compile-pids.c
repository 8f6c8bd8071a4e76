/* nvabi-compile-pids RELEASES SEMANTICS CONTROLS OUT.c: text tables into constant C. */
#include "nvabi/tools/load.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void write_releases(FILE *out, const struct loaded_tree *tree)
{
	fprintf(out, "static const struct nvabi_release releases[] = {\n");
	for (uint32_t i = 0; i < tree->count; i++) {
		const struct nvabi_release *at = &tree->release[i];

		fprintf(out, "\t{{%u, %u, %u, %u}, %d, %d, 0},\n", at->version.major,
			at->version.minor, at->version.patch, at->version.parts, at->parent,
			at->side);
	}
	fprintf(out, "};\n\n");
}

static void write_semantics(FILE *out, const struct loaded_pids *pids)
{
	fprintf(out, "static const struct nvabi_semantics_change semantics[] = {\n");
	for (uint32_t i = 0; i < pids->semantics_count; i++) {
		const struct nvabi_semantics_change *at = &pids->semantics[i];

		fprintf(out, "\t{%u, 0x%x, {", at->release, at->set);
		for (uint32_t field = 0; field < NVABI_SEMANTICS_FIELDS; field++)
			fprintf(out, "%u, ", at->value[field]);
		fprintf(out, "}},\n");
	}
	fprintf(out, "};\n\n");
}

static void write_engines(FILE *out, const struct nvabi_pid_control *control)
{
	fprintf(out, "\t\t.engine_count = %u, .engine = {", control->engine_count);
	for (uint32_t i = 0; i < NVABI_ENGINES; i++)
		fprintf(out, "{%u, %u, %u, %u}, ", control->engine[i].util,
			control->engine[i].proc_id, control->engine[i].sub_process_id,
			control->engine[i].os_pid_info);
	fprintf(out, "},\n");
}

static void write_control(FILE *out, const struct nvabi_control_change *change)
{
	const struct nvabi_pid_control *at = &change->control;

#define MEMBER(name) fprintf(out, "\t\t." #name " = %u,\n", at->name)
	fprintf(out, "\t{%u, {\n\t\t.cmd = 0x%" PRIx32 ", .name = \"%s\", .call = NVABI_%s,\n",
		change->release, at->cmd, at->name, load_call_name(at->call));
	MEMBER(size);
	MEMBER(assumed_size);
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
	MEMBER(raw);
#undef MEMBER
	write_engines(out, at);
	fprintf(out, "\t}},\n");
}

static void write_tables(FILE *out, const struct loaded_pids *pids)
{
	fprintf(out, "/* Made by nvabi-compile-pids from nvabi/data. */\n"
		     "#include \"nvabi/tables.h\"\n\n");
	write_releases(out, &pids->tree);
	write_semantics(out, pids);
	fprintf(out, "static const struct nvabi_control_change controls[] = {\n");
	for (uint32_t i = 0; i < pids->control_count; i++)
		write_control(out, &pids->control[i]);
	fprintf(out,
		"};\n\nconst struct nvabi_pid_tables nvabi_pid_tables = {\n"
		"\treleases, %" PRIu32 ", semantics, %" PRIu32 ", controls, %" PRIu32 ",\n};\n",
		pids->tree.count, pids->semantics_count, pids->control_count);
}

static int write_file(const char *path, const struct loaded_pids *pids, struct mpu_error *error)
{
	cleanup_file FILE *out = fopen(path, "we");

	if (!out)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	write_tables(out, pids);
	if (fflush(out) || ferror(out))
		return mpu_fail(error, EIO, "%s: cannot be written", path);
	return 0;
}

int main(int argc, char **argv)
{
	struct mpu_error error = {0};
	struct loaded_pids pids;
	int rc;

	if (argc != 5) {
		fprintf(stderr, "usage: nvabi-compile-pids RELEASES SEMANTICS CONTROLS OUT.c\n");
		return 2;
	}
	rc = load_pids(argv[1], argv[2], argv[3], &pids, &error);
	if (!rc) {
		rc = write_file(argv[4], &pids, &error);
		unload_pids(&pids);
	}
	if (rc)
		fprintf(stderr, "nvabi-compile-pids: %s\n", error.text);
	return rc ? 1 : 0;
}
