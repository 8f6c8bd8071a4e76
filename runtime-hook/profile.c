#include "runtime-hook/profile.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "filter/filter.h"
#include "runtime-hook/confine.h"
#include "runtime-hook/rules.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

static const char notify[] = "SCMP_ACT_NOTIFY";

/* Rules that compare another argument too: libseccomp takes minutes over a thousand of these. "Not
 * this request" falls into some 90 parts around RM control. */
enum { MAX_PARTS = 128 };

struct json_object *profile_unconfined(void)
{
	static const struct {
		uint32_t token;
		const char *name;
	} names[] = {{SCMP_ARCH_X86_64, "SCMP_ARCH_X86_64"},
		     {SCMP_ARCH_X86, "SCMP_ARCH_X86"},
		     {SCMP_ARCH_X32, "SCMP_ARCH_X32"},
		     {SCMP_ARCH_AARCH64, "SCMP_ARCH_AARCH64"},
		     {SCMP_ARCH_ARM, "SCMP_ARCH_ARM"}};
	struct json_object *profile = json_object_new_object();
	struct json_object *list = json_object_new_array();

	json_object_object_add(profile, "defaultAction", json_object_new_string("SCMP_ACT_ALLOW"));
	for (const uint32_t *native = filter_native_architectures(); *native; native++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (names[i].token == *native)
				json_object_array_add(list, json_object_new_string(names[i].name));
	if (json_object_array_length(list))
		json_object_object_add(profile, "architectures", list);
	else
		json_object_put(list);
	json_object_object_add(profile, "syscalls", json_object_new_array());
	return profile;
}

/* Returns 1 where the listener is ours, 0 where there is none, -EBUSY where it is another's. */
static int find_listener(struct json_object *profile, const char *socket, struct mpu_error *error)
{
	struct json_object *syscalls = json_member(profile, "syscalls", json_type_array);
	const char *path = json_member_string(profile, "listenerPath");
	const char *fallback = json_member_string(profile, "defaultAction");
	bool notifies = fallback && strcmp(fallback, notify) == 0;

	for (size_t i = 0; syscalls && i < json_object_array_length(syscalls); i++) {
		const char *action =
		    json_member_string(json_object_array_get_idx(syscalls, i), "action");

		notifies = notifies || (action && strcmp(action, notify) == 0);
	}
	if (path && path[0] && strcmp(path, socket) != 0)
		return mpu_fail(error, EBUSY,
				"the seccomp profile has a listener already, %s: a "
				"container can have one only, so mpu would push it out",
				path);
	if (notifies && !(path && path[0]))
		return mpu_fail(error, EBUSY,
				"the seccomp profile has SCMP_ACT_NOTIFY rules "
				"already: they are another listener's");
	return notifies;
}

static bool case_needs_split(enum filter_kind kind, const struct rule_case *one)
{
	struct oci_set watched;

	oci_watched(kind, &watched);
	return oci_set_intersects(&one->requests, &watched);
}

static bool rule_needs_split(enum filter_kind kind, const struct ioctl_rule *rule)
{
	for (size_t i = 0; i < rule->case_count; i++)
		if (case_needs_split(kind, &rule->cases[i]))
			return true;
	return false;
}

static bool rules_overlap(const struct ioctl_rule *a, const struct ioctl_rule *b)
{
	for (size_t i = 0; i < a->case_count; i++)
		for (size_t j = 0; j < b->case_count; j++)
			if (oci_set_intersects(&a->cases[i].requests, &b->cases[j].requests))
				return true;
	return false;
}

/* A copy of SOURCE, or a fresh rule where that is NULL, that speaks of ioctl alone and has
 * ACTION, or the source's own action where that is NULL. */
static struct json_object *rule_like(struct json_object *source, const char *action)
{
	struct json_object *rule = NULL, *names = json_object_new_array();

	if (source)
		json_object_deep_copy(source, &rule, NULL);
	else
		rule = json_object_new_object();
	json_object_object_del(rule, "name");
	json_object_object_del(rule, "args");
	json_object_array_add(names, json_object_new_string("ioctl"));
	json_object_object_add(rule, "names", names);
	if (action) {
		json_object_object_del(rule, "errnoRet");
		json_object_object_del(rule, "errno");
		json_object_object_add(rule, "action", json_object_new_string(action));
	}
	return rule;
}

static struct json_object *comparison(struct oci_cube cube)
{
	struct json_object *json = json_object_new_object();
	bool whole = cube.mask == UINT64_MAX;

	json_object_object_add(json, "index", json_object_new_int(1));
	json_object_object_add(json, "value",
			       json_object_new_uint64(whole ? cube.value : cube.mask));
	if (!whole)
		json_object_object_add(json, "valueTwo", json_object_new_uint64(cube.value));
	json_object_object_add(
	    json, "op",
	    json_object_new_string(oci_operator_names[whole ? OCI_CMP_EQ : OCI_CMP_MASKED_EQ]));
	return json;
}

/* The comparisons OTHERS and, unless it is NULL, REQUEST. */
static struct json_object *arguments(struct json_object *others, struct json_object *request)
{
	struct json_object *args = json_object_new_array();

