#include "filter/oci.h"

#include "nvabi/confined.h"

#include <errno.h>
#include <string.h>

const char *const oci_operator_names[OCI_CMP_MASKED_EQ + 1] = {
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",	"SCMP_CMP_EQ",
    "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ",
};

/* Whether every request of INNER is in OUTER. */
static bool cube_contains(struct oci_cube outer, struct oci_cube inner)
{
	return (outer.mask & ~inner.mask) == 0 && (inner.value & outer.mask) == outer.value;
}

static bool cube_intersects(struct oci_cube a, struct oci_cube b)
{
	return ((a.value ^ b.value) & a.mask & b.mask) == 0;
}

static struct oci_cube cube_intersection(struct oci_cube a, struct oci_cube b)
{
	return (struct oci_cube){.mask = a.mask | b.mask, .value = a.value | b.value};
}

/* Adds CUBE unless the set has it already; takes out what CUBE makes superfluous. */
static int set_add(struct oci_set *set, struct oci_cube cube)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->count; i++)
		if (cube_contains(set->cube[i], cube))
			return 0;
	for (size_t i = 0; i < set->count; i++)
		if (!cube_contains(cube, set->cube[i]))
			set->cube[kept++] = set->cube[i];
	set->count = kept;
	if (set->count == OCI_MAX_CUBES)
		return -E2BIG;
	set->cube[set->count++] = cube;
	return 0;
}

static int set_intersect(const struct oci_set *a, const struct oci_set *b, struct oci_set *out)
{
	out->count = 0;
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++) {
			if (!cube_intersects(a->cube[i], b->cube[j]))
				continue;
			if (set_add(out, cube_intersection(a->cube[i], b->cube[j])) < 0)
				return -E2BIG;
		}
	return 0;
}

/* Everything outside CUBE: one cube for each bit that its mask looks at. */
static void cube_complement(struct oci_cube cube, struct oci_set *out)
{
	out->count = 0;
	for (uint64_t bits = cube.mask; bits; bits &= bits - 1) {
		uint64_t bit = bits & -bits;

		out->cube[out->count++] =
		    (struct oci_cube){.mask = bit, .value = ~cube.value & bit};
	}
}

/* Which of the cubes of a set are looked at. */
struct choice {
	size_t count;
	uint16_t index[OCI_MAX_CUBES];
};

/* The bit on which most of the chosen cubes depend and CUBE does not. There is one: none of them
 * contains CUBE. */
static uint64_t busiest_bit(const struct oci_set *set, const struct choice *choice,
			    struct oci_cube cube)
{
	unsigned int uses[64] = {0};
	int best = -1;

	for (size_t i = 0; i < choice->count; i++)
		for (int bit = 0; bit < 64; bit++)
			uses[bit] += set->cube[choice->index[i]].mask >> bit & 1;
	for (int bit = 63; bit >= 0; bit--)
		if (!(cube.mask >> bit & 1) && (best < 0 || uses[bit] > uses[best]))
			best = bit;
	return 1ULL << best;
}

/* Whether the chosen cubes of SET cover CUBE: looked at in halves. The question is hard in general;
 * when STEPS are used up the answer is no, which is always safe here. */
static bool covered_by(const struct oci_set *set, const struct choice *from, struct oci_cube cube,
		       unsigned int *steps)
{
	struct choice choice = {0};
	uint64_t bit;

	for (size_t i = 0; i < from->count; i++) {
		if (cube_contains(set->cube[from->index[i]], cube))
			return true;
		if (cube_intersects(set->cube[from->index[i]], cube))
			choice.index[choice.count++] = from->index[i];
	}
	if (choice.count == 0 || *steps == 0)
		return false;
	--*steps;
	bit = busiest_bit(set, &choice, cube);
	cube.mask |= bit;
	if (!covered_by(set, &choice, cube, steps))
		return false;
	cube.value |= bit;
	return covered_by(set, &choice, cube, steps);
}

