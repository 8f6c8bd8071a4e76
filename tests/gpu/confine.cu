/* gpu-confine PART: one part of what CUDA programs do, with a result that is the same in every run, so
 * that runs can be compared. Prints "PART RESULT"; exit status 0 only when the result is right.
 * `gpu-confine list` names the parts. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cublas_v2.h>
#include <cuda.h>
#include <cuda_runtime.h>

#define CUDA(call)                                                                                 \
	do {                                                                                       \
		cudaError_t error_ = (call);                                                       \
		if (error_ != cudaSuccess) {                                                       \
			fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error_));            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define DRIVER(call)                                                                               \
	do {                                                                                       \
		CUresult error_ = (call);                                                          \
		if (error_ != CUDA_SUCCESS) {                                                      \
			const char *name_ = "?";                                                   \
			cuGetErrorName(error_, &name_);                                            \
			fprintf(stderr, "%s: %s\n", #call, name_);                                 \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static const int N = 1 << 20;
static const char *self;

__global__ void fill(int *out, int n, int seed)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		out[i] = (i ^ seed) & 0xffff;
}

__global__ void add(int *out, const int *in, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		out[i] += in[i];
}

__global__ void wait_cycles(long long cycles)
{
	long long start = clock64();

	while (clock64() - start < cycles)
		;
}

static void launch_fill(int *out, int seed, cudaStream_t stream = 0)
{
	fill<<<(N + 255) / 256, 256, 0, stream>>>(out, N, seed);
	CUDA(cudaGetLastError());
}

static void launch_add(int *out, const int *in, cudaStream_t stream = 0)
{
	add<<<(N + 255) / 256, 256, 0, stream>>>(out, in, N);
	CUDA(cudaGetLastError());
}

/* What the host expects of fill(seed). */
static bool is_filled(const int *values, int seed, int factor = 1)
{
	for (int i = 0; i < N; i++)
		if (values[i] != factor * ((i ^ seed) & 0xffff))
			return false;
	return true;
}

static bool device_is_filled(const int *device, int seed, int factor = 1)
{
	int *host = (int *)malloc(N * sizeof(int));
	bool good;

	CUDA(cudaMemcpy(host, device, N * sizeof(int), cudaMemcpyDeviceToHost));
	good = is_filled(host, seed, factor);
	free(host);
	return good;
}

static bool part_streams()
{
	enum { STREAMS = 8 };
	cudaStream_t stream[STREAMS];
	int *device[STREAMS];
	bool good = true;

	for (int i = 0; i < STREAMS; i++) {
		CUDA(cudaStreamCreateWithFlags(&stream[i], cudaStreamNonBlocking));
		CUDA(cudaMalloc(&device[i], N * sizeof(int)));
		launch_fill(device[i], i, stream[i]);
	}
	for (int i = 0; i < STREAMS; i++)
		launch_add(device[i], device[i], stream[i]);
	for (int i = 0; i < STREAMS; i++) {
		CUDA(cudaStreamSynchronize(stream[i]));
		good = good && device_is_filled(device[i], i, 2);
		CUDA(cudaFree(device[i]));
		CUDA(cudaStreamDestroy(stream[i]));
	}
	return good;
}

/* An event that is waited for asleep comes through an OS event of the driver's. */
static bool part_events()
{
	cudaEvent_t before, after;
	float ms = 0;

	CUDA(cudaEventCreateWithFlags(&before, cudaEventBlockingSync));
	CUDA(cudaEventCreateWithFlags(&after, cudaEventBlockingSync));
	CUDA(cudaEventRecord(before));
	wait_cycles<<<1, 1>>>(50000000);
	CUDA(cudaEventRecord(after));
	CUDA(cudaEventSynchronize(after));
	CUDA(cudaEventElapsedTime(&ms, before, after));
	CUDA(cudaEventDestroy(before));
	CUDA(cudaEventDestroy(after));
	return ms > 5 && ms < 1000;
}

