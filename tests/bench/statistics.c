/* Contenders, medians and histograms. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Values below 2^BITS stand for themselves; above, a place is the exponent and the BITS bits behind
 * the highest one. */
static unsigned int place_of(uint64_t value)
{
	unsigned int exponent;

	if (value < 1U << HISTOGRAM_BITS)
		return (unsigned int)value;
	exponent = 63 - (unsigned int)__builtin_clzll(value) - HISTOGRAM_BITS;
	return (exponent << HISTOGRAM_BITS) + (unsigned int)(value >> exponent);
}

static uint64_t value_at(unsigned int place)
{
	unsigned int exponent = place >> HISTOGRAM_BITS;

	if (!exponent)
		return place;
	return (uint64_t)((place & ((1U << HISTOGRAM_BITS) - 1)) + (1U << HISTOGRAM_BITS))
	       << (exponent - 1);
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	histogram->count[place_of(ns)]++;
	histogram->total++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
	uint64_t wanted = (uint64_t)((double)histogram->total * quantile), seen = 0;

	for (unsigned int place = 0; place < HISTOGRAM_SIZE; place++) {
		seen += histogram->count[place];
		if (seen > wanted)
			return value_at(place);
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median_of(const double *values, size_t count)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), by_value);
	return sorted[count / 2];
}

void compete(struct contender *contenders, unsigned int count, unsigned int rounds)
{
	if (bench_options.rounds)
		rounds = bench_options.rounds;
	for (unsigned int round = 0; round < rounds; round++)
		for (unsigned int i = 0; i < count; i++) {
			struct contender *contender = &contenders[(round + i) % count];

			contender->each[contender->rounds++] = contender->round(contender);
		}
}

double contender_median(const struct contender *contender)
{
	return median_of(contender->each, contender->rounds);
}

double contender_ratio(const struct contender *contender, const struct contender *to,
		       const struct contender *plus)
{
	double ratios[ROUNDS_MAX];

	for (unsigned int i = 0; i < contender->rounds; i++)
		ratios[i] = contender->each[i] / (to->each[i] + (plus ? plus->each[i] : 0));
	return median_of(ratios, contender->rounds);
}

double contender_difference(const struct contender *contender, const struct contender *to)
{
	double differences[ROUNDS_MAX];

	for (unsigned int i = 0; i < contender->rounds; i++)
		differences[i] = contender->each[i] - to->each[i];
	return median_of(differences, contender->rounds);
}
