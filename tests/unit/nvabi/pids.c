#include "nvabi/pids.h"
#include "nvabi/rm.h"
#include "reference.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <time.h>

static void expect_none(unsigned int (*check)(const struct nvabi_pid_tables *, char *, size_t))
{
	char why[256] = "";
	unsigned int count = check(&nvabi_pid_tables, why, sizeof(why));

	cr_assert_eq(count, 0, "%u differences, the first: %s", count, why);
}

static struct nvabi_pids composed(const char *version)
{
	struct nvabi_version parsed;
	struct nvabi_pids pids;

	cr_assert_eq(nvabi_version_parse(version, &parsed), 0);
	cr_assert_eq(nvabi_pids_compose(&parsed, &pids), 0);
	return pids;
}

Test(pids, tree_is_that_of_the_public_history)
{
	expect_none(reference_tree);
}

Test(pids, semantics_of_every_release)
{
	expect_none(reference_semantics);
}

Test(pids, layouts_of_every_release_as_the_compiler_sees_the_headers)
{
	expect_none(reference_layouts);
}

Test(pids, closed_majors_are_global_and_their_sizes_unknown_unless_recorded)
{
	expect_none(reference_closed);
}

Test(pids, samples_behind_a_pointer_go_raw_to_firmware_from_555_on)
{
	expect_none(reference_raw);
}

Test(pids, unlisted_releases_get_the_nearest_older_one_of_their_branch)
{
	expect_none(reference_unlisted);
}

Test(pids, running_version_is_kept_beside_its_stand_in)
{
	struct nvabi_pids pids = composed("580.159.04");
	char text[NVABI_VERSION_TEXT];

	cr_assert_str_eq(nvabi_version_format(&pids.running, text), "580.159.04");
	cr_assert_str_eq(nvabi_version_format(&pids.release, text), "580.142");
}

Test(pids, find_knows_the_listed_controls_and_no_other)
{
	struct nvabi_pids pids = composed("580.142");

	for (uint32_t i = 0; i < pids.control_count; i++)
		cr_assert_eq(nvabi_pids_find(&pids, pids.control[i].cmd), &pids.control[i]);
	cr_assert_null(nvabi_pids_find(&pids, 0));
	cr_assert_null(nvabi_pids_find(&pids, 0x2080018c));
	cr_assert_null(nvabi_pids_find(&pids, UINT32_MAX));
}

Test(pids, find_in_an_empty_table_finds_nothing)
{
	const struct nvabi_pids pids = {0};

	cr_assert_null(nvabi_pids_find(&pids, 0x2080018d));
}

/* From 530 on that number is NV2080_CTRL_CMD_GPU_MARK_DEVICE_FOR_RESET. */
Test(pids, encoder_sessions_moved_their_number_after_525)
{
	struct nvabi_pids old = composed("525.147.05"), new = composed("530.30.02");

	cr_assert_not_null(nvabi_pids_find(&old, 0x208001a9));
	cr_assert_null(nvabi_pids_find(&old, 0x208001af));
	cr_assert_null(nvabi_pids_find(&new, 0x208001a9));
	cr_assert_not_null(nvabi_pids_find(&new, 0x208001af));
}

Test(pids, pid_info_stride_follows_from_the_size)
{
	cr_assert_eq(nvabi_pid_info_stride(8008), 40);
	cr_assert_eq(nvabi_pid_info_stride(9608), 48);
	cr_assert_eq(nvabi_pid_info_stride(14408), 72);
	cr_assert_eq(nvabi_pid_info_stride(0), 0);
	cr_assert_eq(nvabi_pid_info_stride(14400), 0);
	cr_assert_eq(nvabi_pid_info_stride(UINT32_MAX), 0);
}

Test(pids, every_offset_lies_within_its_parameters)
{
	for (uint32_t r = 0; r < nvabi_release_count(); r++) {
		struct nvabi_pids pids;

		cr_assert_eq(nvabi_pids_compose(nvabi_release_version(r), &pids), 0);
		cr_assert_gt(pids.control_count, 0);
		for (uint32_t i = 0; i < pids.control_count; i++) {
			const struct nvabi_pid_control *at = &pids.control[i];
			uint32_t size = at->size ? at->size : at->assumed_size;
			uint32_t end = at->list_first + at->list_capacity * at->list_stride;

			if (at->pid != NVABI_NONE)
				cr_assert_leq(at->pid + 4U, size);
			if (at->list_pointer != NVABI_NONE)
				cr_assert_leq(at->list_pointer + 8U, size);
			else if (at->list_first != NVABI_NONE)
				cr_assert_leq(end, size, "0x%x", at->cmd);
			for (uint32_t e = 0; e < at->engine_count; e++)
				cr_assert_leq(at->engine[e].proc_id + 4U, at->list_stride);
		}
	}
}

static bool watched(unsigned long request)
{
	uint32_t count;
	const struct nvabi_ioctl *ioctls = nvabi_watched_ioctls(&count);

	for (uint32_t i = 0; i < count; i++)
		if (((uint32_t)request & ioctls[i].mask) == ioctls[i].value)
			return true;
	return false;
}

Test(pids, watched_ioctls_do_not_depend_on_magic_direction_or_high_bits)
{
	cr_assert(watched(NVABI_RM_CONTROL_REQUEST));
	cr_assert(watched(NVABI_XFER_REQUEST));
	cr_assert(watched((unsigned long)(long)(int)NVABI_RM_CONTROL_REQUEST));
	cr_assert(watched(0x0020002a));
	cr_assert(watched(0x0010ffd3));
	cr_assert_not(watched(0xc020462b));
	cr_assert_not(watched(0xc030462a));
	cr_assert_not(watched(0xc02046d3));
	cr_assert_not(watched(0));
}

Test(pids, releases_are_numbered_with_parents)
{
	uint32_t roots = 0;

	for (uint32_t i = 0; i < nvabi_release_count(); i++)
		roots += nvabi_release_parent(i) < 0;
	cr_assert_eq(roots, 1);
	cr_assert_eq(nvabi_release_version(0)->major, 418);
	cr_assert_null(nvabi_release_version(nvabi_release_count()));
	cr_assert_eq(nvabi_release_parent(nvabi_release_count()), -1);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Measured over all releases, so that one slow moment of the machine does not count. */
Test(pids, composing_takes_less_than_a_millisecond)
{
	double start = seconds(), each;
	struct nvabi_pids pids;

	for (uint32_t i = 0; i < nvabi_release_count(); i++)
		nvabi_pids_compose(nvabi_release_version(i), &pids);
	each = (seconds() - start) / nvabi_release_count();
	cr_assert_lt(each, 1e-3, "%f s", each);
}