static bool part_managed()
{
	int *values;
	bool good;

	CUDA(cudaMallocManaged(&values, N * sizeof(int)));
	for (int i = 0; i < N; i++)
		values[i] = (i ^ 5) & 0xffff;
	launch_add(values, values);
	CUDA(cudaDeviceSynchronize());
	good = is_filled(values, 5, 2);
	launch_fill(values, 9);
	CUDA(cudaDeviceSynchronize());
	good = good && is_filled(values, 9);
	CUDA(cudaFree(values));
	return good;
}

static bool part_pinned()
{
	int *plain, *mapped, *device;
	bool good;

	CUDA(cudaMallocHost(&plain, N * sizeof(int)));
	CUDA(cudaHostAlloc(&mapped, N * sizeof(int), cudaHostAllocMapped | cudaHostAllocPortable));
	CUDA(cudaMalloc(&device, N * sizeof(int)));
	launch_fill(mapped, 3);
	launch_fill(device, 4);
	CUDA(cudaMemcpyAsync(plain, device, N * sizeof(int), cudaMemcpyDeviceToHost));
	CUDA(cudaDeviceSynchronize());
	good = is_filled(mapped, 3) && is_filled(plain, 4);
	CUDA(cudaFree(device));
	CUDA(cudaFreeHost(mapped));
	CUDA(cudaFreeHost(plain));
	return good;
}

