#include "csv.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct csv read_csv(const char *name)
{
	char path[512], line[4096];
	struct csv csv = {0};

	snprintf(path, sizeof(path), "%s/%s", MPU_TEST_DATA, name);
	cleanup_file FILE *file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		abort();
	}
	while (fgets(line, sizeof(line), file)) {
		char *rest = line, *cell;

		csv.cell = realloc(csv.cell, (csv.rows + 1) * sizeof(*csv.cell));
		memset(csv.cell[csv.rows], 0, sizeof(*csv.cell));
		for (unsigned int i = 0; i < CSV_COLUMNS && (cell = strsep(&rest, ",\n")); i++)
			snprintf(csv.cell[csv.rows][i], CSV_TEXT, "%s", cell);
		csv.rows++;
	}
	return csv;
}
