/* A small evaluator of seccomp's classic BPF, apart from the kernel's. */
#ifndef TESTS_UNIT_FILTER_BPF_H
#define TESTS_UNIT_FILTER_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

/* Runs PROGRAM (LENGTH instructions) over DATA. Returns its verdict; ends the test on an instruction
 * that seccomp does not have. Stores the number of instructions executed in *STEPS unless NULL. */
uint32_t bpf_run(const struct sock_filter *program, unsigned short length,
		 const struct seccomp_data *data, unsigned int *steps);

#endif
