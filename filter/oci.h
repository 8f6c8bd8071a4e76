/* Sets of ioctl requests, and what becomes of a seccomp rule on ioctl when the supervisor has to
 * hear of the watched ones. OCI runtimes compile their rules with libseccomp, where ALLOW takes the
 * call before NOTIFY does: so the rules made here never overlap, and their order does not matter.
 */
#ifndef FILTER_OCI_H
#define FILTER_OCI_H

#include "filter/filter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All requests with (request & mask) == value. A mask of 0 takes every request. */
struct oci_cube {
	uint64_t mask;
	uint64_t value;
};

/* A union of cubes. A set that would need more is refused with -E2BIG. "Not this request" takes 64,
 * and some 1,200 on the way to being cut to what is not watched. */
enum { OCI_MAX_CUBES = 2048 };
struct oci_set {
	size_t count;
	struct oci_cube cube[OCI_MAX_CUBES];
};

/* libseccomp's comparisons, named as the OCI runtime specification names them. */
enum oci_operator {
	OCI_CMP_NE,
	OCI_CMP_LT,
	OCI_CMP_LE,
	OCI_CMP_EQ,
	OCI_CMP_GE,
	OCI_CMP_GT,
	OCI_CMP_MASKED_EQ, /* value is the mask, value_two the wanted bits */
};

/* The OCI names, SCMP_CMP_NE first, in the order of enum oci_operator. */
extern const char *const oci_operator_names[OCI_CMP_MASKED_EQ + 1];

/* Every request. */
void oci_set_all(struct oci_set *set);

/* Stores in SET the requests for which a comparison of argument 1 holds.
 *
 * libseccomp compares 64 bits on 64-bit architectures and the low 32 bits on the others, with the
 * same rules for both. A part of NE, GE or GT that stands above 32 bits would mean "every request"
 * on a 32-bit architecture. Where such ones share the filter (WITH_32BIT), these three therefore
 * compare the low 32 bits, which are all that the kernel's ioctl looks at.
 *
 * Returns 0, or -EDOM when VALUE needs more than 32 bits, WITH_32BIT is set and OP is neither EQ
 * nor MASKED_EQ: the rule then means different things on its architectures. */
int oci_set_compare(enum oci_operator op, uint64_t value, uint64_t value_two, bool with_32bit,
		    struct oci_set *set);

/* Whether A and B have a request in common. */
bool oci_set_intersects(const struct oci_set *a, const struct oci_set *b);

/* Whether every request of INNER is in OUTER. May say no for want of time where sets are contrived;
 * never says yes wrongly. */
bool oci_set_contains(const struct oci_set *outer, const struct oci_set *inner);

/* The requests that a filter of that kind shows, fewer than a hundred cubes. */
void oci_watched(enum filter_kind kind, struct oci_set *set);

/* Few cubes for everything else: some 30 for FILTER_PIDS, some 600 for the others. Returns 0 or
 * -E2BIG. */
int oci_unwatched(enum filter_kind kind, struct oci_set *set);

/* Splits IN into what is watched and what is not. Returns 0 or -E2BIG. */
int oci_split(enum filter_kind kind, const struct oci_set *in, struct oci_set *watched,
	      struct oci_set *unwatched);

#endif