/* Whether the cubes of SET, but for number SKIP, cover CUBE. */
static bool covered(const struct oci_set *set, size_t skip, struct oci_cube cube)
{
	struct choice all = {0};
	unsigned int steps = 4096;

	for (size_t i = 0; i < set->count; i++)
		if (i != skip)
			all.index[all.count++] = (uint16_t)i;
	return covered_by(set, &all, cube, &steps);
}

static void set_drop_covered(struct oci_set *set)
{
	for (size_t i = set->count; i-- > 0;) {
		if (!covered(set, i, set->cube[i]))
			continue;
		memmove(&set->cube[i], &set->cube[i + 1],
			(set->count - i - 1) * sizeof(set->cube[0]));
		set->count--;
	}
}

void oci_set_all(struct oci_set *set)
{
	set->count = 1;
	set->cube[0] = (struct oci_cube){0};
}

/* Requests below VALUE: for each bit set in it, those that agree above that bit and have 0 there.
 */
static void set_below(uint64_t value, struct oci_set *set)
{
	set->count = 0;
	for (uint64_t bits = value; bits; bits &= bits - 1) {
		uint64_t bit = bits & -bits;

		set->cube[set->count++] =
		    (struct oci_cube){.mask = -bit, .value = value & -bit & ~bit};
	}
}

/* Requests above VALUE in the bits of WIDTH, the others being free. */
static void set_above(uint64_t value, uint64_t width, struct oci_set *set)
{
	set->count = 0;
	for (uint64_t bits = ~value & width; bits; bits &= bits - 1) {
		uint64_t bit = bits & -bits;

		set->cube[set->count++] =
		    (struct oci_cube){.mask = -bit & width, .value = (value & -bit) | bit};
	}
}

int oci_set_compare(enum oci_operator op, uint64_t value, uint64_t value_two, bool with_32bit,
		    struct oci_set *set)
{
	uint64_t width = with_32bit ? UINT32_MAX : UINT64_MAX;
	bool ordered = op != OCI_CMP_EQ && op != OCI_CMP_MASKED_EQ;

	if (ordered && (value & ~width))
		return -EDOM;
	switch (op) {
	case OCI_CMP_NE:
		cube_complement((struct oci_cube){.mask = width, .value = value}, set);
		break;
	case OCI_CMP_LE:
		if (value == UINT64_MAX)
			oci_set_all(set);
		else
			set_below(value + 1, set);
		break;
	case OCI_CMP_LT:
		set_below(value, set);
		break;
	case OCI_CMP_GE:
		if (value == 0)
			oci_set_all(set);
		else
			set_above(value - 1, width, set);
		break;
	case OCI_CMP_GT:
		set_above(value, width, set);
		break;
	case OCI_CMP_EQ:
		set->count = 1;
		set->cube[0] = (struct oci_cube){.mask = UINT64_MAX, .value = value};
		break;
	case OCI_CMP_MASKED_EQ:
		/* libseccomp masks the wanted bits too. */
		set->count = 1;
		set->cube[0] = (struct oci_cube){.mask = value, .value = value_two & value};
		break;
	}
	return 0;
}

bool oci_set_intersects(const struct oci_set *a, const struct oci_set *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			if (cube_intersects(a->cube[i], b->cube[j]))
				return true;
	return false;
}

bool oci_set_contains(const struct oci_set *outer, const struct oci_set *inner)
{
	for (size_t i = 0; i < inner->count; i++)
		if (!covered(outer, SIZE_MAX, inner->cube[i]))
			return false;
	return true;
}

/* Makes CUBE as large as it can be without a request of SET. */
static struct oci_cube expand(const struct oci_set *set, struct oci_cube cube)
{
	for (uint64_t bits = cube.mask, bit; bits; bits &= ~bit) {
		struct oci_cube larger;
		bool free = true;

		bit = bits & -bits;
		larger = (struct oci_cube){.mask = cube.mask & ~bit, .value = cube.value & ~bit};
		for (size_t i = 0; free && i < set->count; i++)
			free = !cube_intersects(set->cube[i], larger);
		if (free)
			cube = larger;
	}
	return cube;
}

/* The bit on which a request is looked at next: first those of its number, on which all depend,
 * then those of its size. */
