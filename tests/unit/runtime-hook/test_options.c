/* Settings from options and from the administrator's file. */
#include "base/cleanup.h"
#include "runtime-hook/options.h"
#include "supervisor/settings.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static int read_settings(const char *text, struct options *options, struct mpu_error *error)
{
	char path[] = "/tmp/mpu-options-XXXXXX";
	cleanup_close int fd = mkstemp(path);
	int result;

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	result = options_read_file(options, path, error);
	unlink(path);
	return result;
}

Test(options, a_file_says_what_options_say)
{
	struct options options = {0};
	struct mpu_error error = {0};

	cr_assert_eq(read_settings("# all containers\nalways\n\n  runtime = crun # not runc\n"
				   "socket=/run/x.sock\non-missing = ignore\nview = host\r\n"
				   "policy = always",
				   &options, &error),
		     0, "%s", error.text);
	cr_assert(options.settings.defaults.enabled);
	cr_assert(options.settings.defaults.ignore_missing);
	cr_assert_str_eq(options.settings.runtime, "crun");
	cr_assert_str_eq(options.settings.socket, "/run/x.sock");
	cr_assert_str_eq(options.settings.metadata, "mpu.view=host mpu.policy=always");
	free(options.file);
}

Test(options, confine_is_read_and_does_not_go_with_policy_off)
{
	struct options options = {0}, wrong = {0};
	struct mpu_error error = {0};

	cr_assert_eq(read_settings("confine = compute,utility\n", &options, &error), 0, "%s",
		     error.text);
	cr_assert_eq(options.settings.defaults.confine,
		     MPU_CONFINE_ON | NVABI_CAP_COMPUTE | NVABI_CAP_UTILITY);
	cr_assert_eq(options_complete(&options, &error), 0, "%s", error.text);
	free(options.file);
	cr_assert_eq(read_settings("confine = compute\npolicy = off\n", &wrong, &error), 0);
	cr_assert_eq(options_complete(&wrong, &error), -EINVAL);
	cr_assert_not_null(strstr(error.text, "contradict"), "%s", error.text);
	free(wrong.file);
}

Test(options, what_comes_later_stands_above)
{
	struct options options = {0};
	struct mpu_error error = {0};

	cr_assert_eq(read_settings("always\nruntime = crun\n", &options, &error), 0);
	cr_assert_eq(options_set(&options, "always", "no", &error), 0);
	cr_assert_eq(options_set(&options, "runtime", "runc", &error), 0);
	cr_assert_not(options.settings.defaults.enabled);
	cr_assert_str_eq(options.settings.runtime, "runc");
	free(options.file);
}

Test(options, a_file_that_is_not_there_is_none)
{
	struct options options = {0};
	struct mpu_error error = {0};

	cr_assert_eq(options_read_file(&options, "/nowhere/runtime.conf", &error), 0);
	cr_assert_null(options.file);
}

Test(options, bad_lines_are_told)
{
	static const char *const bad[] = {"nonsense = 1", "= x",	   "always = maybe",
					  "view = all",	  "policy = none", "on-missing = panic",
					  "socket =",	  "runtime",
					  "confine",	  "confine = strict"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct options options = {0};
		struct mpu_error error = {0};

		cr_assert_eq(read_settings(bad[i], &options, &error), -EINVAL, "%s", bad[i]);
		cr_assert_neq(error.text[0], '\0', "%s", bad[i]);
		free(options.file);
	}
}

Test(options, the_default_socket_is_mpuds)
{
	struct options options = {0};
	struct mpu_error error = {0};

	cr_assert_eq(options_complete(&options, &error), 0);
	if (geteuid() == 0)
		cr_assert_str_eq(options.settings.socket, "/run/mpu/mpud.sock");
	else
		cr_assert_not_null(strstr(options.settings.socket, "/mpu/mpud.sock"));
}
