/* compute MIB [READY-FILE]: computes a known result. With READY-FILE it then creates that file and
 * keeps the GPU half busy until it is killed. */
#include "known.h"

int main(int argc, char **argv)
{
	uint64_t *out;

	if (argc < 2 || !known_result(strtoul(argv[1], NULL, 10)))
		return 1;
	if (argc < 3)
		return 0;
	CUDA(cudaMalloc(&out, sizeof(*out)));
	announce(argv[2]);
	for (;;) {
		busy_kernel<<<64, 128>>>(out);
		CUDA(cudaDeviceSynchronize());
		usleep(5000);
	}
}
