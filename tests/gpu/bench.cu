/* gpu-work start|malloc|launch: a CUDA program's start-up, 10,000 pairs of cudaMalloc and cudaFree,
 * 1,000,000 kernel launches. Prints how many milliseconds the work took, without the start: for the
 * launches 20 times the median of 20 parts, since one disturbance is more than the bar. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#define CUDA(call)                                                                                 \
	do {                                                                                       \
		cudaError_t error_ = (call);                                                       \
		if (error_ != cudaSuccess) {                                                       \
			fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error_));            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static double now_ms()
{
	timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

__global__ void nothing() {}

/* 2 MiB: smaller ones are cut from what the library already has, and never reach the driver. */
static void allocate()
{
	for (int i = 0; i < 10000; i++) {
		void *memory;

		CUDA(cudaMalloc(&memory, 2 << 20));
		CUDA(cudaFree(memory));
	}
}

static double launch()
{
	enum { PARTS = 20 };
	double took[PARTS];

	for (double &part : took) {
		double start = now_ms();

		for (int i = 0; i < 1000000 / PARTS; i++)
			nothing<<<1, 1>>>();
		CUDA(cudaGetLastError());
		CUDA(cudaDeviceSynchronize());
		part = now_ms() - start;
	}
	std::sort(took, took + PARTS);
	return PARTS * (took[PARTS / 2 - 1] + took[PARTS / 2]) / 2;
}

int main(int argc, char **argv)
{
	const char *work = argc > 1 ? argv[1] : "start";
	double start, took;

	CUDA(cudaFree(nullptr));
	nothing<<<1, 1>>>();
	CUDA(cudaDeviceSynchronize());
	start = now_ms();
	if (!strcmp(work, "malloc"))
		allocate();
	took = now_ms() - start;
	if (!strcmp(work, "launch"))
		took = launch();
	printf("%.3f\n", took);
	return 0;
}
