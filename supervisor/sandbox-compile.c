/* Writes the filters of all roles, without metrics and with, as C: sandbox-compile FILE */
#include "supervisor/sandbox-rules.h"

#include <stdio.h>
#include <string.h>

static int write_program(FILE *out, unsigned int metrics, unsigned int role)
{
	cleanup_filter struct filter_program program = {0};
	int result = sandbox_make((enum sandbox_role)role, metrics, &program);
	char name[32];

	if (result) {
		fprintf(stderr, "cannot make a sandbox: %s\n", strerror(-result));
		return 1;
	}
	snprintf(name, sizeof(name), "code_%u_%u", metrics, role);
	filter_program_write(&program, name, out);
	return 0;
}

int main(int argc, char **argv)
{
	FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

	if (!out) {
		fprintf(stderr, "usage: sandbox-compile FILE\n");
		return 1;
	}
	fprintf(out, "/* Written by supervisor/sandbox-compile.c. */\n"
		     "#include \"supervisor/sandbox.h\"\n");
	for (unsigned int i = 0; i < 2 * SANDBOX_ROLES; i++)
		if (write_program(out, i / SANDBOX_ROLES, i % SANDBOX_ROLES))
			return 1;
	fprintf(out, "\nconst struct filter_program sandbox_programs[2][SANDBOX_ROLES] = {\n");
	for (unsigned int i = 0; i < 2 * SANDBOX_ROLES; i++)
		fprintf(out, "\t[%u][%u] = {code_%u_%u, sizeof(code_%u_%u) / 8},\n",
			i / SANDBOX_ROLES, i % SANDBOX_ROLES, i / SANDBOX_ROLES,
			i % SANDBOX_ROLES, i / SANDBOX_ROLES, i % SANDBOX_ROLES);
	fprintf(out, "};\n");
	return fclose(out) != 0;
}
