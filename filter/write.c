#include "filter/filter.h"

void filter_program_write(const struct filter_program *program, const char *name, FILE *out)
{
	fprintf(out, "\nstatic struct sock_filter %s[] = {\n", name);
	for (unsigned short i = 0; i < program->length; i++)
		fprintf(out, "\t{0x%04x, %u, %u, 0x%08x},\n", program->code[i].code,
			program->code[i].jt, program->code[i].jf, program->code[i].k);
	fprintf(out, "};\n");
}
