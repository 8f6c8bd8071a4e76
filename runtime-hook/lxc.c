#include "runtime-hook/lxc.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "filter/oci.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* The profile as it is read, and as it is written. */
struct rewrite {
	const char *name; /* in errors */
	FILE *out;
	bool allowlist;
	bool watched; /* rules of ours are in it */
};

static bool word_is(const char *line, const char *word)
{
	size_t length = strlen(word);

	return strncmp(line, word, length) == 0 && (!line[length] || strchr(" \t", line[length]));
}

static void write_cubes(struct rewrite *rewrite, const char *action, const struct oci_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		fprintf(rewrite->out,
			"ioctl %s [1,0x%" PRIx64 ",SCMP_CMP_MASKED_EQ,0x%" PRIx64 "]\n", action,
			set->cube[i].value, set->cube[i].mask);
}

/* LXC compiles by libseccomp, where ALLOW takes a call before NOTIFY does; where calls are allowed
 * by default, the rest needs no rules. */
static int write_rules(struct rewrite *rewrite, struct mpu_error *error)
{
	static struct oci_set set;

	rewrite->watched = true;
	oci_watched(FILTER_PIDS, &set);
	write_cubes(rewrite, "notify", &set);
	if (!rewrite->allowlist)
		return 0;
	if (oci_unwatched(FILTER_PIDS, &set))
		return mpu_fail(error, E2BIG, "too many rules");
	write_cubes(rewrite, "allow", &set);
	return 0;
}

/* "allowlist" or "denylist", and what becomes of a call without a rule. */
static int read_style(struct rewrite *rewrite, const char *line, struct mpu_error *error)
{
	const char *action = line + strcspn(line, " \t");

	action += strspn(action, " \t");
	rewrite->allowlist = word_is(line, "allowlist") || word_is(line, "whitelist");
	if (!rewrite->allowlist && !word_is(line, "denylist") && !word_is(line, "blacklist"))
		return mpu_fail(error, EINVAL, "%s: neither a denylist nor an allowlist: %.64s",
				rewrite->name, line);
	if ((action[0] && word_is(action, "allow") == rewrite->allowlist))
		return mpu_fail(error, ENOTSUP, "%s: calls without a rule get %.32s", rewrite->name,
				action);
	return 0;
}

static int read_rule(struct rewrite *rewrite, const char *line, struct mpu_error *error)
{
	const char *action = line + strcspn(line, " \t");

	action += strspn(action, " \t");
	if (word_is(action, "notify"))
		return mpu_fail(
		    error, EBUSY,
		    "%s has notifications already, and a container has one proxy: %.64s",
		    rewrite->name, line);
	if (!word_is(line, "ioctl"))
		return fprintf(rewrite->out, "%s\n", line) < 0 ? -ENOMEM : 0;
	if (!rewrite->allowlist || (action[0] && strcmp(action, "allow") != 0))
		return mpu_fail(error, ENOTSUP,
				"%s: only a rule that allows every ioctl can be changed: %.64s",
				rewrite->name, line);
	return write_rules(rewrite, error);
}

static int read_line(struct rewrite *rewrite, const char *line, unsigned int number,
		     struct mpu_error *error)
{
	if (number == 0 && strcmp(line, "2") != 0)
		return mpu_fail(error, EINVAL, "%s: not a profile of version 2, but %.32s",
				rewrite->name, line);
	if (number == 1 && read_style(rewrite, line, error))
		return -error->code;
	if (number < 2 || !line[0] || line[0] == '#' || line[0] == '[')
		return fprintf(rewrite->out, "%s\n", line) < 0 ? -ENOMEM : 0;
	return read_rule(rewrite, line, error);
}

static int read_lines(struct rewrite *rewrite, char *text, struct mpu_error *error)
{
	unsigned int number = 0;
	int result = 0;

	for (char *rest = text, *line; !result && (line = strsep(&rest, "\n")); number++)
		if (rest || line[0])
			result = read_line(rewrite, line, number, error);
	if (!result && number < 3)
		return mpu_fail(error, EINVAL, "%s: no profile of LXC's", rewrite->name);
	if (!result && !rewrite->watched && rewrite->allowlist)
		return mpu_fail(error, ENOTSUP, "%s lets no ioctl through", rewrite->name);
	if (result || rewrite->watched)
		return result;
	fputs("[all]\n", rewrite->out);
	return write_rules(rewrite, error);
}

char *lxc_profile_watch(const char *text, const char *name, struct mpu_error *error)
{
	cleanup_free char *copy = strdup(text);
	char *out = NULL;
	size_t size;
	struct rewrite rewrite = {.name = name, .out = open_memstream(&out, &size)};
	int result;

	if (!copy || !rewrite.out) {
		mpu_fail(error, ENOMEM, "out of memory");
		return NULL;
	}
	result = read_lines(&rewrite, copy, error);
	if (fclose(rewrite.out) || result) {
		mpu_fail(error, ENOMEM, "out of memory");
		free(steal_ptr(out));
	}
	return out;
}

char *lxc_profile(const char *path, struct mpu_error *error)
{
	struct mpu_error failure = {0};
	struct json_text text = {0};
	cleanup_free char *bytes = NULL;
	int result = 0;

	if (path && strcmp(path, "none") == 0)
		return lxc_profile_watch("2\ndenylist\n", path, error);
	result = json_read_file(path ? path : LXC_COMMON_PROFILE, &text, &failure);
	bytes = text.bytes;
	if (result == -ENOENT && !path) {
		log_info("LXC's own profile is not there: ours denies nothing",
			 "file=" LXC_COMMON_PROFILE);
		return lxc_profile("none", error);
	}
	if (result) {
		mpu_fail(error, failure.code, "%s", failure.text);
		return NULL;
	}
	return lxc_profile_watch(bytes, path ? path : LXC_COMMON_PROFILE, error);
}
