/* Text tables: lines of words between blanks, `#` begins a comment. */
#ifndef NVABI_LINES_H
#define NVABI_LINES_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { TABLE_WORDS = 4096 };

/* One line of a table that has words. Valid only during the call that gets it. */
struct table_line {
	const char *file;
	unsigned int number; /* from 1 */
	unsigned int count;
	char *word[TABLE_WORDS];
};

/* Called for each line. Returns 0 to go on, or a negative errno, having filled ERROR. */
typedef int table_line_fn(const struct table_line *line, void *context, struct mpu_error *error);

/* Calls FN for each line of the file PATH that has words. Returns 0, what FN returned, or
 * -errno when the file cannot be read; ERROR then names the file. */
int table_read(const char *path, table_line_fn *fn, void *context, struct mpu_error *error);

/* The same of FILE, which is open and stays so, and is called PATH in errors. */
int table_read_from(FILE *file, const char *path, table_line_fn *fn, void *context,
		    struct mpu_error *error);

/* Fills ERROR with "FILE:LINE: " and the text. Returns -EINVAL. */
int table_refuse(const struct table_line *line, struct mpu_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Parses the whole of TEXT as a number (decimal, or hexadecimal with 0x) of at most MAX. Returns 0
 * or -EINVAL. */
int table_number(const char *text, uint64_t max, uint64_t *number);

/* Makes room for one more element of SIZE bytes in the array *ITEMS of *COUNT elements, which grows
 * by doubling. Returns the new element, zeroed and counted, or NULL without memory. */
void *table_append(void *items, uint32_t *count, size_t size);

#endif
