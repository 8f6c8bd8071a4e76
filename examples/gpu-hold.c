/* Holds memory of a (simulated) GPU as a process of a given name, so that there is something to be
 * seen by gpu-ps or nvidia-smi. Prints "ready PID" once it does, and holds until it is ended. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "examples/rmclient.h"

enum { MAX_CLASSES = 8, MAX_CLIENTS = 1024, MIB = 20 };

struct options {
	const char *dev_root, *name;
	unsigned gpu, memory, clients, threads, seconds, nvenc, nvfbc;
	uint32_t class_id[MAX_CLASSES];
	unsigned classes;
	uint32_t util[RM_ENGINES];
	bool allocate_in_thread, has_util;
};

/* simrm's own ioctl (tests/simrm/README.md): what the process is to be seen doing. */
enum { SIMRM_ESC_WORK = 240 };
struct simrm_work {
	uint32_t hClient, status, util[RM_ENGINES];
};

static const char usage[] =
    "usage: gpu-hold [options]\n"
    "  --dev-root=DIR        folder of the devices (/dev)\n"
    "  --name=NAME           name of the process\n"
    "  --gpu=N               index of the GPU (0)\n"
    "  --memory=MIB          GPU memory in all (64)\n"
    "  --class=CLASS         compute, graphics, mps, none or a number; may be given again "
    "(compute)\n"
    "  --clients=N           RM clients among which the memory is spread (1)\n"
    "  --threads=N           further idle threads\n"
    "  --allocate-in-thread  a thread allocates all, and ends\n"
    "  --util=gr:35,fb:10    simulated utilisation in per cent (fb, gr, nvenc, nvdec, nvjpg, "
    "nvofa)\n"
    "  --nvenc[=N]           N encoder sessions (1)\n"
    "  --nvfbc[=N]           N capture sessions (1)\n"
    "  --seconds=S           hold for S seconds (until SIGTERM)\n";

static void fail(const char *what, int result)
{
	char text[64];

	fprintf(stderr, "gpu-hold: %s: %s\n", what, rm_error_text(result, text));
	exit(1);
}

static unsigned number(const char *option, const char *text, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (!*text || *end || value > max) {
		fprintf(stderr, "gpu-hold: --%s=%s: must be a number up to %u\n", option, text,
			max);
		exit(1);
	}
	return (unsigned)value;
}

static void add_class(struct options *options, const char *text)
{
	if (options->classes == MAX_CLASSES) {
		fprintf(stderr, "gpu-hold: --class: at most %d\n", MAX_CLASSES);
		exit(1);
	}
	if (!strcmp(text, "none"))
		options->class_id[options->classes++] = 0;
	else if (!strcmp(text, "compute"))
		options->class_id[options->classes++] = TURING_COMPUTE_A;
	else if (!strcmp(text, "graphics"))
		options->class_id[options->classes++] = TURING_A;
	else if (!strcmp(text, "mps"))
		options->class_id[options->classes++] = MPS_COMPUTE;
	else
		options->class_id[options->classes++] = number("class", text, UINT32_MAX);
}

