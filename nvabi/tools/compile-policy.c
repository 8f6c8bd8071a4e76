/* nvabi-compile-policy DATA OUT.c: the policy's text tables into constant C. */
#include "nvabi/load-policy.h"
#include "nvabi/tools/load-abi.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void write_text(FILE *out, const char *text)
{
	if (!text) {
		fprintf(out, "NULL, ");
		return;
	}
	fputc('"', out);
	for (; *text; text++)
		fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	fprintf(out, "\", ");
}

static void write_tables(FILE *out, const struct nvabi_policy_tables *tables)
{
	fprintf(out, "/* Made by nvabi-compile-policy from nvabi/data. */\n"
		     "#include \"nvabi/policy-tables.h\"\n\n"
		     "static const struct nvabi_policy_row rows[] = {\n");
	for (uint32_t i = 0; i < tables->row_count; i++) {
		const struct nvabi_policy_row *row = &tables->row[i];

		fprintf(out, "\t{");
		write_text(out, row->name);
		write_text(out, row->reason);
		fprintf(out,
			"%u, %u, %u, 0x%" PRIx32 ", 0x%" PRIx32 ", 0x%" PRIx32 ", %" PRIu32 "},\n",
			row->kind, row->way, row->flags, row->capabilities, row->number, row->mask,
			row->size);
	}
	fprintf(out, "};\n\nstatic const struct nvabi_policy_param params[] = {\n");
	for (uint32_t i = 0; i < tables->param_count; i++) {
		const struct nvabi_policy_param *param = &tables->param[i];

		fprintf(out, "\t{");
		write_text(out, param->structure);
		write_text(out, param->field);
		write_text(out, param->count);
		fprintf(out, "%u, %u, %d, {%" PRIu32 ", 0, 0, %d, %" PRIu32 ", %" PRIu32 "}},\n",
			param->use, param->directions, param->whole, param->length.constant,
			param->length.square, param->length.scale, param->length.limit);
	}
	fprintf(out, "};\n\nstatic const struct nvabi_unknown_change unknown[] = {\n");
	for (uint32_t i = 0; i < tables->unknown_count; i++) {
		const struct nvabi_unknown_change *row = &tables->unknown[i];

		fprintf(out, "\t{%u, %u, {%d, 0x%" PRIx32 "}},\n", row->release, row->kind,
			row->answer.errnum, row->answer.status);
	}
	fprintf(out,
		"};\n\nconst struct nvabi_policy_tables nvabi_policy_tables = {\n"
		"\trows, %" PRIu32 ", params, %" PRIu32 ", unknown, %" PRIu32 ",\n};\n",
		tables->row_count, tables->param_count, tables->unknown_count);
}

static int write_file(const char *path, const struct nvabi_policy_tables *tables,
		      struct mpu_error *error)
{
	cleanup_file FILE *out = fopen(path, "we");

	if (!out)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	write_tables(out, tables);
	return fflush(out) || ferror(out) ? mpu_fail(error, EIO, "%s: cannot be written", path) : 0;
}

int main(int argc, char **argv)
{
	struct nvabi_policy_tables tables;
	struct nvabi_abi_tables abi_tables;
	struct loaded_policy policy = {0};
	struct mpu_error error = {0};
	struct loaded_abi abi;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: nvabi-compile-policy DATA OUT.c\n");
		return 2;
	}
	rc = load_abi(argv[1], &abi, &abi_tables, &error);
	if (!rc) {
		rc = load_policy(argv[1], &abi_tables, &policy, &tables, &error);
		if (!rc)
			rc = write_file(argv[2], &tables, &error);
		unload_policy(&policy);
		unload_abi(&abi);
	}
	if (rc)
		fprintf(stderr, "nvabi-compile-policy: %s\n", error.text);
	return rc ? 1 : 0;
}
