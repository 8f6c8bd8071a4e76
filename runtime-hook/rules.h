/* The rules of a seccomp profile that speak of ioctl, read out of the JSON. */
#ifndef RUNTIME_HOOK_RULES_H
#define RUNTIME_HOOK_RULES_H

#include "base/error.h"
#include "filter/oci.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/* What a rule does: an OCI action and, for ERRNO and TRACE, its number. */
struct rule_action {
	const char *name; /* borrowed from the JSON */
	int64_t number;
};

/* Comparisons of one libseccomp rule: those of other arguments as they stand (an array, borrowed
 * elements), and the requests that remain of argument 1. */
struct rule_case {
	struct json_object *others;  /* owned */
	struct json_object *request; /* the comparison of argument 1, owned, or NULL */
	struct oci_set requests;
};

/* One element of "syscalls" that names ioctl. */
struct ioctl_rule {
	struct json_object *json; /* borrowed */
	struct rule_action action;
	/* Docker's "includes" or "excludes": the engine decides whether the rule is there. */
	bool conditional;
	/* Several comparisons of one argument are alternatives, as runc and crun take them. */
	size_t case_count;
	struct rule_case *cases; /* owned */
};

struct ioctl_rules {
	struct rule_action fallback; /* of the whole profile */
	size_t count;
	struct ioctl_rule *rule; /* owned */
};

void ioctl_rules_free(struct ioctl_rules *rules);
#define cleanup_rules __attribute__((cleanup(ioctl_rules_free)))

bool rule_action_equal(const struct rule_action *a, const struct rule_action *b);

/* Whether a call with this action reaches the kernel: ALLOW or LOG. */
bool rule_action_allows(const struct rule_action *action);

/* Whether RULE takes every ioctl, whatever its arguments. */
bool ioctl_rule_is_total(const struct ioctl_rule *rule);

/* Reads the rules of PROFILE that name ioctl and do something else than the default action (the
 * others are without effect: runtimes skip them). Returns 0, or -errno with ERROR filled. */
int ioctl_rules_read(struct json_object *profile, struct ioctl_rules *rules,
		     struct mpu_error *error);

/* Takes ioctl out of the names of RULE. Returns how many names are left. */
size_t ioctl_rule_drop_name(struct json_object *rule);

#endif
