#include "supervisor/policy.h"

#include <criterion/criterion.h>

static struct nvabi_pids compose(const char *version)
{
	struct nvabi_version parsed;
	struct nvabi_pids pids;

	cr_assert_eq(nvabi_version_parse(version, &parsed), 0);
	cr_assert_eq(nvabi_pids_compose(&parsed, &pids), 0);
	return pids;
}

static bool handles(const char *version, struct mpu_settings settings, uint32_t cmd, bool init_ns)
{
	struct nvabi_pids pids = compose(version);
	const struct nvabi_pid_control *control = nvabi_pids_find(&pids, cmd);

	cr_assert_not_null(control);
	return policy_handles(&pids, &settings, control, init_ns);
}

enum {
	PIDS = 0x2080018d,
	PID_INFO = 0x2080018e,
	SAMPLES = 0x20802096,
	ACCT_STATE = 0xb02,
	ACCT_PIDS = 0xb04,
	NVFBC = 0x2080017c,
	RCERR = 0x607,
	FECS = 0x20801231,
};

static const struct mpu_settings automatic = {0};
static const struct mpu_settings always = {.policy = MPU_POLICY_ALWAYS};
static const struct mpu_settings off = {.policy = MPU_POLICY_OFF};
static const struct mpu_settings host = {.view = MPU_VIEW_HOST};
static const struct mpu_settings deny = {.deny_shared_pids = true};

Test(policy, auto_leaves_to_the_driver_only_what_it_gets_right)
{
	/* Namespace's process ids both ways: right. */
	cr_assert_not(handles("580.142", automatic, PID_INFO, false));
	/* Matches thread ids; wants global ids; is all global. */
	cr_assert(handles("570.86.15", automatic, PID_INFO, false));
	cr_assert(handles("550.100", automatic, PID_INFO, false));
	cr_assert(handles("515.65.01", automatic, PID_INFO, false));
	for (const char *const *release =
		     (const char *const[]){"515.65.01", "550.100", "565.77", "580.142", NULL};
	     *release; release++) {
		cr_assert(handles(*release, automatic, PIDS, false));
		cr_assert(handles(*release, automatic, SAMPLES, false));
		cr_assert(handles(*release, automatic, ACCT_PIDS, false));
		cr_assert(handles(*release, automatic, NVFBC, false));
		cr_assert(handles(*release, automatic, RCERR, false));
	}
}

Test(policy, always_handles_what_carries_pids_and_off_nothing)
{
	cr_assert(handles("580.142", always, PID_INFO, false));
	cr_assert(handles("580.142", always, PID_INFO, true));
	cr_assert_not(handles("580.142", always, ACCT_STATE, false));
	cr_assert_not(handles("515.65.01", off, PIDS, false));
	cr_assert_not(handles("580.142", off, SAMPLES, false));
}

Test(policy, in_the_initial_namespace_threads_are_folded_and_kernel_pointers_scrubbed)
{
	cr_assert(handles("580.142", automatic, SAMPLES, true));
	cr_assert_not(handles("580.142", automatic, PIDS, true));
	cr_assert_not(handles("550.100", automatic, SAMPLES, true));
	cr_assert(handles("550.100", automatic, PIDS, true));
	cr_assert_not(handles("515.65.01", automatic, PIDS, true));
}

Test(policy, the_host_s_view_needs_us_where_the_driver_translates)
{
	cr_assert_not(handles("515.65.01", host, PIDS, false));
	cr_assert(handles("580.142", host, PIDS, false));
	cr_assert(handles("580.142", host, SAMPLES, false));
	cr_assert_not(handles("580.142", host, RCERR, false));
}

Test(policy, shared_memory_is_refused_only_where_that_is_asked_for)
{
	cr_assert_not(handles("580.142", automatic, FECS, false));
	cr_assert_not(handles("580.142", always, FECS, false));
	cr_assert(handles("580.142", deny, FECS, false));
}

Test(policy, the_fast_path_watches_exactly_what_may_be_handled)
{
	static const struct mpu_settings *const all[] = {&automatic, &always, &off, &host, &deny};
	static const char *const releases[] = {"440", "515.65.01", "550.100", "575.51.03",
					       "580.142", "595.45.04"};

	for (size_t r = 0; r < sizeof(releases) / sizeof(releases[0]); r++) {
		struct nvabi_pids pids = compose(releases[r]);

		for (size_t s = 0; s < sizeof(all) / sizeof(all[0]); s++) {
			struct watch_table table;

			watch_table_build(&table, &pids, all[s]);
			for (uint32_t i = 0; i < pids.control_count; i++) {
				const struct nvabi_pid_control *control = &pids.control[i];

				cr_assert_eq(watch_table_has(&table, control->cmd),
					     policy_handles(&pids, all[s], control, false) ||
						     policy_handles(&pids, all[s], control, true),
					     "%s: 0x%x", releases[r], control->cmd);
			}
			for (uint32_t cmd = 0x20800100; cmd < 0x20800200; cmd++)
				if (!nvabi_pids_find(&pids, cmd))
					cr_assert_not(watch_table_has(&table, cmd));
			cr_assert_not(watch_table_has(&table, 0));
		}
	}
}
