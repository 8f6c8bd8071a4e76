/* The filter of a confined container. libseccomp would test rule after rule; here a request is
 * looked up by halving, so that ordinary calls are let through after few instructions. */
#include "filter/filter.h"

#include "nvabi/confined.h"

#include <errno.h>
#include <linux/ioctl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INSTRUCTIONS = 1024, MOST_JUMP = 255 };

/* What is written so far. TOO_LARGE: a jump or the program did not fit. */
struct assembly {
	struct sock_filter code[MOST_INSTRUCTIONS];
	unsigned int length;
	bool too_large;
};

static unsigned int emit(struct assembly *to, unsigned int code, uint32_t k)
{
	if (to->length == MOST_INSTRUCTIONS) {
		to->too_large = true;
		return 0;
	}
	to->code[to->length] = (struct sock_filter){.code = (uint16_t)code, .k = k};
	return to->length++;
}

static unsigned int jump(struct assembly *to, unsigned int test, uint32_t k)
{
	return emit(to, BPF_JMP | test | BPF_K, k);
}

/* What the jump at AT does where its test is true, respectively false: goes to what is written
 * next. */
static void true_comes_here(struct assembly *to, unsigned int at)
{
	unsigned int distance = to->length - at - 1;

	to->too_large |= distance > MOST_JUMP;
	to->code[at].jt = (uint8_t)distance;
}

static void false_comes_here(struct assembly *to, unsigned int at)
{
	unsigned int distance = to->length - at - 1;

	to->too_large |= distance > MOST_JUMP;
	to->code[at].jf = (uint8_t)distance;
}

static void load_request(struct assembly *to)
{
	size_t low = offsetof(struct seccomp_data, args[1]);

	/* The driver and the kernel look at 32 bits of the 64. */
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		low += sizeof(uint32_t);
	emit(to, BPF_LD | BPF_W | BPF_ABS, (uint32_t)low);
}

static void mask(struct assembly *to, uint32_t bits)
{
	emit(to, BPF_ALU | BPF_AND | BPF_K, bits);
}

static void end(struct assembly *to, uint32_t verdict)
{
	emit(to, BPF_RET | BPF_K, verdict);
}

/* All rows from FIRST to LAST are of one number. */
static void test_rows(struct assembly *to, const struct nvabi_ioctl *first,
		      const struct nvabi_ioctl *last)
{
	for (; first <= last; first++) {
		unsigned int found;

		load_request(to);
		mask(to, first->mask);
		found = jump(to, BPF_JEQ, first->value);
		end(to, SECCOMP_RET_USER_NOTIF);
		false_comes_here(to, found);
	}
	end(to, SECCOMP_RET_ALLOW);
}

/* The request's number is loaded: looks its rows up among those from FIRST to LAST. */
static void find_rows(struct assembly *to, const struct nvabi_ioctl *first,
		      const struct nvabi_ioctl *last)
{
	const struct nvabi_ioctl *middle = first + (last - first + 1) / 2;
	unsigned int above;

	while (middle > first && _IOC_NR(middle[-1].value) == _IOC_NR(middle->value))
		middle--;
	if (middle == first)
		while (middle <= last && _IOC_NR(middle->value) == _IOC_NR(first->value))
			middle++;
	if (middle > last) {
		test_rows(to, first, last);
		return;
	}
	above = jump(to, BPF_JGE, _IOC_NR(middle->value));
	find_rows(to, first, middle - 1);
	true_comes_here(to, above);
	find_rows(to, middle, last);
}

/* A request with the number of a UVM ioctl loaded: goes on behind this if it is one of NUMBERS,
 * which ascend, and else to the listener. */
static void pass_numbers(struct assembly *to, const uint8_t *numbers, uint32_t count)
{
	unsigned int passed[UINT8_MAX], ranges = 0;

	for (uint32_t first = 0, last; first < count; first = last + 1) {
		unsigned int from, above;

		for (last = first; last + 1 < count && numbers[last + 1] == numbers[last] + 1;)
			last++;
		from = jump(to, BPF_JGE, numbers[first]);
		end(to, SECCOMP_RET_USER_NOTIF);
		true_comes_here(to, from);
		above = jump(to, BPF_JGT, numbers[last]);
		passed[ranges++] = emit(to, BPF_JMP | BPF_JA, 0);
		true_comes_here(to, above);
	}
	end(to, SECCOMP_RET_USER_NOTIF);
	for (unsigned int i = 0; i < ranges; i++)
		to->code[passed[i]].k = to->length - passed[i] - 1;
}

