#include "supervisor/latency.h"

/* A microsecond is 2^10 ns here. */
enum { FIRST_BIT = 10, PARTS = 4 };

unsigned int latency_range(uint64_t nanoseconds)
{
	unsigned int bit, range;

	if (nanoseconds >> FIRST_BIT == 0)
		return 0;
	bit = 63 - (unsigned int)__builtin_clzll(nanoseconds);
	range =
	    (bit - FIRST_BIT) * PARTS + (unsigned int)(nanoseconds >> (bit - 2) & (PARTS - 1)) + 1;
	return range < LATENCY_RANGES ? range : LATENCY_RANGES - 1;
}

uint64_t latency_limit(unsigned int range)
{
	return (uint64_t)(PARTS + range % PARTS) << (range / PARTS + FIRST_BIT - 2);
}

uint64_t latency_within(const uint32_t count[LATENCY_RANGES], unsigned int per_mille)
{
	uint64_t sum = 0, seen = 0;

	for (unsigned int i = 0; i < LATENCY_RANGES; i++)
		sum += count[i];
	for (unsigned int i = 0; sum && i < LATENCY_RANGES; i++) {
		seen += count[i];
		if (seen * 1000 >= sum * per_mille)
			return latency_limit(i);
	}
	return 0;
}
