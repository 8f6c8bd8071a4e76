/* For bench_diagnose.py: notes by LD_PRELOAD when a program begins and ends and how long each of
 * its ioctls takes, and writes that to the file $BENCH_SHIM when it ends. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

enum { CALLS = 8192 };

static struct {
	uint32_t request, control; /* control: 0 unless the ioctl is RM control */
	uint64_t ns;
} call[CALLS];
static _Atomic unsigned int calls;
static uint64_t begin;
static int (*next)(int, unsigned long, ...);

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
	begin = now_ns();
	next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
}

int ioctl(int fd, unsigned long request, ...)
{
	const unsigned int index = calls++ % CALLS;
	va_list arguments;
	uint64_t before;
	void *argument;
	int result;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	call[index].request = (uint32_t)request;
	call[index].control = (uint32_t)request == 0xc020462a ? ((uint32_t *)argument)[2] : 0;
	before = now_ns();
	result = next(fd, request, argument);
	call[index].ns = now_ns() - before;
	return result;
}

__attribute__((destructor)) static void finish(void)
{
	const char *path = getenv("BENCH_SHIM");
	FILE *file = path ? fopen(path, "we") : NULL;

	if (!file)
		return;
	fprintf(file, "%llu %llu\n", (unsigned long long)begin, (unsigned long long)now_ns());
	for (unsigned int i = 0; i < calls && i < CALLS; i++)
		fprintf(file, "%u %u %llu\n", call[i].request, call[i].control,
			(unsigned long long)call[i].ns);
	fclose(file);
}
