#include "runtime-hook/rules.h"

#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The kernel's 4096 instructions would not hold more rules on one system call than this. */
enum { SYSCALL_ARGUMENTS = 6, IOCTL_REQUEST = 1, MAX_IOCTL_RULES = 256 };

void ioctl_rules_free(struct ioctl_rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		for (size_t j = 0; j < rules->rule[i].case_count; j++) {
			json_object_put(rules->rule[i].cases[j].others);
			json_object_put(rules->rule[i].cases[j].request);
		}
		free(rules->rule[i].cases);
	}
	free(rules->rule);
	*rules = (struct ioctl_rules){0};
}

static bool has_number(const char *action)
{
	return strcmp(action, "SCMP_ACT_ERRNO") == 0 || strcmp(action, "SCMP_ACT_TRACE") == 0;
}

bool rule_action_equal(const struct rule_action *a, const struct rule_action *b)
{
	return strcmp(a->name, b->name) == 0 && a->number == b->number;
}

bool rule_action_allows(const struct rule_action *action)
{
	return strcmp(action->name, "SCMP_ACT_ALLOW") == 0 ||
	       strcmp(action->name, "SCMP_ACT_LOG") == 0;
}

bool ioctl_rule_is_total(const struct ioctl_rule *rule)
{
	for (size_t i = 0; i < rule->case_count; i++)
		if (!rule->cases[i].request && json_object_array_length(rule->cases[i].others) == 0)
			return true;
	return false;
}

static int read_action(struct json_object *json, const char *name_key, const char *number_key,
		       struct rule_action *action, struct mpu_error *error)
{
	static const char *const known[] = {
	    "SCMP_ACT_ALLOW", "SCMP_ACT_LOG",	       "SCMP_ACT_ERRNO",       "SCMP_ACT_TRACE",
	    "SCMP_ACT_TRAP",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_NOTIFY"};
	const char *name = json_member_string(json, name_key);
	struct json_object *number = json_member(json, number_key, json_type_int);

	if (!name)
		return mpu_fail(error, EINVAL,
				"the seccomp profile has a %s that is no string, or "
				"none",
				name_key);
	if (strcmp(name, "SCMP_ACT_KILL") == 0)
		name = "SCMP_ACT_KILL_THREAD";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i]) == 0) {
			action->name = known[i];
			action->number = 0;
			if (has_number(name))
				action->number = number ? json_object_get_int64(number) : EPERM;
			return 0;
		}
	return mpu_fail(error, EINVAL, "the seccomp profile has an unknown action %.64s", name);
}

/* Whether one of the architectures compares 32 bits only. Profile files with an archMap leave the
 * choice to the engine, which adds the 32-bit companions of the machine's own. */
static bool has_32bit_architecture(struct json_object *profile)
{
	static const char *const wide[] = {
	    "SCMP_ARCH_X86_64",	  "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS64",
	    "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_PPC64",   "SCMP_ARCH_PPC64LE",
	    "SCMP_ARCH_S390X",	  "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64"};
	struct json_object *list = json_member(profile, "architectures", json_type_array);
	size_t count = list ? json_object_array_length(list) : 0;

	if (json_object_object_get_ex(profile, "archMap", NULL))
		return true;
	for (size_t i = 0; i < count; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(list, i));
		bool found = false;

		for (size_t j = 0; name && !found && j < sizeof(wide) / sizeof(wide[0]); j++)
			found = strcmp(name, wide[j]) == 0;
		if (!found)
			return true;
	}
	return false;
}

static int read_argument(struct json_object *json, uint64_t *index, uint64_t *value,
			 uint64_t *value_two, enum oci_operator *op, struct mpu_error *error)
{
	struct json_object *index_json = json_member(json, "index", json_type_int);
	struct json_object *value_json = json_member(json, "value", json_type_int);
	struct json_object *two_json = json_member(json, "valueTwo", json_type_int);
	const char *name = json_member_string(json, "op");

	*index = index_json ? json_object_get_uint64(index_json) : 0;
	*value = value_json ? json_object_get_uint64(value_json) : 0;
	*value_two = two_json ? json_object_get_uint64(two_json) : 0;
	if (*index >= SYSCALL_ARGUMENTS)
		return mpu_fail(error, EINVAL,
				"a seccomp rule compares argument %llu of ioctl: a "
				"system call has arguments 0 to 5",
				(unsigned long long)*index);
	for (int i = 0; name && i <= OCI_CMP_MASKED_EQ; i++)
		if (strcmp(name, oci_operator_names[i]) == 0) {
			*op = (enum oci_operator)i;
			return 0;
		}
	return mpu_fail(error, EINVAL,
			"a seccomp rule compares an argument of ioctl by the "
			"unknown operator %.64s",
			name ? name : "(none)");
}

/* Adds the comparison JSON to WHERE. */
static int add_comparison(struct json_object *json, bool with_32bit, struct rule_case *where,
			  struct mpu_error *error)
{
	uint64_t index, value, value_two;
	enum oci_operator op = OCI_CMP_EQ;
	int result = read_argument(json, &index, &value, &value_two, &op, error);

