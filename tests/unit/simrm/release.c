#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/simrm/release.h"

static struct release load(const char *version)
{
	struct mpu_error error = {0};
	struct release release;

	cr_assert_eq(release_load(MPU_TEST_DATA, version, &release, &error), 0, "%s", error.text);
	return release;
}

Test(simrm_release, speaks_the_pids_of_its_family)
{
	struct release release = load("535.104.05");

	cr_assert_eq(release.get_pids, SPACE_GLOBAL);
	release = load("535.183.06");
	cr_assert_eq(release.get_pids, SPACE_CALLER_NS);
	cr_assert_eq(release.get_pid_info, SPACE_GLOBAL);
	cr_assert_eq(release.kind, KIND_TID);
	release = load("565.77");
	cr_assert_eq(release.get_pid_info, SPACE_CALLER_NS);
	cr_assert_eq(release.util, SPACE_GLOBAL);
	release = load("570.86.15");
	cr_assert_eq(release.accounting, SPACE_CALLER_NS);
	cr_assert_not(release.util_raw_for_init_ns);
	release = load("580.142");
	cr_assert_eq(release.accounting, SPACE_MIXED);
	cr_assert_eq(release.util, SPACE_CALLER_NS_PARTIAL);
	cr_assert_eq(release.kind, KIND_TGID);
	cr_assert(release.util_raw_for_init_ns);
}

Test(simrm_release, has_the_layouts_of_its_headers)
{
	cr_assert_eq(load("515.76").util_samples, 100);
	cr_assert_eq(load("515.86.01").util_samples, 72);
	cr_assert_eq(load("520.61.05").util_samples, 100);
	cr_assert_eq(load("525.47.04").util_samples, 72);
	cr_assert_eq(load("545.29.06").util_engines, 4);
	cr_assert_eq(load("550.40.07").util_engines, 6);
	cr_assert_not(load("565.77").util_os_pid_info);
	cr_assert(load("570.86.15").util_os_pid_info);
	cr_assert(load("550.163.01").util_v1);
	cr_assert_not(load("555.42.02").util_v1);
	cr_assert_not(load("560.28.03").util_v1, "its parent is 550.100, not a 555");
	cr_assert_not(load("525.147.05").nvenc_v2);
	cr_assert(load("530.30.02").nvenc_v2);
	cr_assert_not(load("580.142").rusd_proc_util);
	cr_assert(load("590.44.01").rusd_proc_util);
}

Test(simrm_release, checks_sizes_in_the_order_of_its_source)
{
	cr_assert_not(load("535.154.05").size_checked_first);
	cr_assert(load("535.161.07").size_checked_first);
	cr_assert_not(load("545.29.06").size_checked_first);
	cr_assert_not(load("550.40.07").size_checked_first);
	cr_assert(load("550.40.53").size_checked_first);
	cr_assert(load("595.45.04").size_checked_first);
}

Test(simrm_release, unlisted_takes_the_nearest_older_one_of_its_major)
{
	cr_assert_eq(load("535.105").get_pids, SPACE_GLOBAL);
	cr_assert_eq(load("535.114").get_pids, SPACE_CALLER_NS);
	cr_assert_eq(load("600.1").accounting, SPACE_MIXED);
	cr_assert(load("600.1").rusd_proc_util);
}

Test(simrm_release, closed_ones_speak_host_pids_in_smaller_entries)
{
	cr_assert_eq(load("440.100").pid_info_stride, 40);
	cr_assert_eq(load("460.32.03").pid_info_stride, 48);
	cr_assert_eq(load("515.43.04").pid_info_stride, 72);
	cr_assert_eq(load("440.100").get_pids, SPACE_GLOBAL);
}

Test(simrm_release, refuses_what_is_no_version)
{
	static const char *const texts[] = {"",	     "v550", "550.",	".1",	 "550.1.2.3",
					    "550 1", "-1.2", "99999.1", "550..1"};

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct mpu_error error = {0};
		struct release release;

		cr_assert_eq(release_load(MPU_TEST_DATA, texts[i], &release, &error), -EINVAL, "%s",
			     texts[i]);
		cr_assert(strstr(error.text, "--driver-version="), "%s", error.text);
	}
}

Test(simrm_release, refuses_a_table_that_is_none_with_its_line)
{
	char directory[] = "/tmp/simrm-data-XXXXXX", path[128];
	struct mpu_error error = {0};
	struct release release;
	FILE *file;

	cr_assert(mkdtemp(directory));
	cr_assert_eq(release_load(directory, "550.100", &release, &error), -ENOENT);
	cr_assert(strstr(error.text, "--data="), "%s", error.text);
	snprintf(path, sizeof(path), "%s/pid-semantics.csv", directory);
	file = fopen(path, "w");
	fputs("version,...\n550.100,global,global,global,global,tgid,yes\n550.101,global,local\n",
	      file);
	fclose(file);
	error.code = 0;
	cr_assert_eq(release_load(directory, "550.100", &release, &error), -EINVAL);
	cr_assert(strstr(error.text, "pid-semantics.csv:3:"), "%s", error.text);
	unlink(path);
	rmdir(directory);
}
