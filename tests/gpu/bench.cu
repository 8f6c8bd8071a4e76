/* gpu-work start|malloc: a CUDA program's start-up; 10,000 pairs of cudaMalloc and cudaFree, whose
 * milliseconds it prints.
 * gpu-work launch SOCKET NAME...: a thread for each NAME, bare or as supervise_this_thread() takes it;
 * says `ready`, and for each line "THREAD COUNT" on stdin lets that thread make so many kernel
 * launches and prints their milliseconds. */
#include "supervised_thread.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <mutex>
#include <thread>
#include <unistd.h>

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

/* One thread's work: how many launches it is asked for, and how long they took. */
struct Worker {
	const char *name, *socket;
	std::mutex mutex;
	std::condition_variable changed;
	int asked = 0;
	double took = -1;

	void run()
	{
		std::unique_lock<std::mutex> lock(mutex);

		if (strncmp(name, "bare", 4) && supervise_this_thread(name, socket))
			exit(1);
		for (took = 0;; asked = 0) {
			double start;

			changed.notify_all();
			changed.wait(lock, [this] { return asked; });
			start = now_ms();
			launch(asked);
			took = now_ms() - start;
		}
	}

	double ask(int count)
	{
		std::unique_lock<std::mutex> lock(mutex);

		changed.wait(lock, [this] { return took >= 0 && !asked; });
		asked = count;
		changed.notify_all();
		changed.wait(lock, [this] { return !asked; });
		return took;
	}
};

static void launch_as_asked(const char *socket, char **names, int count)
{
	std::deque<Worker> workers(count);
	int who, launches;

	for (int i = 0; i < count; i++) {
		workers[i].name = names[i];
		workers[i].socket = socket;
		std::thread(&Worker::run, &workers[i]).detach();
		workers[i].ask(1);
	}
	puts("ready");
	fflush(stdout);
	while (scanf("%d %d", &who, &launches) == 2) {
		printf("%.4f\n", workers.at(who).ask(launches));
		fflush(stdout);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *work = argc > 1 ? argv[1] : "start";
	double start;

	CUDA(cudaFree(nullptr));
	launch(1);
	start = now_ms();
	if (!strcmp(work, "launch"))
		launch_as_asked(argv[2], argv + 3, argc - 3);
	if (!strcmp(work, "malloc"))
		allocate();
	printf("%.3f\n", now_ms() - start);
	return 0;
}
