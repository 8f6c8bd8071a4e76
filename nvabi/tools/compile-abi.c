/* nvabi-compile-abi DATA OUT.c: the whole ABI's text tables into constant C. */
#include "nvabi/tools/load-abi.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Bytes as numbers: compilers read them faster than string escapes, and no limit holds. */
static void write_bytes(FILE *out, const char *name, const uint8_t *bytes, uint32_t count)
{
	fprintf(out, "static const uint8_t %s[] = {", name);
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, "%s%u,", i % 32 ? "" : "\n", bytes[i]);
	fprintf(out, "0};\n\n");
}

static void write_changes(FILE *out, const struct nvabi_abi_tables *tables)
{
	fprintf(out, "static const nvabi_item items[] = {");
	for (uint32_t i = 0; i < tables->item_count; i++)
		fprintf(out, "%s0x%" PRIx32 ",", i % 12 ? "" : "\n", tables->item[i]);
	fprintf(out, "0};\n\nstatic const struct nvabi_abi_change changes[] = {\n");
	for (uint32_t i = 0; i < tables->change_count; i++) {
		const struct nvabi_abi_change *at = &tables->change[i];

		fprintf(out, "{%" PRIu32 ",%u,%u,%u,%u},\n", at->value, at->item, at->type,
			at->release, at->flags);
	}
	fprintf(out, "{0}};\n\n");
}

static void write_roles(FILE *out, const struct nvabi_abi_tables *tables)
{
	fprintf(out, "static const struct nvabi_abi_role roles[] = {\n");
	for (uint32_t i = 0; i < tables->role_count; i++)
		fprintf(out, "{%u,%u,%" PRIu32 ",%" PRIu32 "},\n", tables->role[i].record,
			tables->role[i].role, tables->role[i].field, tables->role[i].length);
	fprintf(out, "{0}};\n\nstatic const struct nvabi_installer installers[] = {\n");
	for (uint32_t i = 0; i < tables->installer_count; i++) {
		const struct nvabi_installer *at = &tables->installer[i];

		fprintf(out, "{{%u,%u,%u,%u},\"%s\",\"%s\"},\n", at->version.major,
			at->version.minor, at->version.patch, at->version.parts, at->arch,
			at->sha256);
	}
	fprintf(out, "{{0},0,0}};\n\n");
}

static void write_releases(FILE *out, const struct nvabi_abi_tables *tables)
{
	fprintf(out, "static const struct nvabi_release releases[] = {\n");
	for (uint32_t i = 0; i < tables->release_count; i++) {
		const struct nvabi_release *at = &tables->release[i];

		fprintf(out, "{{%u,%u,%u,%u},%d,%d,%d},\n", at->version.major, at->version.minor,
			at->version.patch, at->version.parts, at->parent, at->side, at->partial);
	}
	fprintf(out, "};\n\n");
}

static void write_tables(FILE *out, const struct loaded_abi *abi,
			 const struct nvabi_abi_tables *tables)
{
	fprintf(out, "/* Made by nvabi-compile-abi from nvabi/data. */\n"
		     "#include \"nvabi/abi-tables.h\"\n\n");
	write_bytes(out, "text", (const uint8_t *)abi->text, abi->text_size);
	write_bytes(out, "body", abi->body, abi->body_size);
	write_releases(out, tables);
	write_changes(out, tables);
	write_roles(out, tables);
	fprintf(out,
		"const struct nvabi_abi_tables nvabi_abi_tables = {\n"
		"\treleases, %" PRIu32 ", (const char *)text, %" PRIu32 ", items, %" PRIu32
		", changes, %" PRIu32 ", body, %" PRIu32 ", roles, %" PRIu32
		", installers, %" PRIu32 ",\n};\n",
		tables->release_count, tables->text_size, tables->item_count, tables->change_count,
		tables->body_size, tables->role_count, tables->installer_count);
}

int main(int argc, char **argv)
{
	struct mpu_error error = {0};
	struct nvabi_abi_tables tables;
	struct loaded_abi abi;
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: nvabi-compile-abi DATA OUT.c\n");
		return 2;
	}
	rc = load_abi(argv[1], &abi, &tables, &error);
	if (!rc) {
		cleanup_file FILE *out = fopen(argv[2], "we");

		if (!out)
			rc = mpu_fail(&error, errno, "%s: %s", argv[2], strerror(errno));
		else
			write_tables(out, &abi, &tables);
		if (out && (fflush(out) || ferror(out)))
			rc = mpu_fail(&error, EIO, "%s: cannot be written", argv[2]);
		unload_abi(&abi);
	}
	if (rc)
		fprintf(stderr, "nvabi-compile-abi: %s\n", error.text);
	return rc ? 1 : 0;
}
