#include "supervisor/settings.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int find_word(const char *const *words, int count, const char *word)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(words[i], word))
			return i;
	return -1;
}

bool mpu_view_parse(const char *word, enum mpu_view *view)
{
	static const char *const words[] = {
	    [MPU_VIEW_CONTAINER] = "container", [MPU_VIEW_HOST] = "host"};
	int found = find_word(words, 2, word);

	if (found >= 0)
		*view = (enum mpu_view)found;
	return found >= 0;
}

bool mpu_policy_parse(const char *word, enum mpu_policy *policy)
{
	static const char *const words[] = {
	    [MPU_POLICY_AUTO] = "auto", [MPU_POLICY_ALWAYS] = "always", [MPU_POLICY_OFF] = "off"};
	int found = find_word(words, 3, word);

	if (found >= 0)
		*policy = (enum mpu_policy)found;
	return found >= 0;
}

bool mpu_shared_pids_parse(const char *word, bool *deny)
{
	static const char *const words[] = {"allow", "deny"};
	int found = find_word(words, 2, word);

	if (found >= 0)
		*deny = found == 1;
	return found >= 0;
}

/* What one word stands for, or 0. */
static uint32_t confine_bits(const char *word, size_t length)
{
	uint32_t bits = 0;

	if (length == 3 && memcmp(word, "log", 3) == 0)
		return MPU_CONFINE_LOG;
	if (length == 6 && memcmp(word, "strict", 6) == 0)
		return MPU_CONFINE_STRICT;
	return nvabi_capability_parse(word, length, &bits) ? bits : 0;
}

/* Whether one of the words from WORDS up to WORD is the same. */
static bool said_before(const char *words, const char *word, size_t length)
{
	while (words < word) {
		size_t one = strcspn(words, ",");

		if (one == length && memcmp(words, word, length) == 0)
			return true;
		words += one + 1;
	}
	return false;
}

static int confine_word(const char *words, const char *word, size_t length, uint32_t *all,
			struct mpu_error *error)
{
	uint32_t bits = confine_bits(word, length);

	if (!length)
		return mpu_fail(error, EINVAL,
				"there is an empty word: it takes words with commas between, as "
				"compute,utility");
	if (!bits)
		return mpu_fail(error, EINVAL,
				"there is no word %.*s: it takes those of "
				"NVIDIA_DRIVER_CAPABILITIES, profiling, rdma, fabric-imex, log and "
				"strict",
				(int)(length < 32 ? length : 32), word);
	if (said_before(words, word, length))
		return mpu_fail(error, EINVAL, "the word %.*s stands there twice", (int)length,
				word);
	*all |= bits;
	return 0;
}

int mpu_confine_parse(const char *words, uint32_t *confine, struct mpu_error *error)
{
	uint32_t all = MPU_CONFINE_ON;
	const char *word = words;

	for (;; word++) {
		size_t length = strcspn(word, ",");

		if (confine_word(words, word, length, &all, error))
			return -EINVAL;
		word += length;
		if (!*word)
			break;
	}
	if (!(all & NVABI_CAPS))
		return mpu_fail(error, EINVAL,
				"it names no capability, so nothing would be allowed: add one, as "
				"compute,utility");
	*confine = all;
	return 0;
}

static void add_word(char words[MPU_CONFINE_TEXT], const char *word)
{
	size_t used = strlen(words);

	snprintf(words + used, MPU_CONFINE_TEXT - used, "%s%s", used ? "," : "", word);
}

const char *mpu_confine_words(uint32_t confine, char words[MPU_CONFINE_TEXT])
{
	words[0] = '\0';
	if (!confine)
		return words;
	for (uint32_t bit = 1; bit & NVABI_CAPS; bit <<= 1)
		if (confine & bit)
			add_word(words, nvabi_capability_name(bit));
	if (!(confine & NVABI_CAPS))
		add_word(words, "none");
	if (confine & MPU_CONFINE_LOG)
		add_word(words, "log");
	if (confine & MPU_CONFINE_STRICT)
		add_word(words, "strict");
	return words;
}

enum filter_kind mpu_confine_filter(uint32_t confine)
{
	if (!confine)
		return FILTER_PIDS;
	return confine & NVABI_CAP_COMPUTE ? FILTER_CONFINE_COMPUTE : FILTER_CONFINE;
}

int mpu_confine_check_filter(uint32_t confine, enum filter_kind kind, struct mpu_error *error)
{
	char words[MPU_CONFINE_TEXT];

	if (kind == mpu_confine_filter(confine) || (confine && kind == FILTER_CONFINE))
		return 0;
	mpu_confine_words(confine, words);
	if (!confine)
		return mpu_fail(error, EINVAL,
				"its seccomp filter is that of a confined container, but nothing says "
				"what it is confined to (mpu.confine)");
	if (kind == FILTER_PIDS)
		return mpu_fail(error, EINVAL,
				"it is to be confined to %s, but its seccomp filter does not show its "
				"calls: give mpu-hook or mpu-runtime --confine=%s too, or make its "
				"profile by mpu-hook --confine=%s profile",
				words, words, words);
	return mpu_fail(error, EINVAL,
			"it is to be confined to %s, but its seccomp filter lets calls of compute "
			"through: give mpu-hook or mpu-runtime --confine=%s too",
			words, words);
}

int mpu_filter_of(const char *metadata, enum filter_kind *kind)
{
	static const char name[] = MPU_FILTER_WORD "=";
	cleanup_free char *words = metadata ? strdup(metadata) : NULL;
	char *rest = words, *word;
	bool found = false;

	*kind = FILTER_PIDS;
	if (metadata && !words)
		return -ENOMEM;
	while ((word = rest ? strsep(&rest, " ") : NULL)) {
		if (strncmp(word, name, strlen(name)) != 0)
			continue;
		if (found || !filter_kind_parse(word + strlen(name), kind))
			return -EINVAL;
		found = true;
	}
	return 0;
}

uint32_t mpu_confine_narrow(uint32_t most, uint32_t wish)
{
	if (!most || !wish)
		return most | wish;
	return (most & wish) | ((most | wish) & MPU_CONFINE_STRICT);
}

int mpu_settings_complete(struct mpu_settings *settings, struct mpu_error *error)
{
	if (!settings->confine)
		return 0;
	if (settings->policy == MPU_POLICY_OFF)
		return mpu_fail(
		    error, EINVAL,
		    "confine and policy=off contradict one another: the calls of a "
		    "confined container are made in its place, so those that carry PIDs "
		    "are always corrected; leave policy out");
	settings->policy = MPU_POLICY_ALWAYS;
	return 0;
}
