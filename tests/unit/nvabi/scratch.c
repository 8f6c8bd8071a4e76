#include "scratch.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch scratch_make(void)
{
	struct scratch scratch = {"/tmp/nvabi-test-XXXXXX"};

	cr_assert_not_null(mkdtemp(scratch.path));
	return scratch;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status;
	(void)type;
	(void)at;
	return remove(path);
}

void scratch_remove(const struct scratch *scratch)
{
	nftw(scratch->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const struct scratch *scratch, const char *name)
{
	static char path[64][512];
	static unsigned int next;
	char *out = path[next++ % 64];

	snprintf(out, sizeof(*path), "%s/%s", scratch->path, name);
	return out;
}

void scratch_write(const struct scratch *scratch, const char *name, const char *text)
{
	char *path = (char *)(uintptr_t)scratch_path(scratch, name);

	for (char *slash = path + strlen(scratch->path); (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	cleanup_file FILE *file = fopen(path, "we");
	cr_assert_not_null(file, "%s", path);
	cr_assert_geq(fputs(text, file), 0);
}

char *slurp(const char *path)
{
	cleanup_file FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	cr_assert_not_null(file, "%s", path);
	if (getdelim(&text, &room, '\0', file) < 0) { /* an empty file */
		cr_assert_not(ferror(file), "%s", path);
		free(text);
		text = strdup("");
	}
	return text;
}
