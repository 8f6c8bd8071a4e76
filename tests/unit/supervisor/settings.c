/* The words of a confinement, and what becomes of two of them. */
#include "supervisor/settings.h"


#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static uint32_t parse(const char *words)
{
	struct mpu_error error = {0};
	uint32_t confine = 0;

	cr_assert_eq(mpu_confine_parse(words, &confine, &error), 0, "%s: %s", words, error.text);
	return confine;
}

static const char *narrowed(const char *most, const char *wish)
{
	static char words[MPU_CONFINE_TEXT];

	return mpu_confine_words(
		mpu_confine_narrow(most[0] ? parse(most) : 0, wish[0] ? parse(wish) : 0), words);
}

Test(settings, words_of_a_confinement_come_in_any_order)
{
	char words[MPU_CONFINE_TEXT];

	cr_assert_eq(parse("compute"), MPU_CONFINE_ON | NVABI_CAP_COMPUTE);
	cr_assert_eq(parse("strict,utility,log,compute"), parse("compute,utility,log,strict"));
	cr_assert_eq(parse("all"), MPU_CONFINE_ON | NVABI_CAPS_ALL);
	cr_assert_eq(parse("compute,all"), parse("all"));
	cr_assert_not(parse("all") &
		      (NVABI_CAP_PROFILING | NVABI_CAP_RDMA | NVABI_CAP_FABRIC_IMEX));
	cr_assert_str_eq(mpu_confine_words(parse("strict,fabric-imex,all,log"), words),
			 "compute,utility,graphics,video,display,ngx,compat32,fabric-imex,log,"
			 "strict");
	cr_assert_eq(parse(words), parse("strict,fabric-imex,all,log"));
	cr_assert_str_eq(mpu_confine_words(0, words), "");
	cr_assert_str_eq(mpu_confine_words(MPU_CONFINE_ON, words), "none");
}

/* Room for every word there is. */
Test(settings, all_words_fit)
{
	char words[MPU_CONFINE_TEXT];
	uint32_t all = MPU_CONFINE_ON | NVABI_CAPS | MPU_CONFINE_LOG | MPU_CONFINE_STRICT;

	cr_assert_lt(strlen(mpu_confine_words(all, words)), MPU_CONFINE_TEXT - 1);
	cr_assert_eq(parse(words), all);
}

