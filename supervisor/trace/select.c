#include "supervisor/trace/select.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

/* One -e. */
struct selection {
	struct selection *next;
	enum select_key key;
	bool except;	 /* begins with ! */
	char patterns[]; /* each ended by NUL, the last by two */
};

static const char *const keys[SELECT_KEYS] = {[SELECT_ESCAPE] = "escape",
					      [SELECT_UVM] = "uvm",
					      [SELECT_CONTROL] = "control",
					      [SELECT_CLASS] = "class",
					      [SELECT_STATUS] = "status"};

static int find_key(const char *expression, size_t length)
{
	for (int i = 0; i < SELECT_KEYS; i++)
		if (strlen(keys[i]) == length && !strncmp(keys[i], expression, length))
			return i;
	return -1;
}

static bool has_gap(const char *patterns)
{
	return !*patterns || *patterns == ',' || strstr(patterns, ",,") ||
	       patterns[strlen(patterns) - 1] == ',';
}

int selection_add(struct selection **selection, const char *expression, struct mpu_error *error)
{
	const char *patterns = strchr(expression, '=');
	int key = patterns ? find_key(expression, (size_t)(patterns - expression)) : -1;
	struct selection *added, **end = selection;
	size_t length;

	if (key < 0)
		return mpu_fail(
		    error, EINVAL,
		    "-e %s is not understood: it takes escape=, uvm=, control=, class= or "
		    "status= and names or patterns with commas between, such as "
		    "control=NV2080_CTRL_CMD_GPU_*",
		    expression);
	patterns++;
	length = strlen(patterns);
	added = calloc(1, sizeof(*added) + length + 2);
	if (!added)
		return mpu_fail(error, ENOMEM, "-e %s: %s", expression, strerror(ENOMEM));
	added->key = (enum select_key)key;
	added->except = *patterns == '!';
	strcpy(added->patterns, patterns + added->except);
	for (char *at = added->patterns; *at; at++)
		if (*at == ',')
			*at = '\0';
	if (has_gap(patterns + added->except)) {
		free(added);
		return mpu_fail(error, EINVAL,
				"-e %s: a name or a pattern is missing behind = or a comma",
				expression);
	}
	while (*end)
		end = &(*end)->next;
	*end = added;
	return 0;
}

void selection_free(struct selection *selection)
{
	while (selection) {
		struct selection *next = selection->next;

		free(selection);
		selection = next;
	}
}

static bool is_number(const char *pattern, uint32_t number)
{
	char *end;
	unsigned long long value = strtoull(pattern, &end, 0);

	return *pattern >= '0' && *pattern <= '9' && !*end && value == number;
}

static bool matches(const struct selection *selection, const struct select_name *name)
{
	for (const char *at = selection->patterns; *at; at += strlen(at) + 1)
		if ((name->name && !fnmatch(at, name->name, 0)) || is_number(at, name->number))
			return true;
	return false;
}

static bool names_match(const struct selection *selection, const struct select_name *names,
			unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (names[i].key == selection->key && matches(selection, &names[i]))
			return true;
	return false;
}

/* Any that asks for it is enough, where one asks at all; and none may except it. */
bool selection_has_call(const struct selection *selection, const struct select_name *names,
			unsigned int count)
{
	bool asked = false, wanted = false;

	for (const struct selection *at = selection; at; at = at->next) {
		bool match = at->key != SELECT_STATUS && names_match(at, names, count);

		if (match && at->except)
			return false;
		if (at->key == SELECT_STATUS || at->except)
			continue;
		asked = true;
		wanted |= match;
	}
	return wanted || !asked;
}

bool selection_has_status(const struct selection *selection, const struct select_name *status)
{
	static const struct select_name unseen = {SELECT_STATUS, "unseen", UINT32_MAX};
	const struct select_name *seen = status ? status : &unseen;
	const struct select_name failed = {SELECT_STATUS,
					   status && status->number ? "failed" : NULL, UINT32_MAX};
	bool asked = false, wanted = false;

	for (const struct selection *at = selection; at; at = at->next) {
		bool match =
		    at->key == SELECT_STATUS && (matches(at, seen) || matches(at, &failed));

		if (match && at->except)
			return false;
		if (at->key != SELECT_STATUS || at->except)
			continue;
		asked = true;
		wanted |= match;
	}
	return wanted || !asked;
}
