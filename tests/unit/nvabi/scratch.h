/* A folder that is removed, with all in it, at the end of its scope. */
#ifndef TESTS_NVABI_SCRATCH_H
#define TESTS_NVABI_SCRATCH_H

#include <stddef.h>

struct scratch {
	char path[64];
};

struct scratch scratch_make(void);
void scratch_remove(const struct scratch *scratch);
#define cleanup_scratch __attribute__((cleanup(scratch_remove)))

/* Writes TEXT into the file NAME of the folder, making folders in NAME. */
void scratch_write(const struct scratch *scratch, const char *name, const char *text);

/* The path of NAME in the folder, in one of a few static buffers. */
const char *scratch_path(const struct scratch *scratch, const char *name);

/* What the file at PATH holds, from malloc(). */
char *slurp(const char *path);

#endif
