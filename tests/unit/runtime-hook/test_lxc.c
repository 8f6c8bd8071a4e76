/* Seccomp profiles of LXC's: what stays, what is forwarded, what is refused. */
#include "base/cleanup.h"
#include "filter/oci.h"
#include "runtime-hook/lxc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char notify_rules[] = "ioctl notify [1,0x20002a,SCMP_CMP_MASKED_EQ,0x3fff00ff]\n"
				   "ioctl notify [1,0x1000d3,SCMP_CMP_MASKED_EQ,0x3fff00ff]\n";

static char *watch(const char *text)
{
	struct mpu_error error = {0};
	char *made = lxc_profile_watch(text, "theirs", &error);

	cr_assert_not_null(made, "%s", error.text);
	return made;
}

Test(lxc_profile, a_denylist_is_kept_and_gets_two_rules_more)
{
	static const char theirs[] = "2\ndenylist\nreject_force_umount  # comment\n[all]\n"
				     "kexec_load errno 1\n";
	cleanup_free char *made = watch(theirs), *wanted = NULL;

	cr_assert_gt(asprintf(&wanted, "%s[all]\n%s", theirs, notify_rules), 0);
	cr_assert_str_eq(made, wanted);
}

Test(lxc_profile, none_denies_nothing)
{
	struct mpu_error error = {0};
	cleanup_free char *made = lxc_profile("none", &error), *wanted = NULL;

	cr_assert_gt(asprintf(&wanted, "2\ndenylist\n[all]\n%s", notify_rules), 0);
	cr_assert_str_eq(made, wanted);
}

/* LXC reads value and mask as this does. */
static size_t read_cubes(const char *text, const char *action, struct oci_set *set)
{
	cleanup_free char *copy = strdup(text);
	char format[64];

	snprintf(format, sizeof(format), "ioctl %s [1,%%li,SCMP_CMP_MASKED_EQ,%%li]", action);
	set->count = 0;
	for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
		struct oci_cube *cube = &set->cube[set->count];

		if (sscanf(line, format, &cube->value, &cube->mask) == 2)
			set->count++;
	}
	return set->count;
}

Test(lxc_profile, an_allowlist_goes_on_allowing_every_other_request)
{
	cleanup_free char *made =
	    watch("2\nallowlist errno 1\n[all]\nread\nioctl\nwrite\n[x86]\nioctl allow\n");
	static struct oci_set notify, allow, wanted, all;

	cr_assert_eq(read_cubes(made, "notify", &notify), 4); /* in both sections */
	cr_assert_eq(read_cubes(made, "allow", &allow), 56);
	oci_watched(FILTER_PIDS, &wanted);
	cr_assert(oci_set_contains(&notify, &wanted) && oci_set_contains(&wanted, &notify));
	cr_assert_not(oci_set_intersects(&notify, &allow));
	for (size_t i = 0; i < notify.count; i++)
		allow.cube[allow.count++] = notify.cube[i];
	oci_set_all(&all);
	cr_assert(oci_set_contains(&allow, &all));
	cr_assert_not_null(strstr(made, "read\n"));
	cr_assert_not_null(strstr(made, "write\n[x86]\n"));
}

Test(lxc_profile, what_cannot_be_kept_is_refused_with_its_reason)
{
	static const struct {
		const char *text;
		int code;
		const char *reason;
	} cases[] = {
	    {"1\nread\n", EINVAL, "not a profile of version 2, but 1"},
	    {"2\n", EINVAL, "no profile of LXC's"},
	    {"", EINVAL, "no profile of LXC's"},
	    {"2\neverything\n", EINVAL, "neither a denylist nor an allowlist"},
	    {"2\ndenylist errno 1\n", ENOTSUP, "calls without a rule get errno 1"},
	    {"2\nallowlist allow\n", ENOTSUP, "calls without a rule get allow"},
	    {"2\nallowlist\nread\n", ENOTSUP, "lets no ioctl through"},
	    {"2\ndenylist\nioctl errno 1\n", ENOTSUP, "only a rule that allows every ioctl"},
	    {"2\nallowlist\nioctl [1,5,SCMP_CMP_EQ]\n", ENOTSUP,
	     "only a rule that allows every ioctl"},
	    {"2\ndenylist\nmknod notify\n", EBUSY, "has notifications already"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mpu_error error = {0};

		cr_assert_null(lxc_profile_watch(cases[i].text, "theirs", &error));
		cr_assert_eq(error.code, cases[i].code, "%s: %s", cases[i].text, error.text);
		cr_assert_not_null(strstr(error.text, cases[i].reason), "%s", error.text);
		cr_assert_not_null(strstr(error.text, "theirs"), "%s", error.text);
	}
}

Test(lxc_profile, a_file_that_is_not_there_is_an_error_where_it_was_named)
{
	struct mpu_error error = {0};

	cr_assert_null(lxc_profile("/nowhere/profile", &error));
	cr_assert_eq(error.code, ENOENT);
}
