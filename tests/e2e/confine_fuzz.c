/* confine-fuzz DEVICE-FOLDER NUMBERS SEED CALLS [PROCESSES]: a program that wants of the driver
 * what it must not have. Each of PROCESSES (2) makes its share of CALLS in two threads: random
 * escapes, controls, classes, sizes and pointers, wrapped or not, while a third thread changes
 * parameters and files under them. NUMBERS is a file of lines "KIND NUMBER": calls worth making.
 *
 * confine-fuzz DEVICE-FOLDER canary: holds memory full of a pattern and a client until its input
 * ends, then says whether the pattern is whole. No fuzzing process may ever see it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/tour.h"

enum {
	CALLERS = 2,
	ARENA = 1 << 20, /* of each caller: what the driver may read and write */
	CANARY = 4 << 20,
	FILES = 6, /* slots that change hands */
	FIRST_SLOT = 700,
	MAX_NUMBERS = 4096,
	SCAN_EVERY = 1 << 16,
};
/* Where no half of a pointer to anything else leads: what a call names may be written. */
static void *const far_off = (void *)0x3a5700000000;
static const uint64_t secret = 0x5ec2e7c0ffee5ec2, pattern = 0x0123456789abcdef;

enum kind { ESCAPE, CONTROL, CLASS, HEAP, MEMORY, UVM, KINDS };
static const char *const kinds[KINDS] = {"escape", "control", "class", "heap", "memory", "uvm"};

static struct {
	uint32_t number[MAX_NUMBERS];
	unsigned count;
} known[KINDS];

struct caller {
	struct tour *tour;
	unsigned char *arena;
	uint64_t random, calls, done, errors[4]; /* fine, status, EINVAL and such, others */
	pthread_t thread;
};

static struct caller callers[CALLERS];
static bool stop;
static int sources[FILES]; /* what the slots are made of */

void die(const char *what)
{
	fprintf(stderr, "confine-fuzz: %s: %s\n", what, strerror(errno));
	exit(3);
}

