#include "supervisor/latency.h"

#include <criterion/criterion.h>

Test(latency, each_time_lies_below_its_ranges_limit_and_not_below_the_one_before)
{
	for (uint64_t ns = 0; ns < UINT64_C(900000000); ns += 1 + ns / 97) {
		unsigned int range = latency_range(ns);

		cr_assert(ns < latency_limit(range), "%llu in %u", (unsigned long long)ns, range);
		cr_assert(range == 0 || ns >= latency_limit(range - 1), "%llu in %u",
			  (unsigned long long)ns, range);
		cr_assert(range == 0 || (double)latency_limit(range) <= (double)ns * 1.26);
	}
	cr_expect(latency_range(UINT64_MAX) == LATENCY_RANGES - 1);
}

Test(latency, percentiles_are_those_of_the_calls)
{
	uint32_t count[LATENCY_RANGES] = {0};

	cr_expect(latency_within(count, 500) == 0);
	for (uint64_t us = 1; us <= 1000; us++)
		count[latency_range(us * 1000)]++;
	cr_expect(latency_within(count, 500) >= 500000 && latency_within(count, 500) <= 630000);
	cr_expect(latency_within(count, 990) >= 990000 && latency_within(count, 990) <= 1250000);
	cr_expect(latency_within(count, 1000) >= 1000000);
}
