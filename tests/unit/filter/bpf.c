#include "bpf.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool jumps(uint16_t code, uint32_t a, uint32_t k)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == k;
	case BPF_JGT:
		return a > k;
	case BPF_JGE:
		return a >= k;
	case BPF_JSET:
		return (a & k) != 0;
	default:
		fprintf(stderr, "bpf: jump 0x%x\n", code);
		abort();
	}
}

uint32_t bpf_run(const struct sock_filter *program, unsigned short length,
		 const struct seccomp_data *data, unsigned int *steps)
{
	uint32_t a = 0, memory[BPF_MEMWORDS] = {0};
	unsigned int count = 0;

	for (unsigned int pc = 0; pc < length; pc++) {
		const struct sock_filter *at = &program[pc];

		count++;
		if (at->code == (BPF_LD | BPF_W | BPF_ABS)) {
			if (at->k > sizeof(*data) - 4 || at->k % 4)
				abort();
			memcpy(&a, (const char *)data + at->k, sizeof(a));
		} else if (at->code == (BPF_LD | BPF_MEM)) {
			a = memory[at->k % BPF_MEMWORDS];
		} else if (at->code == BPF_ST) {
			memory[at->k % BPF_MEMWORDS] = a;
		} else if (at->code == (BPF_ALU | BPF_AND | BPF_K)) {
			a &= at->k;
		} else if (at->code == (BPF_JMP | BPF_JA)) {
			pc += at->k;
		} else if (BPF_CLASS(at->code) == BPF_JMP && BPF_SRC(at->code) == BPF_K) {
			pc += jumps(at->code, a, at->k) ? at->jt : at->jf;
		} else if (at->code == (BPF_RET | BPF_K)) {
			if (steps)
				*steps = count;
			return at->k;
		} else {
			fprintf(stderr, "bpf: instruction 0x%x\n", at->code);
			abort();
		}
	}
	fprintf(stderr, "bpf: no verdict\n");
	abort();
}
