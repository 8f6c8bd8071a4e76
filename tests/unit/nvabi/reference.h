/* The facts that nvabi's tables are held against. They come from the CSV files in tests/data: the
 * tree and the semantics read from the driver's history and source, the layouts printed by programs
 * that a compiler made from each release's headers. */
#ifndef TESTS_NVABI_REFERENCE_H
#define TESTS_NVABI_REFERENCE_H

#include "nvabi/tables.h"

#include <stdbool.h>
#include <stddef.h>

/* Each compares TABLES with the facts. Returns how many differences there are, and writes the first
 * one into WHY. */
unsigned int reference_tree(const struct nvabi_pid_tables *tables, char *why, size_t size);
unsigned int reference_semantics(const struct nvabi_pid_tables *tables, char *why, size_t size);
unsigned int reference_layouts(const struct nvabi_pid_tables *tables, char *why, size_t size);
unsigned int reference_closed(const struct nvabi_pid_tables *tables, char *why, size_t size);
unsigned int reference_raw(const struct nvabi_pid_tables *tables, char *why, size_t size);
unsigned int reference_unlisted(const struct nvabi_pid_tables *tables, char *why, size_t size);

#endif