static uint64_t next(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

static uint32_t below(uint64_t *random, uint32_t limit)
{
	return (uint32_t)((next(random) >> 20) % limit);
}

static void read_numbers(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned number;
	char kind[16];

	if (!file)
		die(path);
	while (fscanf(file, "%15s %x", kind, &number) == 2)
		for (unsigned i = 0; i < KINDS; i++)
			if (!strcmp(kind, kinds[i]) && known[i].count < MAX_NUMBERS)
				known[i].number[known[i].count++] = number;
	fclose(file);
}

/* One that the driver has, one beside it, or any. */
static uint32_t a_number(struct caller *caller, enum kind kind)
{
	uint32_t any = (uint32_t)next(&caller->random);
	uint32_t number;

	if (!known[kind].count || below(&caller->random, 8) == 0)
		return kind == ESCAPE || kind == UVM ? any & 0xff : any;
	number = known[kind].number[below(&caller->random, known[kind].count)];
	switch (below(&caller->random, 8)) {
	case 0:
		return number ^ 1u << below(&caller->random, kind == ESCAPE ? 8 : 32);
	case 1:
		return number + below(&caller->random, 5) - 2;
	default:
		return number;
	}
}

/* In the arena, at its edges, or nowhere. */
static uint64_t a_pointer(struct caller *caller)
{
	uint64_t arena = (uint64_t)(uintptr_t)caller->arena;

	switch (below(&caller->random, 16)) {
	case 0:
		return 0;
	case 1:
		return arena + ARENA - below(&caller->random, 64);
	case 2:
		return arena - below(&caller->random, 64); /* a page that cannot be used */
	case 3:
		return next(&caller->random);
	case 4:
		return 0xffff888000000000 + (next(&caller->random) & 0xffffff);
	case 5:
		return ~(uint64_t)0 - below(&caller->random, 4096);
	default:
		return arena + below(&caller->random, ARENA - 65536);
	}
}

static uint32_t a_size(struct caller *caller)
{
	static const uint32_t sizes[] = {0,   1,   4,	8,   12,   16,	 20,   24,    28,
					 32,  40,  48,	56,  64,   72,	 128,  132,   168,
					 176, 184, 536, 652, 2128, 3812, 4096, 16012, 65536};

	if (below(&caller->random, 16) == 0)
		return (uint32_t)next(&caller->random);
	return sizes[below(&caller->random, sizeof(sizes) / sizeof(sizes[0]))];
}

static uint32_t a_handle(struct caller *caller)
{
	const uint32_t handles[] = {caller->tour->client.handle,
				    caller->tour->device,
				    caller->tour->subdevice,
				    0x7000,
				    0,
				    0xc1d00001};

	return handles[below(&caller->random, sizeof(handles) / sizeof(handles[0]))];
}

static int a_file(struct caller *caller)
{
	switch (below(&caller->random, 8)) {
	case 0:
		return caller->tour->node;
	case 1:
		return FIRST_SLOT + (int)below(&caller->random, FILES);
	case 2:
		return sources[below(&caller->random, FILES)];
	default:
		return caller->tour->rm.ctl;
	}
}

/* Small numbers, pointers, handles and files, where parameters have such. */
static void fill(struct caller *caller, unsigned char *bytes, size_t size)
{
	for (size_t at = 0; at + 8 <= size; at += 8) {
		uint64_t value;

		switch (below(&caller->random, 6)) {
		case 0:
			value = a_pointer(caller);
			break;
		case 1:
			value = a_handle(caller);
			break;
		case 2:
			value = (uint64_t)(uint32_t)a_file(caller)
				<< (below(&caller->random, 2) * 32);
			break;
		case 3:
			value = a_size(caller);
			break;
		case 4:
			value = 0;
			break;
		default:
			value = next(&caller->random);
		}
		memcpy(bytes + at, &value, 8);
	}
}

struct attempt {
	unsigned number;
	uint32_t size;
	unsigned char data[256];
};

static void make_control(struct caller *caller, struct attempt *attempt)
{
	struct nvos54_parameters api = {.hClient = caller->tour->client.handle,
					.cmd = a_number(caller, CONTROL),
					.params = a_pointer(caller),
					.paramsSize = a_size(caller)};
	unsigned char *params = caller->arena + below(&caller->random, ARENA - 65536);

	api.hObject = api.cmd >> 16 == 0x2080 ? caller->tour->subdevice
		      : api.cmd >> 16 == 0x80 ? caller->tour->device
					      : caller->tour->client.handle;
	if (below(&caller->random, 8)) {
		fill(caller, params, 256);
		api.params = (uint64_t)(uintptr_t)params;
	}
	if (below(&caller->random, 16) == 0)
		api.hObject = a_handle(caller);
	if (below(&caller->random, 16) == 0)
		api.flags = (uint32_t)next(&caller->random);
	attempt->number = NV_ESC_RM_CONTROL;
	attempt->size = sizeof(api);
	memcpy(attempt->data, &api, sizeof(api));
}

static void make_alloc(struct caller *caller, struct attempt *attempt)
{
	struct nvos64_parameters api = {
	    .hRoot = caller->tour->client.handle,
	    .hObjectParent = a_handle(caller),
	    .hObjectNew = below(&caller->random, 4) ? 0x10000 + below(&caller->random, 64) : 0,
	    .hClass = a_number(caller, CLASS),
	    .pAllocParms = a_pointer(caller),
	    .pRightsRequested = below(&caller->random, 2) ? a_pointer(caller) : 0,
	    .paramsSize = a_size(caller)};
	bool rights = below(&caller->random, 2);

	attempt->number = NV_ESC_RM_ALLOC;
	attempt->size = rights ? sizeof(api) : sizeof(struct nvos21_parameters);
	if (!rights)
		api.pRightsRequested = api.paramsSize; /* with a status behind it */
	memcpy(attempt->data, &api, sizeof(api));
	/* Room again: what was allocated is freed now and then. */
	if (below(&caller->random, 4) == 0) {
		struct nvos00_parameters free_it = {.hRoot = caller->tour->client.handle,
						    .hObjectOld =
							0x10000 + below(&caller->random, 64)};

		attempt->number = NV_ESC_RM_FREE;
		attempt->size = sizeof(free_it);
		memcpy(attempt->data, &free_it, sizeof(free_it));
	}
}

static void make_other(struct caller *caller, struct attempt *attempt)
{
	static const struct {
		unsigned number, size;
	} usual[] = {{0x27, 56}, {0x34, 28}, {0x35, 24}, {0x41, 56}, {0x4a, 184}, {0x4e, 56},
		     {0x4f, 32}, {0x52, 16}, {0x54, 56}, {0x57, 64}, {0x58, 48},  {0x5e, 40},
		     {201, 4},	 {206, 16},  {207, 16},	 {210, 72},  {214, 8},	  {215, 560},
		     {218, 8},	 {200, 72},  {212, 4},	 {0x5f, 64}, {0x4d, 80}};
	unsigned pick = below(&caller->random, sizeof(usual) / sizeof(usual[0]));

	attempt->number = usual[pick].number;
	attempt->size = usual[pick].size;
	if (below(&caller->random, 4) == 0) {
		attempt->number = a_number(caller, ESCAPE);
		attempt->size = a_size(caller) & 0x3fff;
	}
	fill(caller, attempt->data, sizeof(attempt->data));
	memcpy(attempt->data, &caller->tour->client.handle, 4);
	if (attempt->number == 0x4a) {
		uint32_t function = a_number(caller, HEAP);

		memcpy(attempt->data + 8, &function, 4);
	} else if (attempt->number == 0x27) {
		uint32_t class_id = a_number(caller, MEMORY);

		memcpy(attempt->data + 12, &class_id, 4);
	}
}

static int uvm(struct caller *caller)
{
	unsigned char *params = caller->arena + below(&caller->random, ARENA - 65536);

	fill(caller, params, 256);
	return ioctl(sources[2], a_number(caller, UVM),
		     below(&caller->random, 8) ? (uint64_t)(uintptr_t)params : a_pointer(caller));
}

/* The parameters lie in the arena, where the racer finds them. */
static int call(struct caller *caller)
{
	unsigned char *at = caller->arena + 64 * (1 + below(&caller->random, 8));
	struct nv_ioctl_xfer *xfer = (struct nv_ioctl_xfer *)caller->arena;
	unsigned type = below(&caller->random, 8) ? 'F' : below(&caller->random, 256);
	unsigned direction = below(&caller->random, 4) ? 3 : below(&caller->random, 4);
	struct attempt attempt;

	switch (below(&caller->random, 16)) {
	case 0:
		return uvm(caller);
	case 1:
	case 2:
	case 3:
		make_alloc(caller, &attempt);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		make_other(caller, &attempt);
		break;
	default:
		make_control(caller, &attempt);
	}
	memcpy(at, attempt.data, sizeof(attempt.data));
	if (below(&caller->random, 6) == 0) {
		*xfer =
		    (struct nv_ioctl_xfer){attempt.number, attempt.size, (uint64_t)(uintptr_t)at};
		if (below(&caller->random, 16) == 0)
			xfer->ptr = a_pointer(caller);
		return ioctl(a_file(caller),
			     _IOC(direction, type, NV_ESC_IOCTL_XFER_CMD,
				  below(&caller->random, 16) ? 16 : 8),
			     xfer);
	}
	/* A request of 64 bits: what is above its 32 the kernel does not look at. */
	return ioctl(
	    a_file(caller),
	    (unsigned long)_IOC(direction, type, attempt.number & 0xff, attempt.size & 0x3fff) |
		(below(&caller->random, 8) ? 0 : next(&caller->random) << 32),
	    below(&caller->random, 32) ? (uint64_t)(uintptr_t)at : a_pointer(caller));
}

static void look_for_secrets(const struct caller *caller)
{
	const uint64_t *words = (const uint64_t *)caller->arena;

	for (size_t i = 0; i < ARENA / 8; i++) {
		if (words[i] != secret)
			continue;
		printf("SECRET: memory of another process was seen\n");
		fflush(stdout);
		_exit(4);
	}
}

static void *run_caller(void *argument)
{
	struct caller *caller = argument;

	for (caller->done = 0; caller->done < caller->calls; caller->done++) {
		int result = call(caller);

		caller->errors[result >= 0			    ? 0
			       : errno == EINVAL || errno == ENOTTY ? 1
			       : errno == EFAULT		    ? 2
								    : 3]++;
		if (caller->done % SCAN_EVERY == 0)
			look_for_secrets(caller);
	}
	look_for_secrets(caller);
	return NULL;
}

/* Changes what the callers' calls are about, in the middle of them. */
static void *run_racer(void *argument)
{
	uint64_t random = *(uint64_t *)argument;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct caller *caller = &callers[below(&random, CALLERS)];
		uint32_t *words = (uint32_t *)caller->arena;

		for (unsigned i = 0; i < 64; i++) {
			struct caller copy = {
			    .tour = caller->tour, .arena = caller->arena, .random = next(&random)};
			uint32_t at = below(&random, 200), value = a_number(&copy, CONTROL);

			if (i % 4 == 0)
				value = (uint32_t)a_pointer(&copy);
			else if (i % 4 == 1)
				value = a_number(&copy, CLASS);
			__atomic_store_n(&words[at], value, __ATOMIC_RELAXED);
		}
		dup2(sources[below(&random, FILES)], FIRST_SLOT + (int)below(&random, FILES));
		if (below(&random, 16) == 0)
			close(FIRST_SLOT + (int)below(&random, FILES));
		usleep(20);
	}
	return NULL;
}