/* The program's own memory: the driver pins the caller's pages. */
static bool part_register()
{
	size_t size = N * sizeof(int);
	int *values = (int *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int *device;
	bool good;

	CUDA(cudaHostRegister(values, size, cudaHostRegisterMapped));
	CUDA(cudaHostGetDevicePointer(&device, values, 0));
	launch_fill(device, 11);
	CUDA(cudaDeviceSynchronize());
	good = is_filled(values, 11);
	CUDA(cudaHostUnregister(values));
	munmap(values, size);
	return good;
}

struct ipc_handles {
	cudaIpcMemHandle_t memory;
	cudaIpcEventHandle_t event;
};

/* The other process: reads what the first one wrote, and writes. */
static bool part_ipc_peer()
{
	ipc_handles handles;
	cudaEvent_t event;
	int *device;
	bool good;

	if (read(0, &handles, sizeof(handles)) != sizeof(handles)) {
		fprintf(stderr, "ipc-peer: the first process has ended\n");
		exit(1);
	}
	CUDA(cudaIpcOpenMemHandle((void **)&device, handles.memory, cudaIpcMemLazyEnablePeerAccess));
	CUDA(cudaIpcOpenEventHandle(&event, handles.event));
	CUDA(cudaStreamWaitEvent(0, event, 0));
	good = device_is_filled(device, 21);
	launch_fill(device, 22);
	CUDA(cudaDeviceSynchronize());
	CUDA(cudaEventDestroy(event));
	CUDA(cudaIpcCloseMemHandle(device));
	return good;
}

static bool part_ipc()
{
	ipc_handles handles;
	cudaEvent_t event;
	int *device, to_peer[2], status = -1;
	pid_t peer;
	bool good;

	/* Before CUDA starts: its state does not survive a fork. */
	if (pipe(to_peer))
		return false;
	peer = fork();
	if (peer == 0) {
		dup2(to_peer[0], 0);
		close(to_peer[0]);
		close(to_peer[1]);
		execl("/proc/self/exe", self, "ipc-peer", NULL);
		_exit(127);
	}
	close(to_peer[0]);
	CUDA(cudaMalloc(&device, N * sizeof(int)));
	CUDA(cudaEventCreateWithFlags(&event, cudaEventInterprocess | cudaEventDisableTiming));
	CUDA(cudaIpcGetMemHandle(&handles.memory, device));
	CUDA(cudaIpcGetEventHandle(&handles.event, event));
	launch_fill(device, 21);
	CUDA(cudaEventRecord(event));
	if (write(to_peer[1], &handles, sizeof(handles)) != sizeof(handles))
		return false;
	close(to_peer[1]);
	waitpid(peer, &status, 0);
	if (status) {
		fprintf(stderr, "ipc: the other process has failed\n");
		exit(1);
	}
	good = device_is_filled(device, 22);
	CUDA(cudaEventDestroy(event));
	CUDA(cudaFree(device));
	return good;
}

/* Memory with a descriptor of its own, exported and imported again. */
static bool part_vmm()
{
	CUmemAllocationProp prop = {};
	CUmemAccessDesc access = {};
	CUmemGenericAllocationHandle made, imported;
	size_t size = N * sizeof(int), granularity;
	CUdeviceptr address;
	int fd = -1;
	bool good;

	CUDA(cudaFree(0));
	prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
	prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
	prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
	DRIVER(cuMemGetAllocationGranularity(&granularity, &prop,
					     CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
	size = (size + granularity - 1) / granularity * granularity;
	DRIVER(cuMemCreate(&made, size, &prop, 0));
	DRIVER(cuMemExportToShareableHandle(&fd, made, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
	DRIVER(cuMemImportFromShareableHandle(&imported, (void *)(uintptr_t)fd,
					      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
	DRIVER(cuMemAddressReserve(&address, size, 0, 0, 0));
	DRIVER(cuMemMap(address, size, 0, imported, 0));
	access.location = prop.location;
	access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	DRIVER(cuMemSetAccess(address, size, &access, 1));
	launch_fill((int *)address, 31);
	good = device_is_filled((int *)address, 31);
	DRIVER(cuMemUnmap(address, size));
	DRIVER(cuMemAddressFree(address, size));
	DRIVER(cuMemRelease(imported));
	DRIVER(cuMemRelease(made));
	close(fd);
	return good;
}

/* Memory as a dma-buf, for another device. */
static bool part_dmabuf()
{
	size_t size = 4 << 20;
	char path[32], name[256] = "";
	int *device, fd = -1;
	bool good;

	CUDA(cudaMalloc(&device, size));
	DRIVER(cuMemGetHandleForAddressRange(&fd, (CUdeviceptr)device, size,
					     CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	good = readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, "dmabuf") &&
	       lseek(fd, 0, SEEK_END) == (off_t)size;
	close(fd);
	CUDA(cudaFree(device));
	return good;
}

static bool part_pool()
{
	int *device;
	bool good;

	CUDA(cudaMallocAsync(&device, N * sizeof(int), 0));
	launch_fill(device, 41);
	good = device_is_filled(device, 41);
	CUDA(cudaFreeAsync(device, 0));
	CUDA(cudaDeviceSynchronize());
	return good;
}

static bool part_graph()
{
	cudaStream_t stream;
	cudaGraph_t graph;
	cudaGraphExec_t executable;
	int *device;
	bool good;

	CUDA(cudaMalloc(&device, N * sizeof(int)));
	CUDA(cudaStreamCreate(&stream));
	CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
	launch_fill(device, 51, stream);
	launch_add(device, device, stream);
	CUDA(cudaStreamEndCapture(stream, &graph));
	CUDA(cudaGraphInstantiate(&executable, graph, 0));
	for (int i = 0; i < 100; i++)
		CUDA(cudaGraphLaunch(executable, stream));
	CUDA(cudaStreamSynchronize(stream));
	good = device_is_filled(device, 51, 2);
	CUDA(cudaGraphExecDestroy(executable));
	CUDA(cudaGraphDestroy(graph));
	CUDA(cudaStreamDestroy(stream));
	CUDA(cudaFree(device));
	return good;
}

/* Whole numbers, so that every order of adding gives the same. */
static bool part_cublas()
{
	const int n = 512;
	float *a = (float *)malloc(n * n * sizeof(float)), *b = (float *)malloc(n * n * sizeof(float));
	float *c = (float *)malloc(n * n * sizeof(float)), *device[3], one = 1, zero = 0;
	cublasHandle_t handle;
	bool good = true;

	for (int i = 0; i < n * n; i++) {
		a[i] = (float)(i % 7);
		b[i] = (float)(i % 5);
	}
	for (int i = 0; i < 3; i++)
		CUDA(cudaMalloc(&device[i], n * n * sizeof(float)));
	CUDA(cudaMemcpy(device[0], a, n * n * sizeof(float), cudaMemcpyHostToDevice));
	CUDA(cudaMemcpy(device[1], b, n * n * sizeof(float), cudaMemcpyHostToDevice));
	if (cublasCreate(&handle) != CUBLAS_STATUS_SUCCESS ||
	    cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &one, device[0], n, device[1], n,
			&zero, device[2], n) != CUBLAS_STATUS_SUCCESS)
		return false;
	CUDA(cudaMemcpy(c, device[2], n * n * sizeof(float), cudaMemcpyDeviceToHost));
	for (int column = 0; column < n; column += 37)
		for (int row = 0; row < n; row++) {
			float sum = 0;

			for (int k = 0; k < n; k++)
				sum += a[k * n + row] * b[column * n + k];
			good = good && sum == c[column * n + row];
		}
	cublasDestroy(handle);
	for (int i = 0; i < 3; i++)
		CUDA(cudaFree(device[i]));
	free(a);
	free(b);
	free(c);
	return good;
}

/* Sets up and tears down everything, several times in one process. */
static bool part_reset()
{
	for (int i = 0; i < 3; i++) {
		int *device;

		CUDA(cudaMalloc(&device, N * sizeof(int)));
		launch_fill(device, i);
		if (!device_is_filled(device, i))
			return false;
		CUDA(cudaDeviceReset());
	}
	return true;
}

/* Every device computes, and reads what the next one holds where it can. */
static bool part_peers()
{
	int count, *device[16], *copy;
	bool good = true;

	CUDA(cudaGetDeviceCount(&count));
	count = count > 16 ? 16 : count;
	for (int i = 0; i < count; i++) {
		int next = (i + 1) % count, can = 0;

		CUDA(cudaSetDevice(i));
		if (count > 1)
			CUDA(cudaDeviceCanAccessPeer(&can, i, next));
		if (can)
			CUDA(cudaDeviceEnablePeerAccess(next, 0));
		CUDA(cudaMalloc(&device[i], N * sizeof(int)));
		launch_fill(device[i], 60 + i);
		CUDA(cudaDeviceSynchronize());
	}
	for (int i = 0; i < count; i++) {
		int next = (i + 1) % count;

		CUDA(cudaSetDevice(i));
		CUDA(cudaMalloc(&copy, N * sizeof(int)));
		CUDA(cudaMemcpyPeer(copy, i, device[next], next, N * sizeof(int)));
		good = good && device_is_filled(copy, 60 + next);
		CUDA(cudaFree(copy));
	}
	return good;
}

static const struct {
	const char *name;
	bool (*run)();
	bool listed;
} parts[] = {
	{"streams", part_streams, true}, {"events", part_events, true},
	{"managed", part_managed, true}, {"pinned", part_pinned, true},
	{"register", part_register, true}, {"ipc", part_ipc, true},
	{"ipc-peer", part_ipc_peer, false}, {"vmm", part_vmm, true},
	{"pool", part_pool, true}, {"graph", part_graph, true},
	{"cublas", part_cublas, true}, {"reset", part_reset, true},
	{"peers", part_peers, true},	 {"dmabuf", part_dmabuf, false},
};

int main(int argc, char **argv)
{
	self = argv[0];
	for (const auto &part : parts) {
		if (argc == 2 && strcmp(argv[1], "list") == 0) {
			if (part.listed)
				puts(part.name);
			continue;
		}
		if (argc != 2 || strcmp(argv[1], part.name))
			continue;
		bool good = part.run();

		printf("%s %s\n", part.name, good ? "right" : "WRONG");
		return good ? 0 : 1;
	}
	if (argc == 2 && strcmp(argv[1], "list") == 0)
		return 0;
	fprintf(stderr, "usage: gpu-confine list|PART\n");
	return 2;
}