static uint64_t next_bit(const struct oci_set *set, const struct choice *choice,
			 struct oci_cube cube)
{
	uint64_t used = 0;

	for (size_t i = 0; i < choice->count; i++)
		used |= set->cube[choice->index[i]].mask;
	used &= ~cube.mask;
	if (used & 0xff)
		used &= 0xff;
	else if (used & 0x3fff0000)
		used &= 0x3fff0000;
	return used & -used;
}

/* Adds what the chosen cubes of SET leave of CUBE to OUT, and as much beside as none of SET has. */
static int add_rest(const struct oci_set *set, const struct choice *from, struct oci_cube cube,
		    struct oci_set *out)
{
	struct choice choice = {0};
	uint64_t bit;

	for (size_t i = 0; i < from->count; i++) {
		if (cube_contains(set->cube[from->index[i]], cube))
			return 0;
		if (cube_intersects(set->cube[from->index[i]], cube))
			choice.index[choice.count++] = from->index[i];
	}
	if (choice.count == 0)
		return set_add(out, expand(set, cube));
	bit = next_bit(set, &choice, cube);
	cube.mask |= bit;
	if (add_rest(set, &choice, cube, out))
		return -E2BIG;
	cube.value |= bit;
	return add_rest(set, &choice, cube, out);
}

static int set_complement(const struct oci_set *set, struct oci_set *out)
{
	struct choice all = {.count = set->count};

	for (size_t i = 0; i < set->count; i++)
		all.index[i] = (uint16_t)i;
	out->count = 0;
	if (add_rest(set, &all, (struct oci_cube){0}, out))
		return -E2BIG;
	set_drop_covered(out);
	return 0;
}

static void add_ioctls(const struct nvabi_ioctl *ioctls, uint32_t count, struct oci_set *set)
{
	for (uint32_t i = 0; i < count; i++)
		set->cube[set->count++] =
		    (struct oci_cube){.mask = ioctls[i].mask, .value = ioctls[i].value};
}

/* UVM's requests but for those that a container with compute may make. */
static void add_uvm_without_compute(struct oci_set *set)
{
	struct oci_set uvm = {0}, compute = {0}, others, left;
	uint32_t count, uvm_count;
	const uint8_t *numbers = nvabi_compute_uvm(&count);
	const struct nvabi_ioctl *ioctls = nvabi_confined_uvm(&uvm_count);

	for (uint32_t i = 0; i < count; i++)
		compute.cube[compute.count++] =
		    (struct oci_cube){.mask = 0xe000ffff, .value = numbers[i]};
	add_ioctls(ioctls, uvm_count, &uvm);
	/* Neither is too large: the numbers are constants. */
	set_complement(&compute, &others);
	set_intersect(&uvm, &others, &left);
	set_drop_covered(&left);
	for (size_t i = 0; i < left.count; i++)
		set->cube[set->count++] = left.cube[i];
}

void oci_watched(enum filter_kind kind, struct oci_set *set)
{
	uint32_t count, uvm_count;
	const struct nvabi_ioctl *ioctls =
	    kind == FILTER_PIDS ? nvabi_watched_ioctls(&count) : nvabi_confined_ioctls(&count);

	set->count = 0;
	nvabi_confined_uvm(&uvm_count);
	if (kind == FILTER_CONFINE_COMPUTE)
		count -= uvm_count;
	add_ioctls(ioctls, count, set);
	if (kind == FILTER_CONFINE_COMPUTE)
		add_uvm_without_compute(set);
}

int oci_unwatched(enum filter_kind kind, struct oci_set *set)
{
	struct oci_set watched;

	oci_watched(kind, &watched);
	return set_complement(&watched, set);
}

int oci_split(enum filter_kind kind, const struct oci_set *in, struct oci_set *watched,
	      struct oci_set *unwatched)
{
	struct oci_set side;

	oci_watched(kind, &side);
	if (set_intersect(in, &side, watched) < 0)
		return -E2BIG;
	if (oci_unwatched(kind, &side) < 0 || set_intersect(in, &side, unwatched) < 0)
		return -E2BIG;
	set_drop_covered(unwatched);
	return 0;
}