/* ARENA bytes with pages about them that nobody can use. */
static unsigned char *new_arena(void)
{
	unsigned char *all =
	    mmap(NULL, ARENA + 2 * 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED || mprotect(all + 65536, ARENA, PROT_READ | PROT_WRITE))
		die("mmap");
	return all + 65536;
}

static uint64_t *new_canary(uint64_t value)
{
	uint64_t *canary = mmap(far_off, CANARY, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (canary == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < CANARY / 8; i++)
		canary[i] = value;
	return canary;
}

static bool is_whole(const uint64_t *canary, uint64_t value)
{
	for (size_t i = 0; i < CANARY / 8; i++) {
		if (canary[i] == value)
			continue;
		printf("damage at 0x%zx: 0x%llx\n", i * 8, (unsigned long long)canary[i]);
		return false;
	}
	return true;
}

static void fuzz(const char *root, uint64_t seed, uint64_t calls)
{
	uint64_t *canary = new_canary(pattern);
	uint64_t totals[4] = {0};
	struct tour tour[CALLERS];
	char path[320];
	pthread_t racer;

	for (unsigned i = 0; i < CALLERS; i++) {
		tour_open(&tour[i], root);
		callers[i] = (struct caller){.tour = &tour[i],
					     .arena = new_arena(),
					     .random = seed * 0x9e3779b97f4a7c15 + i + 1,
					     .calls = calls / CALLERS};
	}
	snprintf(path, sizeof(path), "%s/nvidia-uvm", root);
	sources[0] = tour[0].rm.ctl;
	sources[1] = tour[0].node;
	sources[2] = open(path, O_RDWR | O_CLOEXEC);
	sources[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
	sources[4] = tour[1].rm.ctl;
	sources[5] = memfd_create("file", MFD_CLOEXEC);
	for (unsigned i = 0; i < FILES; i++)
		dup2(sources[i], FIRST_SLOT + (int)i);
	if (pthread_create(&racer, NULL, run_racer, &seed))
		die("pthread_create");
	for (unsigned i = 0; i < CALLERS; i++)
		if (pthread_create(&callers[i].thread, NULL, run_caller, &callers[i]))
			die("pthread_create");
	for (unsigned i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		for (unsigned k = 0; k < 4; k++)
			totals[k] += callers[i].errors[k];
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(racer, NULL);
	printf(
	    "done: %llu returned 0, %llu EINVAL or ENOTTY, %llu EFAULT, %llu other; memory beside "
	    "the calls is %s\n",
	    (unsigned long long)totals[0], (unsigned long long)totals[1],
	    (unsigned long long)totals[2], (unsigned long long)totals[3],
	    is_whole(canary, pattern) ? "whole" : "DAMAGED");
	fflush(stdout);
}

static int hold_canary(const char *root)
{
	uint64_t *canary = new_canary(secret);
	struct tour tour;
	char byte;

	tour_open(&tour, root);
	puts("ready");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		die("standard input");
	printf("canary %s\n", is_whole(canary, secret) ? "whole" : "DAMAGED");
	return 0;
}

int main(int count, char **arguments)
{
	unsigned processes = count > 5 ? (unsigned)strtoul(arguments[5], NULL, 0) : 2;
	uint64_t seed, calls;
	int bad = 0;

	if (count == 3 && !strcmp(arguments[2], "canary"))
		return hold_canary(arguments[1]);
	if (count < 5)
		die("usage: confine-fuzz DEVICE-FOLDER NUMBERS SEED CALLS [PROCESSES]");
	read_numbers(arguments[2]);
	seed = strtoull(arguments[3], NULL, 0);
	calls = strtoull(arguments[4], NULL, 0);
	for (unsigned i = 0; i < processes; i++) {
		if (fork())
			continue;
		fuzz(arguments[1], seed * 1000 + i + 1, calls / processes);
		_exit(0);
	}
	for (unsigned i = 0; i < processes; i++) {
		int status;

		wait(&status);
		bad |= status;
	}
	return bad ? 1 : 0;
}
