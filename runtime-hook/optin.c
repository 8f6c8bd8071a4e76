#include "runtime-hook/optin.h"

#include "base/json.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The words of an annotation; those of each meaning stand together. */
struct words {
	const char *annotation;
	const char *word[7];
	int positive; /* how many from the start mean yes */
};

static const struct words enable = {"mpu.enable", {"1", "true", "yes", "0", "false", "no"}, 3};
static const struct words on_missing = {"mpu.on-missing", {"ignore", "fail"}, 1};
static const struct words view = {"mpu.view", {"container", "host"}, 0};
static const struct words shared_pids = {"mpu.shared-pids", {"allow", "deny"}, 0};
static const struct words policy = {"mpu.policy", {"auto", "always", "off"}, 0};

/* Sets VALUE to whether the annotation has one of the positive words; leaves it where there is no
 * such annotation. */
static int read_words(struct json_object *annotations, const struct words *words, bool *value,
		      struct mpu_error *error)
{
	char all[64];
	size_t used = 0;
	struct json_object *member;
	const char *text;

	if (!annotations || !json_object_object_get_ex(annotations, words->annotation, &member))
		return 0;
	text = json_object_is_type(member, json_type_string) ? json_object_get_string(member) : "";
	for (int i = 0; words->word[i]; i++)
		if (strcmp(text, words->word[i]) == 0) {
			*value = i < words->positive;
			return 0;
		}
	for (int i = 0; words->word[i]; i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "",
					 words->word[i]);
	return mpu_fail(error, EINVAL, "annotation %s=%.64s: its values are %s", words->annotation,
			text, all);
}

/* Whether the container is in. An administrator's confinement is for all that are in without
 * asking. */
static int read_enable(struct json_object *annotations, struct optin *optin,
		       struct mpu_error *error)
{
	const bool without_asking = optin->enabled;
	bool confined = json_object_object_get_ex(annotations, "mpu.confine", NULL);
	bool said = json_object_object_get_ex(annotations, enable.annotation, NULL);
	int result;

	optin->enabled |= confined;
	result = read_words(annotations, &enable, &optin->enabled, error);
	if (result || optin->enabled || !said)
		return result;
	if (confined)
		return mpu_fail(
		    error, EINVAL,
		    "the annotations mpu.enable and mpu.confine contradict one another: "
		    "without mpu a container cannot be confined");
	if (without_asking && optin->confine)
		return mpu_fail(error, EINVAL,
				"annotation mpu.enable: the administrator has all containers "
				"confined, so none can be left out");
	return 0;
}

static int read_confine(struct json_object *annotations, struct optin *optin,
			struct mpu_error *error)
{
	const char *policy_word = json_member_string(annotations, policy.annotation);
	struct mpu_error cause = {0};
	struct json_object *member;
	uint32_t wish = 0;

	if (json_object_object_get_ex(annotations, "mpu.confine", &member)) {
		const char *words = json_member_string(annotations, "mpu.confine");

		if (mpu_confine_parse(words ? words : "", &wish, &cause))
			return mpu_fail(error, EINVAL, "annotation mpu.confine=%.64s: %s",
					words ? words : json_object_get_string(member), cause.text);
	}
	if (wish && !(mpu_confine_narrow(optin->confine, wish) & NVABI_CAPS))
		return mpu_fail(error, EINVAL,
				"annotation mpu.confine=%.64s: the administrator allows none of it",
				json_member_string(annotations, "mpu.confine"));
	optin->confine = mpu_confine_narrow(optin->confine, wish);
	if (optin->confine && policy_word && strcmp(policy_word, "off") == 0)
		return mpu_fail(
		    error, EINVAL,
		    "annotation mpu.policy=off: the container is confined, and the calls "
		    "of a confined container that carry PIDs are always corrected");
	return 0;
}

int optin_read(struct json_object *annotations, struct optin *optin, struct mpu_error *error)
{
	bool ignored;
	int result = read_enable(annotations, optin, error);

	if (result || !optin->enabled)
		return result;
	result = read_confine(annotations, optin, error);
	if (result)
		return result;
	result = read_words(annotations, &on_missing, &optin->ignore_missing, error);
	if (!result)
		result = read_words(annotations, &view, &ignored, error);
	if (!result)
		result = read_words(annotations, &shared_pids, &ignored, error);
	return result ? result : read_words(annotations, &policy, &ignored, error);
}
