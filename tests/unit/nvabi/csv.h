/* Small CSV files of tests/data: no quotes, a heading. */
#ifndef TESTS_NVABI_CSV_H
#define TESTS_NVABI_CSV_H

enum { CSV_COLUMNS = 8, CSV_TEXT = 112 };

struct csv {
	unsigned int rows;
	char (*cell)[CSV_COLUMNS][CSV_TEXT]; /* from malloc() */
};

/* Reads a file of tests/data without its heading. A file that cannot be read ends the test. */
struct csv read_csv(const char *name);

#endif
