/* The layout of one release in the words of a compiler: numbers, sizes, offsets, line by line. The
 * same lines come from nvabi's tables and from a program that a C compiler made of the headers. */
#ifndef NVABI_TOOLS_FACTS_H
#define NVABI_TOOLS_FACTS_H

#include "nvabi/abi.h"

#include <stdint.h>
#include <stdio.h>

/* What was written. */
struct fact_counts {
	uint32_t calls, structures, fields;
};

/* Writes the facts as the tables have them:
 *   KIND NAME NUMBER SIZE ALIGN
 *   struct NAME SIZE ALIGN
 *   NAME.FIELD OFFSET SIZE
 * Members without a name are left out, C has no word for them; what is in them is not. */
struct fact_counts write_facts(struct nvabi_abi *abi, FILE *out);

/* Writes a C program that includes HEADERS and prints the same lines from the compiler's numbers.
 */
void write_fact_program(struct nvabi_abi *abi, char *const *headers, uint32_t count, FILE *out);

/* Writes a C file that includes HEADERS and asserts every fact of the tables at compile time. */
struct fact_counts write_assertions(struct nvabi_abi *abi, char *const *headers, uint32_t count,
				    FILE *out);

/* FNV-1a, 64 bits, of what is in FILE from its start. */
uint64_t fact_hash(FILE *file);

#endif