static void parse_util(struct options *options, char *text)
{
	char *item;

	options->has_util = true;
	while ((item = strsep(&text, ","))) {
		char *value = strchr(item, ':');
		unsigned engine = 0;

		if (value)
			*value++ = '\0';
		while (engine < RM_ENGINES && strcmp(item, rm_engine_names[engine]))
			engine++;
		if (!value || engine == RM_ENGINES) {
			fprintf(stderr, "gpu-hold: --util: %s: must be ENGINE:PERCENT\n", item);
			exit(1);
		}
		options->util[engine] = number("util", value, 100);
	}
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option table[] = {
	    {"dev-root", required_argument, NULL, 'd'},
	    {"name", required_argument, NULL, 'n'},
	    {"gpu", required_argument, NULL, 'g'},
	    {"memory", required_argument, NULL, 'm'},
	    {"class", required_argument, NULL, 'c'},
	    {"clients", required_argument, NULL, 'C'},
	    {"threads", required_argument, NULL, 't'},
	    {"allocate-in-thread", no_argument, NULL, 'T'},
	    {"util", required_argument, NULL, 'u'},
	    {"nvenc", optional_argument, NULL, 'e'},
	    {"nvfbc", optional_argument, NULL, 'f'},
	    {"seconds", required_argument, NULL, 's'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	*options = (struct options){.dev_root = "/dev", .memory = 64, .clients = 1};
	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (option) {
		case 'd':
			options->dev_root = optarg;
			break;
		case 'n':
			options->name = optarg;
			break;
		case 'g':
			options->gpu = number("gpu", optarg, 31);
			break;
		case 'm':
			options->memory = number("memory", optarg, 1 << 20);
			break;
		case 'c':
			add_class(options, optarg);
			break;
		case 'C':
			options->clients = number("clients", optarg, MAX_CLIENTS);
			break;
		case 't':
			options->threads = number("threads", optarg, 10000);
			break;
		case 'T':
			options->allocate_in_thread = true;
			break;
		case 'u':
			parse_util(options, optarg);
			break;
		case 'e':
			options->nvenc = optarg ? number("nvenc", optarg, 512) : 1;
			break;
		case 'f':
			options->nvfbc = optarg ? number("nvfbc", optarg, 256) : 1;
			break;
		case 's':
			options->seconds = number("seconds", optarg, 1000000);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(1);
		}
	}
	if (optind != argc || !options->clients) {
		fputs(usage, stderr);
		exit(1);
	}
	if (!options->classes)
		add_class(options, "compute");
}

static void hold_class(struct rm_client *client, const struct rm_gpu *gpu, uint32_t class_id)
{
	uint32_t channel, handle;
	int err;

	if (!class_id)
		return;
	if (class_id == MPS_COMPUTE) {
		err = rm_alloc(client, client->handle, class_id, NULL, 0, &handle);
	} else {
		err = rm_alloc(client, gpu->device, TURING_CHANNEL_GPFIFO_A, NULL, 0, &channel);
		if (!err)
			err = rm_alloc(client, channel, class_id, NULL, 0, &handle);
	}
	if (err)
		fail("cannot allocate a channel of that class (only a simulated driver lets a "
		     "program have one so simply)",
		     err);
}

static void hold_memory(struct rm_client *client, const struct rm_gpu *gpu, uint64_t bytes)
{
	struct nv_memory_allocation_params params = {.size = bytes};
	uint32_t handle;
	int err;

	if (!bytes)
		return;
	err = rm_alloc(client, gpu->device, NV01_MEMORY_LOCAL_USER, &params,
		       client->rm->layout.memory_params_size, &handle);
	if (err)
		fail("cannot allocate GPU memory", err);
}

static void hold_sessions(struct rm_client *client, const struct rm_gpu *gpu,
			  const struct options *options)
{
	struct nva0bc_alloc_parameters nvenc = {.hResolution = 1920, .vResolution = 1080};
	struct nva0bd_alloc_parameters nvfbc = {
	    .sessionType = 1, .hMaxResolution = 1920, .vMaxResolution = 1080};
	uint32_t handle;
	int err = 0;

	for (unsigned i = 0; i < options->nvenc && !err; i++)
		err = rm_alloc(client, gpu->subdevice, NVENC_SW_SESSION, &nvenc, sizeof(nvenc),
			       &handle);
	for (unsigned i = 0; i < options->nvfbc && !err; i++)
		err = rm_alloc(client, gpu->subdevice, NVFBC_SW_SESSION, &nvfbc, sizeof(nvfbc),
			       &handle);
	if (err)
		fail("cannot open a session", err);
}

static void set_work(const struct rm_client *client, const struct options *options)
{
	struct simrm_work work = {.hClient = client->handle};

	memcpy(work.util, options->util, sizeof(work.util));
	if (ioctl(client->rm->ctl, _IOWR('F', SIMRM_ESC_WORK, struct simrm_work), &work) ||
	    work.status)
		fail("--util: only a simulated driver can be told", -errno);
}

struct holding {
	const struct options *options;
	const struct rm *rm;
};

static void *hold(void *argument)
{
	const struct holding *holding = argument;
	const struct options *options = holding->options;
	uint64_t bytes = (uint64_t)options->memory << MIB;
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS];

	for (unsigned i = 0; i < options->clients; i++) {
		uint64_t share = i ? bytes / options->clients
				   : bytes - bytes / options->clients * (options->clients - 1);
		struct rm_client client;
		struct rm_gpu gpu;
		int err = rm_client_alloc(holding->rm, &client), count;

		if (err)
			fail("cannot allocate a client", err);
		count = rm_gpu_count(&client, ids);
		if (count <= (int)options->gpu)
			fail("no GPU of that index", count < 0 ? count : -ENODEV);
		err = rm_gpu_open(&client, ids[options->gpu], &gpu);
		if (err)
			fail("cannot open the GPU", err);
		for (unsigned at = 0; at < options->classes; at++)
			hold_class(&client, &gpu, options->class_id[at]);
		hold_memory(&client, &gpu, share);
		if (i == 0)
			hold_sessions(&client, &gpu, options);
		if (options->has_util)
			set_work(&client, options);
	}
	return NULL;
}

static void *idle(void *argument)
{
	pause();
	return argument;
}

int main(int argc, char **argv)
{
	struct options options;
	struct holding holding = {.options = &options};
	struct rm rm;
	pthread_t thread;
	sigset_t ends;
	int signal_number;

	parse_options(argc, argv, &options);
	if (options.name)
		prctl(PR_SET_NAME, options.name);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	if (rm_open(&rm, options.dev_root))
		return 1;
	holding.rm = &rm;
	for (unsigned i = 0; i < options.threads; i++)
		if (pthread_create(&thread, NULL, idle, NULL))
			fail("--threads", -EAGAIN);
	if (options.allocate_in_thread) {
		if (pthread_create(&thread, NULL, hold, &holding))
			fail("--allocate-in-thread", -EAGAIN);
		pthread_join(thread, NULL);
	} else {
		hold(&holding);
	}
	printf("ready %d\n", getpid());
	fflush(stdout);
	if (options.seconds)
		sigtimedwait(&ends, NULL, &(struct timespec){.tv_sec = options.seconds});
	else
		sigwait(&ends, &signal_number);
	return 0;
}