	for (size_t i = 0; others && i < json_object_array_length(others); i++)
		json_object_array_add(args, json_object_get(json_object_array_get_idx(others, i)));
	if (request)
		json_object_array_add(args, request);
	return args;
}

static void add_rules(struct json_object *syscalls, struct json_object *source, const char *action,
		      struct json_object *others, const struct oci_set *requests)
{
	for (size_t i = 0; i < requests->count; i++) {
		struct json_object *rule = rule_like(source, action);
		struct oci_cube cube = requests->cube[i];

		json_object_object_add(rule, "args",
				       arguments(others, cube.mask ? comparison(cube) : NULL));
		json_object_array_add(syscalls, rule);
	}
}

/* The rules that stand for RULE: what it allows and is watched goes to the listener, the rest
 * keeps its action. */
static int add_split(struct json_object *syscalls, enum filter_kind kind,
		     const struct ioctl_rule *rule, struct mpu_error *error)
{
	struct oci_set watched, unwatched;

	for (size_t i = 0; i < rule->case_count; i++) {
		const struct rule_case *one = &rule->cases[i];

		if (!case_needs_split(kind, one)) {
			struct json_object *kept = rule_like(rule->json, NULL);

			json_object_object_add(
			    kept, "args", arguments(one->others, json_object_get(one->request)));
			json_object_array_add(syscalls, kept);
			continue;
		}
		if (oci_split(kind, &one->requests, &watched, &unwatched) < 0 ||
		    (json_object_array_length(one->others) &&
		     watched.count + unwatched.count > MAX_PARTS))
			return mpu_fail(error, E2BIG,
					"a seccomp rule on ioctl falls into too many "
					"parts around the NVIDIA driver's calls");
		add_rules(syscalls, rule->json, notify, one->others, &watched);
		add_rules(syscalls, rule->json, NULL, one->others, &unwatched);
	}
	return 0;
}

/* Drops ioctl from RULE, and RULE itself from SYSCALLS when it has no other name. */
static void drop_rule(struct json_object *syscalls, struct json_object *rule)
{
	if (ioctl_rule_drop_name(rule))
		return;
	for (size_t i = 0; i < json_object_array_length(syscalls); i++)
		if (json_object_array_get_idx(syscalls, i) == rule) {
			json_object_array_del_idx(syscalls, i, 1);
			return;
		}
}

/* The rule before which all others on ioctl are without effect: libseccomp keeps the first that
 * compares nothing, whatever its action. */
static const struct ioctl_rule *find_total(const struct ioctl_rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		if (!rules->rule[i].conditional && ioctl_rule_is_total(&rules->rule[i]))
			return &rules->rule[i];
	return NULL;
}

static int split_total(struct json_object *syscalls, enum filter_kind kind,
		       const struct ioctl_rules *rules, const struct ioctl_rule *total,
		       struct mpu_error *error)
{
	int result;

	if (!rule_action_allows(&total->action))
		return PROFILE_DENIES;
	result = add_split(syscalls, kind, total, error);
	for (size_t i = 0; !result && i < rules->count; i++)
		drop_rule(syscalls, rules->rule[i].json);
	return result ? result : PROFILE_CHANGED;
}

/* libseccomp orders overlapping rules by its own inner measure: which of two actions it takes is
 * for nobody to rely on. */
static int refuse_contradiction(const struct ioctl_rules *rules, const struct ioctl_rule *rule,
				struct mpu_error *error)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct ioctl_rule *other = &rules->rule[i];

		if (!rule_action_equal(&other->action, &rule->action) && rules_overlap(other, rule))
			return mpu_fail(error, ENOTSUP,
					"the seccomp profile has rules on ioctl "
					"that contradict one another, %s and %s: "
					"make them exclude each other",
					rule->action.name, other->action.name);
	}
	return 0;
}

/* The default action denies: each rule that lets RM control through is split. */
static int split_allowing(struct json_object *syscalls, enum filter_kind kind,
			  const struct ioctl_rules *rules, struct mpu_error *error)
{
	int outcome = PROFILE_DENIES;

	for (size_t i = 0; i < rules->count; i++) {
		const struct ioctl_rule *rule = &rules->rule[i];
		int result;

		if (!rule_action_allows(&rule->action) || !rule_needs_split(kind, rule))
			continue;
		result = refuse_contradiction(rules, rule, error);
		if (!result)
			result = add_split(syscalls, kind, rule, error);
		if (result)
			return result;
		drop_rule(syscalls, rule->json);
		outcome = PROFILE_CHANGED;
	}
	return outcome;
}

static bool case_denies_all(enum filter_kind kind, const struct ioctl_rule *rule)
{
	struct oci_set watched;

	oci_watched(kind, &watched);
	for (size_t i = 0; i < rule->case_count; i++)
		if (json_object_array_length(rule->cases[i].others) == 0 &&
		    oci_set_contains(&rule->cases[i].requests, &watched))
			return !rule->conditional && !rule_action_allows(&rule->action);
	return false;
}

