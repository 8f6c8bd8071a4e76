/* Writes the programs for the architectures of this machine as C, so that who starts often need not
 * make them: compile FILE */
#include "filter/filter.h"

#include <stdio.h>

/* Of KIND, or for a trace where that is FILTER_KINDS. */
static int write_program(FILE *out, unsigned int kind, const char *name)
{
	const uint32_t *native = filter_native_architectures();
	cleanup_filter struct filter_program program = {0};
	struct mpu_error error = {0};

	if (kind == FILTER_KINDS ? filter_build_trace(native, &program, &error)
				 : filter_build_kind(native, kind, &program, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	filter_program_write(&program, name, out);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const names[FILTER_KINDS + 1] = {
		[FILTER_PIDS] = "pids",
		[FILTER_CONFINE] = "confine",
		[FILTER_CONFINE_COMPUTE] = "confine_compute",
		[FILTER_KINDS] = "trace"};
	FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

	if (!out) {
		fprintf(stderr, "usage: compile FILE\n");
		return 1;
	}
	fprintf(out, "/* Written by filter/compile.c. */\n#include \"filter/filter.h\"\n");
	for (unsigned int kind = 0; kind <= FILTER_KINDS; kind++)
		if (write_program(out, kind, names[kind]))
			return 1;
	fprintf(out, "\n#define PROGRAM(code) {code, sizeof(code) / sizeof((code)[0])}\n\n"
		     "const struct filter_program filter_native[FILTER_KINDS] = {\n");
	for (unsigned int kind = 0; kind < FILTER_KINDS; kind++)
		fprintf(out, "\tPROGRAM(%s),\n", names[kind]);
	fprintf(out, "};\n\nconst struct filter_program filter_native_trace = PROGRAM(%s);\n",
		names[FILTER_KINDS]);
	return fclose(out) != 0;
}
