/* Rows of nvabi/data/abi as text, each known by its kind and name. */
#ifndef NVABI_TOOLS_ROWS_H
#define NVABI_TOOLS_ROWS_H

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

struct row {
	char *text; /* the row without its newline */
	char *key;  /* kind and name; struct and union are one kind */
};

/* The rows of one release, sorted by key. Free them with free_rows(). */
struct rows {
	struct row *row;
	uint32_t count;
};

/* Reads the rows of one release, as nvabi-extract writes them, from the file PATH. Refuses a row
 * that stands there twice. */
int read_rows(const char *path, struct rows *rows, struct mpu_error *error);
void free_rows(struct rows *rows);

/* Writes to OUT the rows by which NEXT differs from BASE: those that are new or changed, and
 * "KIND NAME gone" for those that are no longer there. Returns how many. */
uint32_t write_changed_rows(const struct rows *base, const struct rows *next, FILE *out);

#endif
