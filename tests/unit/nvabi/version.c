#include "nvabi/version.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static void expect_parsed(const char *text, unsigned int major, unsigned int minor,
			  unsigned int patch, unsigned int parts)
{
	struct nvabi_version version;

	cr_assert_eq(nvabi_version_parse(text, &version), 0, "%s", text);
	cr_assert_eq(version.major, major, "%s", text);
	cr_assert_eq(version.minor, minor, "%s", text);
	cr_assert_eq(version.patch, patch, "%s", text);
	cr_assert_eq(version.parts, parts, "%s", text);
}

Test(version, parses_what_nvidia_writes)
{
	expect_parsed("470", 470, 0, 0, 1);
	expect_parsed("535.98", 535, 98, 0, 2);
	expect_parsed("535.104.05", 535, 104, 5, 3);
	expect_parsed("620.06.00", 620, 6, 0, 3);
	expect_parsed("65535.65535.65535", 65535, 65535, 65535, 3);
}

Test(version, refuses_everything_else)
{
	static const char *const bad[] = {"",
					  ".",
					  "535.",
					  ".98",
					  "535..98",
					  "535.98 ",
					  " 535.98",
					  "+535.98",
					  "535.-1",
					  "535.98.1.2",
					  "535.98.",
					  "65536.1",
					  "535.65536",
					  "v535.98",
					  "535.98a",
					  "535,98",
					  "99999999999999999999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct nvabi_version version = {1, 2, 3, 3};

		cr_assert_eq(nvabi_version_parse(bad[i], &version), -EINVAL, "'%s'", bad[i]);
		cr_assert_eq(version.major, 1, "'%s' changed the result", bad[i]);
	}
}

Test(version, formats_as_it_was_written)
{
	static const char *const good[] = {"470", "535.98", "535.104.05", "550.100", "620.06.00"};
	char text[NVABI_VERSION_TEXT];

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct nvabi_version version;

		cr_assert_eq(nvabi_version_parse(good[i], &version), 0);
		cr_assert_str_eq(nvabi_version_format(&version, text), good[i]);
	}
}

Test(version, longest_version_fits_its_room)
{
	const struct nvabi_version longest = {65535, 65535, 65535, 3};
	char text[NVABI_VERSION_TEXT];

	cr_assert_str_eq(nvabi_version_format(&longest, text), "65535.65535.65535");
}

Test(version, orders_by_number_not_by_text)
{
	static const char *const rising[] = {"470",	   "470.42.01",	 "535.43.02", "535.98",
					     "535.104.05", "535.104.12", "550.40.07", "550.100"};
	struct nvabi_version a, b;

	for (size_t i = 0; i + 1 < sizeof(rising) / sizeof(*rising); i++) {
		nvabi_version_parse(rising[i], &a);
		nvabi_version_parse(rising[i + 1], &b);
		cr_assert_lt(nvabi_version_compare(&a, &b), 0, "%s", rising[i]);
		cr_assert_gt(nvabi_version_compare(&b, &a), 0, "%s", rising[i]);
		cr_assert_eq(nvabi_version_compare(&a, &a), 0, "%s", rising[i]);
	}
}

static void expect_found(const char *text, const char *expected)
{
	char formatted[NVABI_VERSION_TEXT];
	struct nvabi_version version;

	cr_assert_eq(nvabi_version_find(text, strlen(text), &version), 0, "%s", text);
	cr_assert_str_eq(nvabi_version_format(&version, formatted), expected);
}

Test(version, found_in_the_wording_of_both_modules)
{
	expect_found("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  "
		     "Sat Aug 19 01:15:15 UTC 2023\nGCC version:  gcc version 12.3.0\n",
		     "535.104.05");
	expect_found("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  "
		     "Release Build  (builder@host)  Thu Jun 11 10:00:00 UTC 2026\n"
		     "GCC version:  gcc version 13.2.0\n",
		     "580.159.04");
	expect_found("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  550.100  Release\n",
		     "550.100");
	expect_found("GCC version:  gcc version 9.4.0\nNVRM version: NVIDIA UNIX x86_64 Kernel "
		     "Module  470.256.02  Thu May  2 14:37:44 UTC 2024",
		     "470.256.02");
}

Test(version, not_found_where_none_is_named)
{
	static const char *const bad[] = {"",
					  "\n\n",
					  "GCC version:  gcc version 12.3.0\n",
					  "NVRM version:",
					  "NVRM version: NVIDIA UNIX x86_64\n12.3",
					  "xNVRM version: 535.98\n",
					  "NVRM version: 535\n"};
	struct nvabi_version version;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(nvabi_version_find(bad[i], strlen(bad[i]), &version), -EINVAL, "%s",
			     bad[i]);
}

Test(version, find_reads_no_byte_past_the_length)
{
	static const char text[] = "NVRM version: NVIDIA  535.104.05";
	struct nvabi_version version;

	for (size_t length = 0; length < sizeof(text) - 1; length++) {
		char *copy = malloc(length + 1);
		int rc;

		memcpy(copy, text, length);
		rc = nvabi_version_find(copy, length, &version);
		cr_assert(rc == -EINVAL || version.major == 535);
		free(copy);
	}
}
