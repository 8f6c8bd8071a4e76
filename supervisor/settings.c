#include "supervisor/settings.h"

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
	static const char *const words[] = {[MPU_POLICY_AUTO] = "auto",
					    [MPU_POLICY_ALWAYS] = "always",
					    [MPU_POLICY_OFF] = "off"};
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
