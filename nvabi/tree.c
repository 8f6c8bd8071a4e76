/* Where a driver stands in the tree of releases, listed or not. */
#include "nvabi/tables.h"

#include <errno.h>

/* A branch beside the main line keeps its minor number (550.40.53 and on, which left at
 * 550.54.14), so only versions of that very minor can belong to it. */
static bool on_same_branch(const struct nvabi_release *release, const struct nvabi_version *version)
{
	return release->version.major == version->major &&
	       (!release->side || release->version.minor == version->minor);
}

static int newest_not_after(const struct nvabi_release *release, uint32_t count,
			    const struct nvabi_version *version)
{
	int best = -1;

	for (uint32_t i = 0; i < count; i++) {
		if (!on_same_branch(&release[i], version) ||
		    nvabi_version_compare(&release[i].version, version) > 0)
			continue;
		if (best < 0 ||
		    nvabi_version_compare(&release[i].version, &release[best].version) > 0)
			best = (int)i;
	}
	return best;
}

/* The first release of the main line that is newer than VERSION, or -1. */
static int oldest_after(const struct nvabi_release *release, uint32_t count,
			const struct nvabi_version *version)
{
	int best = -1;

	for (uint32_t i = 0; i < count; i++) {
		if (release[i].side || nvabi_version_compare(&release[i].version, version) <= 0)
			continue;
		if (best < 0 ||
		    nvabi_version_compare(&release[i].version, &release[best].version) < 0)
			best = (int)i;
	}
	return best;
}

static int newest(const struct nvabi_release *release, uint32_t count)
{
	int best = -1;

	for (uint32_t i = 0; i < count; i++)
		if (!release[i].side &&
		    (best < 0 ||
		     nvabi_version_compare(&release[i].version, &release[best].version) > 0))
			best = (int)i;
	return best;
}

/* A driver of a branch that is not known left the main line before the next known branch did;
 * what the older branch got after that point, it need not have. */
static int older_branch(const struct nvabi_release *release, uint32_t count,
			const struct nvabi_version *version)
{
	int at = oldest_after(release, count, version);

	if (at < 0)
		return newest(release, count);
	while (at >= 0 && nvabi_version_compare(&release[at].version, version) > 0)
		at = release[at].parent;
	return at;
}

int nvabi_tree_find(const struct nvabi_release *release, uint32_t count,
		    const struct nvabi_version *version, enum nvabi_match *match)
{
	int found = newest_not_after(release, count, version);

	if (found >= 0) {
		bool exact = nvabi_version_compare(&release[found].version, version) == 0;

		*match = exact ? NVABI_MATCH_EXACT : NVABI_MATCH_NEIGHBOUR;
		return found;
	}
	found = older_branch(release, count, version);
	*match = NVABI_MATCH_BRANCH;
	return found >= 0 ? found : -ENOENT;
}