	if (result)
		return result;
	/* A mask of 0 compares nothing: libseccomp drops it. */
	if (op == OCI_CMP_MASKED_EQ && value == 0)
		return 0;
	if (index != IOCTL_REQUEST)
		return json_object_array_add(where->others, json_object_get(json))
			   ? mpu_fail(error, ENOMEM, "out of memory")
			   : 0;
	where->request = json_object_get(json);
	if (oci_set_compare(op, value, value_two, with_32bit, &where->requests) == -EDOM)
		return mpu_fail(error, ENOTSUP,
				"a seccomp rule compares the request of ioctl with %llu, of more "
				"than 32 bits, for 32-bit architectures too: it means different "
				"things there; write it with SCMP_CMP_MASKED_EQ",
				(unsigned long long)value);
	return 0;
}

static int start_case(struct ioctl_rule *rule, struct mpu_error *error)
{
	struct rule_case *fresh = &rule->cases[rule->case_count];

	fresh->others = json_object_new_array();
	if (!fresh->others)
		return mpu_fail(error, ENOMEM, "out of memory");
	oci_set_all(&fresh->requests);
	rule->case_count++;
	return 0;
}

static bool repeats_argument(struct json_object *args)
{
	unsigned int seen = 0;

	for (size_t i = 0; i < json_object_array_length(args); i++) {
		struct json_object *index =
		    json_member(json_object_array_get_idx(args, i), "index", json_type_int);
		unsigned int bit = 1U << ((index ? json_object_get_uint64(index) : 0) & 31);

		if (seen & bit)
			return true;
		seen |= bit;
	}
	return false;
}

static int read_cases(struct json_object *json, bool with_32bit, struct ioctl_rule *rule,
		      struct mpu_error *error)
{
	struct json_object *args = json_member(json, "args", json_type_array);
	size_t count = args ? json_object_array_length(args) : 0;
	bool alternatives = count && repeats_argument(args);
	int result = 0;

	if (count > SYSCALL_ARGUMENTS)
		return mpu_fail(error, EINVAL,
				"a seccomp rule on ioctl has %zu comparisons: a "
				"rule takes 6",
				count);
	rule->cases = calloc(count ? count : 1, sizeof(*rule->cases));
	if (!rule->cases)
		return mpu_fail(error, ENOMEM, "out of memory");
	if (!alternatives)
		result = start_case(rule, error);
	for (size_t i = 0; !result && i < count; i++) {
		if (alternatives)
			result = start_case(rule, error);
		if (!result)
			result = add_comparison(json_object_array_get_idx(args, i), with_32bit,
						&rule->cases[rule->case_count - 1], error);
	}
	return result;
}

/* Whether RULE names ioctl: in "names", or in the "name" of Docker's older profiles. Returns 1, 0
 * or -errno with ERROR filled. */
static int names_ioctl(struct json_object *rule, struct mpu_error *error)
{
	struct json_object *names = json_member(rule, "names", json_type_array);
	const char *name = json_member_string(rule, "name");

	if (!json_object_is_type(rule, json_type_object) || (!names && !name))
		return mpu_fail(error, EINVAL, "the seccomp profile has a rule without names");
	if (name && strcmp(name, "ioctl") == 0)
		return 1;
	for (size_t i = 0; names && i < json_object_array_length(names); i++) {
		name = json_object_get_string(json_object_array_get_idx(names, i));
		if (name && strcmp(name, "ioctl") == 0)
			return 1;
	}
	return 0;
}

static bool has_members(struct json_object *rule, const char *name)
{
	struct json_object *member = json_member(rule, name, json_type_object);

	return member && json_object_object_length(member) > 0;
}

int ioctl_rules_read(struct json_object *profile, struct ioctl_rules *rules,
		     struct mpu_error *error)
{
	bool with_32bit = has_32bit_architecture(profile);
	struct json_object *list = json_member(profile, "syscalls", json_type_array);
	size_t count = list ? json_object_array_length(list) : 0;
	int result =
	    read_action(profile, "defaultAction", "defaultErrnoRet", &rules->fallback, error);

	if (result)
		return result;
	rules->rule = calloc(MAX_IOCTL_RULES, sizeof(*rules->rule));
	if (!rules->rule)
		return mpu_fail(error, ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		struct json_object *json = json_object_array_get_idx(list, i);
		struct ioctl_rule *rule = &rules->rule[rules->count];
		struct rule_action action;

		result = names_ioctl(json, error);
		if (result < 0)
			return result;
		if (result == 0)
			continue;
		result = read_action(json, "action", "errnoRet", &action, error);
		if (result)
			return result;
		if (rule_action_equal(&action, &rules->fallback))
			continue;
		if (rules->count == MAX_IOCTL_RULES)
			return mpu_fail(error, E2BIG,
					"the seccomp profile has more than %d rules "
					"on ioctl",
					MAX_IOCTL_RULES);
		rule->json = json;
		rule->action = action;
		rule->conditional = has_members(json, "includes") || has_members(json, "excludes");
		rules->count++;
		result = read_cases(json, with_32bit, rule, error);
		if (result)
			return result;
	}
	return 0;
}

size_t ioctl_rule_drop_name(struct json_object *rule)
{
	struct json_object *names = json_member(rule, "names", json_type_array);

	json_object_object_del(rule, "name");
	for (size_t i = names ? json_object_array_length(names) : 0; i-- > 0;) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));

		if (name && strcmp(name, "ioctl") == 0)
			json_object_array_del_idx(names, i, 1);
	}
	return names ? json_object_array_length(names) : 0;
}
