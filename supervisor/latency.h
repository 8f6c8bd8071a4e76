/* How long calls took, in few numbers: four ranges for each doubling, from a microsecond on, so
 * that what is read from them is a quarter too much at most. */
#ifndef SUPERVISOR_LATENCY_H
#define SUPERVISOR_LATENCY_H

#include <stdint.h>

enum { LATENCY_RANGES = 80 }; /* the last one begins at 0.9 s */

/* The range of a call that took NANOSECONDS. */
unsigned int latency_range(uint64_t nanoseconds);

/* The time, in nanoseconds, below which all calls of RANGE and of those before it lie. */
uint64_t latency_limit(unsigned int range);

/* The time within which PER_MILLE of the calls that are counted in COUNT were answered: the limit
 * of the range where that call lies. 0 where there are none. */
uint64_t latency_within(const uint32_t count[LATENCY_RANGES], unsigned int per_mille);

#endif