Test(settings, bad_words_are_told_and_change_nothing)
{
	static const struct {
		const char *words, *reason;
	} cases[] = {
		{"", "empty word"},
		{",", "empty word"},
		{"compute,", "empty word"},
		{",compute", "empty word"},
		{"compute,,utility", "empty word"},
		{"none", "no word none"},
		{"Compute", "no word Compute"},
		{"compute, utility", "no word  utility"},
		{"compute utility", "no word compute utility"},
		{"computer", "no word computer"},
		{"comput", "no word comput"},
		{"strict", "no capability"},
		{"log,strict", "no capability"},
		{"compute,utility,compute", "compute stands there twice"},
		{"compute,log,log", "log stands there twice"},
		{"all,all", "all stands there twice"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mpu_error error = {0};
		uint32_t confine = 42;

		cr_assert_eq(mpu_confine_parse(cases[i].words, &confine, &error), -EINVAL, "%s",
			     cases[i].words);
		cr_assert_not_null(strstr(error.text, cases[i].reason), "%s: %s", cases[i].words,
				   error.text);
		cr_assert_eq(confine, 42);
	}
}

Test(settings, a_wish_narrows_and_never_widens)
{
	static const struct {
		const char *most, *wish, *left;
	} cases[] = {
		{"", "", ""},
		{"", "compute,log", "compute,log"},
		{"compute,log", "", "compute,log"},
		{"compute,utility", "utility", "utility"},
		{"utility", "compute,utility", "utility"},
		{"compute", "utility", "none"},
		{"compute,strict", "compute", "compute,strict"},
		{"compute", "compute,strict", "compute,strict"},
		/* To learn is to refuse nothing: both must say so. */
		{"compute", "compute,log", "compute"},
		{"compute,log", "compute", "compute"},
		{"compute,log", "compute,log", "compute,log"},
		{"all", "profiling,compute", "compute"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_str_eq(narrowed(cases[i].most, cases[i].wish), cases[i].left,
				 "%s and %s", cases[i].most, cases[i].wish);
}

/* Of every pair of confinements: nothing is allowed that one of them refuses. */
Test(settings, no_pair_allows_what_one_refuses)
{
	enum { BITS = 12 };
	static const uint32_t bit[BITS] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
					   MPU_CONFINE_LOG, MPU_CONFINE_STRICT};

	for (uint32_t a = 0; a < 1 << BITS; a++)
		for (uint32_t b = a % 7; b < 1 << BITS; b += 7) {
			uint32_t most = MPU_CONFINE_ON, wish = MPU_CONFINE_ON, left;

			for (int i = 0; i < BITS; i++) {
				most |= a >> i & 1 ? bit[i] : 0;
				wish |= b >> i & 1 ? bit[i] : 0;
			}
			left = mpu_confine_narrow(most, wish);
			cr_assert(left & MPU_CONFINE_ON);
			cr_assert_eq(left & NVABI_CAPS, most & wish & NVABI_CAPS);
			cr_assert_eq(!!(left & MPU_CONFINE_LOG),
				     (most & MPU_CONFINE_LOG) && (wish & MPU_CONFINE_LOG));
			cr_assert_eq(!!(left & MPU_CONFINE_STRICT),
				     (most & MPU_CONFINE_STRICT) || (wish & MPU_CONFINE_STRICT));
		}
}

Test(settings, a_confined_container_has_all_its_pids_corrected)
{
	struct mpu_settings settings = {.confine = parse("compute")}, off = settings, plain = {0};
	struct mpu_error error = {0};

	off.policy = MPU_POLICY_OFF;
	cr_assert_eq(mpu_settings_complete(&settings, &error), 0);
	cr_assert_eq(settings.policy, MPU_POLICY_ALWAYS);
	cr_assert_eq(mpu_settings_complete(&plain, &error), 0);
	cr_assert_eq(plain.policy, MPU_POLICY_AUTO);
	cr_assert_eq(mpu_settings_complete(&off, &error), -EINVAL);
}

Test(settings, a_filter_must_be_the_one_that_is_needed)
{
	static const struct {
		const char *words;
		enum filter_kind kind;
		const char *reason;
	} cases[] = {
		{"", FILTER_PIDS, NULL},
		{"", FILTER_CONFINE, "nothing says"},
		{"", FILTER_CONFINE_COMPUTE, "nothing says"},
		{"utility", FILTER_PIDS, "does not show"},
		{"utility", FILTER_CONFINE, NULL},
		{"utility", FILTER_CONFINE_COMPUTE, "lets calls of compute through"},
		{"compute", FILTER_PIDS, "does not show"},
		{"compute", FILTER_CONFINE, NULL},
		{"compute", FILTER_CONFINE_COMPUTE, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t confine = cases[i].words[0] ? parse(cases[i].words) : 0;
		struct mpu_error error = {0};
		int result = mpu_confine_check_filter(confine, cases[i].kind, &error);

		cr_assert_eq(result, cases[i].reason ? -EINVAL : 0, "case %zu", i);
		if (cases[i].reason)
			cr_assert_not_null(strstr(error.text, cases[i].reason), "%s", error.text);
	}
}

Test(settings, the_metadata_says_which_filter_it_is)
{
	static const struct {
		const char *metadata;
		int result;
		enum filter_kind kind;
	} cases[] = {
		{NULL, 0, FILTER_PIDS},
		{"", 0, FILTER_PIDS},
		{"mpu.view=host", 0, FILTER_PIDS},
		{"mpu.filter=pids", 0, FILTER_PIDS},
		{"mpu.filter=confine", 0, FILTER_CONFINE},
		{"mpu.view=host mpu.filter=confine-compute mpu.confine=compute", 0,
		 FILTER_CONFINE_COMPUTE},
		{"mpu.filter=", -EINVAL, FILTER_PIDS},
		{"mpu.filter=confine-", -EINVAL, FILTER_PIDS},
		{"mpu.filter=confine mpu.filter=confine", -EINVAL, FILTER_CONFINE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum filter_kind kind;

		cr_assert_eq(mpu_filter_of(cases[i].metadata, &kind), cases[i].result, "%s",
			     cases[i].metadata);
		if (!cases[i].result)
			cr_assert_eq(kind, cases[i].kind, "%s", cases[i].metadata);
	}
}
