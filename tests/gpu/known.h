/* A computation with a known result: every element goes through the same steps of a linear
 * congruential generator on the GPU and on the CPU, and the sums must agree. */
#ifndef KNOWN_H
#define KNOWN_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#define CUDA(call)                                                                                 \
	do {                                                                                       \
		cudaError_t error_ = (call);                                                       \
		if (error_ != cudaSuccess) {                                                       \
			fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error_));            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static const uint32_t KNOWN_ELEMENTS = 1 << 20;
static const uint32_t KNOWN_STEPS = 64;

__host__ __device__ static inline uint64_t known_element(uint32_t index)
{
	uint64_t value = index;

	for (uint32_t step = 0; step < KNOWN_STEPS; step++)
		value = value * 6364136223846793005ull + 1442695040888963407ull;
	return value;
}

__global__ static void known_kernel(unsigned long long *sum)
{
	uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;

	if (index < KNOWN_ELEMENTS)
		atomicAdd(sum, (unsigned long long)known_element(index));
}

/* Keeps the GPU busy for a few milliseconds, so that utilisation can be seen. */
__global__ static void busy_kernel(volatile uint64_t *out)
{
	uint64_t value = threadIdx.x;

	for (int i = 0; i < 200000; i++)
		value = value * 6364136223846793005ull + 1;
	*out = value;
}

/* Allocates MIB, computes on the GPU and returns whether the sum is the CPU's. */
static inline bool known_result(size_t mib)
{
	unsigned long long *sum, got = 0, expected = 0;
	void *block;

	CUDA(cudaMalloc(&block, mib << 20));
	CUDA(cudaMemset(block, 0, mib << 20));
	CUDA(cudaMalloc(&sum, sizeof(*sum)));
	CUDA(cudaMemset(sum, 0, sizeof(*sum)));
	known_kernel<<<KNOWN_ELEMENTS / 256, 256>>>(sum);
	CUDA(cudaMemcpy(&got, sum, sizeof(got), cudaMemcpyDeviceToHost));
	for (uint32_t index = 0; index < KNOWN_ELEMENTS; index++)
		expected += known_element(index);
	printf("sum on the GPU 0x%016llx, on the CPU 0x%016llx: %s\n", got, expected,
	       got == expected ? "same" : "DIFFERENT");
	fflush(stdout);
	return got == expected;
}

static inline void announce(const char *path)
{
	FILE *file = path ? fopen(path, "w") : NULL;

	if (file)
		fclose(file);
}

#endif