/* The default action allows: what the rules leave of RM control goes to the listener. */
static int add_to_allowing(struct json_object *syscalls, enum filter_kind kind,
			   const struct ioctl_rules *rules, struct mpu_error *error)
{
	struct oci_set watched;

	for (size_t i = 0; i < rules->count; i++) {
		const struct ioctl_rule *rule = &rules->rule[i];

		if (!rule_needs_split(kind, rule))
			continue;
		if (case_denies_all(kind, rule))
			return PROFILE_DENIES;
		return mpu_fail(error, ENOTSUP,
				"the seccomp profile has a %s rule on ioctl that "
				"takes a part of the NVIDIA driver's %s: let it take "
				"all of it or nothing",
				rule->action.name, kind == FILTER_PIDS ? "RM control" : "calls");
	}
	oci_watched(kind, &watched);
	add_rules(syscalls, NULL, notify, NULL, &watched);
	return PROFILE_CHANGED;
}

static bool has_string(struct json_object *list, const char *wanted)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *one = json_object_get_string(json_object_array_get_idx(list, i));

		if (one && strcmp(one, wanted) == 0)
			return true;
	}
	return false;
}

/* WAIT_KILLABLE_RECV keeps a signal from restarting a call that mpud has begun. A profile without
 * "flags" means the runtime's default, which is SPEC_ALLOW: said aloud once the list exists. */
static void add_flags(struct json_object *profile, struct json_object *runtime_flags)
{
	static const char killable[] = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
	static const char spec_allow[] = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
	struct json_object *flags = json_member(profile, "flags", json_type_array);

	if (!has_string(runtime_flags, killable) || has_string(flags, killable))
		return;
	if (!flags) {
		flags = json_object_new_array();
		if (has_string(runtime_flags, spec_allow))
			json_object_array_add(flags, json_object_new_string(spec_allow));
		json_object_object_add(profile, "flags", flags);
	}
	json_object_array_add(flags, json_object_new_string(killable));
}

static int change_rules(struct json_object *profile, enum filter_kind kind, struct mpu_error *error)
{
	cleanup_rules struct ioctl_rules rules = {0};
	struct json_object *syscalls = json_member(profile, "syscalls", json_type_array);
	const struct ioctl_rule *total;
	int result = ioctl_rules_read(profile, &rules, error);

	if (result)
		return result;
	if (!syscalls && !rule_action_allows(&rules.fallback))
		return PROFILE_DENIES;
	if (!syscalls) {
		syscalls = json_object_new_array();
		json_object_object_add(profile, "syscalls", syscalls);
	}
	total = find_total(&rules);
	if (total)
		return split_total(syscalls, kind, &rules, total, error);
	if (rule_action_allows(&rules.fallback))
		return add_to_allowing(syscalls, kind, &rules, error);
	return split_allowing(syscalls, kind, &rules, error);
}

int profile_watch(struct json_object *profile, const struct profile_settings *settings,
		  struct mpu_error *error)
{
	cleanup_free char *metadata = confine_metadata(settings->metadata, settings->confine);
	struct json_object *syscalls;
	int outcome;

	if (!metadata && (settings->metadata || settings->confine))
		return mpu_fail(error, ENOMEM, "out of memory");
	if (!json_object_is_type(profile, json_type_object))
		return mpu_fail(error, EINVAL, "the seccomp profile is not a JSON object");
	if (json_object_object_get_ex(profile, "syscalls", &syscalls) && syscalls &&
	    !json_object_is_type(syscalls, json_type_array))
		return mpu_fail(error, EINVAL, "the seccomp profile's syscalls are not a list");
	outcome = find_listener(profile, settings->socket, error);
	if (outcome < 0)
		return outcome;
	if (outcome)
		return confine_check_filter(json_member_string(profile, "listenerMetadata"),
					    settings->confine, error)
			   ? -error->code
			   : PROFILE_ALREADY;
	outcome = change_rules(profile, mpu_confine_filter(settings->confine), error);
	if (outcome != PROFILE_CHANGED)
		return outcome;
	json_object_object_add(profile, "listenerPath", json_object_new_string(settings->socket));
	if (metadata)
		json_object_object_add(profile, "listenerMetadata",
				       json_object_new_string(metadata));
	add_flags(profile, settings->runtime_flags);
	return PROFILE_CHANGED;
}

struct json_object *profile_read(const char *path, struct mpu_error *error)
{
	struct json_text text = {0};
	struct json_object *profile;

	if (!path || strcmp(path, "none") == 0)
		return profile_unconfined();
	if (json_read_file(path, &text, error))
		return NULL;
	profile = json_parse_text(&text, path, error);
	free(text.bytes);
	return profile;
}

int profile_watch_or_fail(struct json_object *profile, const struct profile_settings *settings,
			  struct mpu_error *error)
{
	int outcome = profile_watch(profile, settings, error);

	if (outcome == PROFILE_DENIES)
		return mpu_fail(error, ENOTSUP,
				"this profile denies the NVIDIA driver's RM "
				"control: mpu has nothing to do");
	return outcome < 0 ? outcome : 0;
}
