/* PID namespaces with processes that use a (simulated) GPU, and targets that ask about them. */
#include "bench.h"

#include "base/cleanup.h"
#include "examples/rmclient.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void open_gpu(struct rm *rm, struct rm_client *client, unsigned int index,
		     struct rm_gpu *gpu)
{
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS];

	if (rm_open(rm, bench_options.dev_root) || rm_client_alloc(rm, client) ||
	    rm_gpu_count(client, ids) <= (int)index || rm_gpu_open(client, ids[index], gpu))
		bench_die("cannot open GPU %u of %s", index, bench_options.dev_root);
}

static _Noreturn void hold_gpu(unsigned int index, int ready)
{
	struct rm rm;
	struct rm_client client;
	struct rm_gpu gpu;
	uint32_t channel, compute;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_gpu(&rm, &client, index, &gpu);
	if (rm_alloc(&client, gpu.device, TURING_CHANNEL_GPFIFO_A, NULL, 0, &channel) ||
	    rm_alloc(&client, channel, TURING_COMPUTE_A, NULL, 0, &compute) ||
	    write(ready, "r", 1) != 1)
		bench_die("a process cannot use the GPU");
	for (;;)
		pause();
}

static _Noreturn void be_init(const struct world *world, unsigned int gpu, int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int i = 0; i < world->processes; i++) {
		pid_t pid = fork();

		if (pid == 0)
			hold_gpu(gpu, ready);
		if (pid < 0)
			bench_die("cannot start a process: %s", strerror(errno));
		world->inside[i] = (uint32_t)pid;
	}
	for (;;)
		pause();
}

/* The children of INIT in our own numbers: they come in the order of their birth, as INSIDE does.
 */
static void read_host_numbers(const struct world *world)
{
	char path[64];
	cleanup_file FILE *children = NULL;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", world->init, world->init);
	children = fopen(path, "re");
	for (unsigned int i = 0; i < world->processes; i++)
		if (!children || fscanf(children, "%u", &world->host[i]) != 1)
			bench_die("cannot read %s", path);
}

static uint32_t *share(size_t count)
{
	uint32_t *memory = mmap(NULL, (count + 1) * sizeof(uint32_t), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_die("no memory");
	return memory;
}

/* A process that uses the GPU beside the world's. */
static pid_t start_stranger(unsigned int gpu, int ready)
{
	pid_t pid = fork();

	if (pid == 0)
		hold_gpu(gpu, ready);
	if (pid < 0)
		bench_die("cannot start a process: %s", strerror(errno));
	return pid;
}

struct world world_start(unsigned int gpu, unsigned int processes, bool shared)
{
	struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
	struct world world = {
	    .processes = processes, .host = share(processes), .inside = share(processes)};
	int ready[2];
	char word;

	if (pipe2(ready, O_CLOEXEC))
		bench_die("no file descriptors");
	world.init = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (world.init == 0)
		be_init(&world, gpu, ready[1]);
	if (shared)
		world.stranger = start_stranger(gpu, ready[1]);
	close(ready[1]);
	if (world.init < 0)
		bench_die("cannot make a PID namespace: %s (must be root)", strerror(errno));
	for (unsigned int i = 0; i < processes + shared; i++)
		if (read(ready[0], &word, 1) != 1)
			bench_die("the processes that use the GPU did not start");
	close(ready[0]);
	read_host_numbers(&world);
	return world;
}

void world_end(struct world *world)
{
	kill(world->init, SIGKILL);
	waitpid(world->init, NULL, 0);
	if (world->stranger) {
		kill(world->stranger, SIGKILL);
		waitpid(world->stranger, NULL, 0);
	}
	munmap(world->host, (world->processes + 1) * sizeof(uint32_t));
	munmap(world->inside, (world->processes + 1) * sizeof(uint32_t));
}

struct asker {
	const struct question *question;
	struct rm rm;
	struct rm_client client;
	struct rm_gpu gpu;
	struct get_pids_params list;
	uint32_t size;
	unsigned char info[8 + NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT * sizeof(struct pid_info)];
};

static void *prepare(const void *argument)
{
	struct asker *asker = calloc(1, sizeof(*asker));

	asker->question = argument;
	open_gpu(&asker->rm, &asker->client, asker->question->gpu, &asker->gpu);
	asker->size = 8 + NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT * asker->rm.layout.pid_info_stride;
	return asker;
}

static int ask_list(struct asker *asker, unsigned int *answered)
{
	int result;

	asker->list.id = TURING_COMPUTE_A;
	result = rm_control(&asker->client, asker->gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_PIDS,
			    &asker->list, sizeof(asker->list));
	*answered = asker->list.pidTblCount;
	return result;
}

static int ask_info(struct asker *asker, unsigned int *answered)
{
	const struct question *question = asker->question;
	unsigned int stride = asker->rm.layout.pid_info_stride;
	int result;

	memcpy(asker->info, &question->entries, sizeof(question->entries));
	for (unsigned int i = 0; i < question->entries; i++)
		memcpy(asker->info + 8 + (size_t)i * stride, &question->pids[i], sizeof(uint32_t));
	result = rm_control(&asker->client, asker->gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_PID_INFO,
			    asker->info, asker->size);
	*answered = question->entries;
	return result;
}

static void ask(void *prepared)
{
	struct asker *asker = prepared;
	unsigned int answered = 0;
	int result =
	    asker->question->entries ? ask_info(asker, &answered) : ask_list(asker, &answered);

	if (result || answered != asker->question->expected)
		bench_die("the driver answered %d with %u entries, %u were expected", result,
			  answered, asker->question->expected);
}

const struct workload workload_ask = {.prepare = prepare, .call = ask};
