/* gpu-work start|malloc|launch: a CUDA program's start-up; 10,000 pairs of cudaMalloc and cudaFree,
 * whose milliseconds it prints; as many kernel launches as a line of stdin asks for, and their
 * milliseconds, after `ready`. */
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

static void launch(int count)
{
	for (int i = 0; i < count; i++)
		nothing<<<1, 1>>>();
	CUDA(cudaGetLastError());
	CUDA(cudaDeviceSynchronize());
}

static void launch_as_asked()
{
	int count;

	puts("ready");
	fflush(stdout);
	while (scanf("%d", &count) == 1) {
		double start = now_ms();

		launch(count);
		printf("%.4f\n", now_ms() - start);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	const char *work = argc > 1 ? argv[1] : "start";
	double start;

	CUDA(cudaFree(nullptr));
	launch(1);
	start = now_ms();
	if (!strcmp(work, "launch")) {
		launch_as_asked();
		return 0;
	}
	if (!strcmp(work, "malloc"))
		allocate();
	printf("%.3f\n", now_ms() - start);
	return 0;
}