/* UVM's numbers stand in the low 9 bits or from 0x30000000 on, without a direction: see
 * nvabi_confined_uvm(). */
static void look_at_uvm(struct assembly *to, bool compute)
{
	const uint32_t not_uvm = 0xc000fe00, beyond_bytes = 0x20000100, lowest = 8;
	unsigned int other, large, linux_own;
	const uint8_t *numbers;
	uint32_t count;

	load_request(to);
	mask(to, not_uvm);
	other = jump(to, BPF_JEQ, 0);
	load_request(to);
	large = jump(to, BPF_JSET, beyond_bytes);
	to->code[large].jf = 1;
	end(to, SECCOMP_RET_USER_NOTIF);
	mask(to, 0xff);
	linux_own = jump(to, BPF_JGE, lowest);
	numbers = nvabi_compute_uvm(&count);
	pass_numbers(to, numbers, compute ? count : 0);
	false_comes_here(to, linux_own);
	false_comes_here(to, other);
}

static void look_at_request(struct assembly *to, bool compute)
{
	uint32_t count, uvm_count;
	const struct nvabi_ioctl *rows = nvabi_confined_ioctls(&count);

	nvabi_confined_uvm(&uvm_count);
	look_at_uvm(to, compute);
	load_request(to);
	mask(to, 0xff);
	find_rows(to, rows, rows + count - uvm_count - 1);
}

/* The kernel's name of an architecture: several of libseccomp's may have the same. */
static uint32_t audit_arch(uint32_t token)
{
	return token == SCMP_ARCH_X32 ? SCMP_ARCH_X86_64 : token;
}

/* Whether an architecture before AT has the same name in the kernel. */
static bool came_before(const uint32_t *architectures, const uint32_t *at)
{
	for (; architectures < at; architectures++)
		if (audit_arch(*architectures) == audit_arch(*at))
			return true;
	return false;
}

/* Everything but ioctl is let through, on every architecture; what is written next is about ioctl.
 */
static void look_at_call(struct assembly *to, const uint32_t *architectures)
{
	unsigned int ioctls[8], count = 0;

	emit(to, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	for (const uint32_t *one = architectures; *one; one++) {
		unsigned int other;

		if (came_before(architectures, one))
			continue;
		other = jump(to, BPF_JEQ, audit_arch(*one));
		emit(to, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
		for (const uint32_t *same = one; *same && count < 8; same++)
			if (audit_arch(*same) == audit_arch(*one))
				ioctls[count++] = jump(
				    to, BPF_JEQ,
				    (uint32_t)seccomp_syscall_resolve_name_arch(*same, "ioctl"));
		end(to, SECCOMP_RET_ALLOW);
		false_comes_here(to, other);
	}
	end(to, SECCOMP_RET_ALLOW);
	while (count > 0)
		true_comes_here(to, ioctls[--count]);
}

int filter_build_confine(const uint32_t *architectures, bool compute,
			 struct filter_program *program, struct mpu_error *error)
{
	struct assembly *to = calloc(1, sizeof(*to));
	int result = 0;

	if (to) {
		look_at_call(to, architectures);
		look_at_request(to, compute);
		program->length = (unsigned short)to->length;
		program->code = malloc(to->length * sizeof(*program->code));
	}
	if (!to || !program->code)
		result = mpu_fail(error, ENOMEM, "cannot build the seccomp filter: out of memory");
	else if (to->too_large)
		result = mpu_fail(error, E2BIG, "cannot build the seccomp filter: it is too large");
	else
		memcpy(program->code, to->code, to->length * sizeof(*program->code));
	if (result)
		filter_program_free(program);
	free(to);
	return result;
}
