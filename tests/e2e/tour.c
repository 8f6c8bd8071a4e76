/* tour DEVICE-FOLDER PART...: makes the calls of each PART and prints what comes of them, a line
 * each, without anything that differs from run to run. The same lines natively and confined mean
 * that confined calls answer as the driver does. Parts: memory objects lists files uvm pinned
 * requests refused, and:
 *   hold         prints "ready", waits for its input to end
 *   leave        ends at once, without a word to the driver
 *   die          is killed in a call (the driver must be told to delay it)
 *   children=N   N processes one after the other, each with a client of its own
 *   spin=N       N calls, each of which must succeed
 *   threads=N    N threads, each with a client of its own, that allocate and free
 *   fork         the child uses the parent's client, as far as the driver lets it
 *   exec         the program once more, with the open files of this one
 *   setuid=UID   becomes that user between two calls */
#include "tests/e2e/tour.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_THREADS = 64 };

void die(const char *what)
{
	fprintf(stderr, "tour: %s: %s\n", what, strerror(errno));
	exit(3);
}

void say(const char *name, int result)
{
	char text[64];

	printf("%s: %s\n", name, result ? rm_error_text(result, text) : "ok");
	fflush(stdout);
}

void say_bytes(const char *name, int result, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325;
	char line[160];

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ at[i]) * 0x100000001b3;
	snprintf(line, sizeof(line), "%s [%016llx]", name, (unsigned long long)hash);
	say(line, result);
}

static int name_string(const struct tour *tour)
{
	struct {
		uint32_t flags;
		char name[128];
	} params = {0};

	return rm_control(&tour->client, tour->subdevice, NV2080_CTRL_CMD_GPU_GET_NAME_STRING,
			  &params, sizeof(params));
}

static void hold(struct tour *tour)
{
	char byte;

	(void)tour;
	printf("ready %d\n", getpid());
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		die("standard input");
}

static void be_killed(struct tour *tour)
{
	pid_t child = fork();
	int status;

	if (!child) {
		tour_client(tour);
		name_string(tour); /* the driver delays it */
		_exit(1);
	}
	usleep(200000);
	kill(child, SIGKILL);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	printf("killed: %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static void children(const char *root, unsigned count)
{
	unsigned good = 0;

	for (unsigned i = 0; i < count; i++) {
		struct tour tour;
		int status;
		pid_t child = fork();

		if (!child) {
			tour_open(&tour, root);
			_exit(name_string(&tour) ? 1 : 0);
		}
		if (waitpid(child, &status, 0) != child)
			die("waitpid");
		good += WIFEXITED(status) && !WEXITSTATUS(status);
	}
	printf("children: %u of %u\n", good, count);
}

static void spin(struct tour *tour, unsigned count)
{
	unsigned failed = 0;
	int first = 0;

	for (unsigned i = 0; i < count; i++) {
		int result = name_string(tour);

		if (!result)
			continue;
		if (!failed++)
			first = result;
	}
	printf("spin: %u of %u failed\n", failed, count);
	if (failed)
		say("first failure", first);
}

static const char *device_folder;

static void *run_thread(void *argument)
{
	intptr_t bad = 0;
	struct tour tour;

	(void)argument;
	tour_open(&tour, device_folder);
	for (unsigned i = 0; i < 20; i++) {
		struct nv_memory_allocation_params params = {.size = 1 << 20};
		uint32_t memory;

		bad += rm_alloc(&tour.client, tour.device, NV01_MEMORY_LOCAL_USER, &params,
				tour.rm.layout.memory_params_size, &memory) != 0;
		bad += name_string(&tour) != 0;
		bad += rm_free(&tour.client, tour.device, memory) != 0;
	}
	close(tour.node);
	rm_close(&tour.rm);
	return (void *)bad;
}

static void threads(unsigned count)
{
	pthread_t thread[MAX_THREADS];
	intptr_t bad = 0;

	if (count > MAX_THREADS)
		count = MAX_THREADS;
	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&thread[i], NULL, run_thread, NULL))
			die("pthread_create");
	for (unsigned i = 0; i < count; i++) {
		void *result;

		pthread_join(thread[i], &result);
		bad += (intptr_t)result;
	}
	printf("threads: %ld calls failed\n", (long)bad);
}

/* The driver knows a client by its open file, which the child has: controls work, mappings do not.
 */
static void forked(struct tour *tour)
{
	struct nv_memory_allocation_params params = {.size = 1 << 20};
	uint32_t memory;
	pid_t child;

	say("memory", rm_alloc(&tour->client, tour->device, NV01_MEMORY_LOCAL_USER, &params,
			       tour->rm.layout.memory_params_size, &memory));
	child = fork();
	if (!child) {
		struct nvos33_with_fd map = {.hClient = tour->client.handle,
					     .hDevice = tour->device,
					     .hMemory = memory,
					     .length = 4096,
					     .fd = open("/dev/null", O_RDONLY)};
		int result;

		say("child's control", name_string(tour));
		result = tour_escape(tour->rm.ctl, NV_ESC_RM_MAP_MEMORY, sizeof(map), &map);
		say("child's mapping", result ? result : (int)map.status);
		tour_client(tour);
		say("child's own client", name_string(tour));
		_exit(0);
	}
	waitpid(child, NULL, 0);
	say("parent's control", name_string(tour));
}

static void executed(char **arguments)
{
	if (setenv("TOUR_AGAIN", "1", 1))
		die("setenv");
	execv("/proc/self/exe", arguments);
	die("execv");
}

static void become(struct tour *tour, unsigned uid)
{
	say("before", name_string(tour));
	if (setresuid(uid, uid, uid))
		die("setresuid");
	say("old client", name_string(tour));
	tour_client(tour);
	say("new client", name_string(tour));
}

static const struct {
	const char *name;
	void (*run)(struct tour *tour);
} parts[] = {
    {"memory", tour_memory}, {"objects", tour_objects}, {"lists", tour_lists},
    {"files", tour_files},   {"pinned", tour_pinned},	{"requests", tour_requests},
    {"hold", hold},	     {"die", be_killed},	{"fork", forked},
};

static unsigned number_after(const char *text, const char *key)
{
	size_t length = strlen(key);

	return strncmp(text, key, length) ? 0 : (unsigned)strtoul(text + length, NULL, 10);
}

static void run_part(struct tour *tour, const char *root, const char *part, char **arguments)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!strcmp(parts[i].name, part)) {
			parts[i].run(tour);
			return;
		}
	}
	if (!strcmp(part, "uvm"))
		tour_uvm(tour, root);
	else if (!strcmp(part, "refused"))
		tour_refused(tour, root);
	else if (!strcmp(part, "added"))
		tour_added(tour, root);
	else if (!strcmp(part, "leave"))
		_exit(0);
	else if (!strcmp(part, "exec"))
		getenv("TOUR_AGAIN") ? say("after exec", name_string(tour)) : executed(arguments);
	else if (number_after(part, "children="))
		children(root, number_after(part, "children="));
	else if (number_after(part, "spin="))
		spin(tour, number_after(part, "spin="));
	else if (number_after(part, "threads="))
		threads(number_after(part, "threads="));
	else if (number_after(part, "setuid="))
		become(tour, number_after(part, "setuid="));
	else
		die(part);
}

int main(int count, char **arguments)
{
	struct tour tour;

	if (count < 3)
		die("usage: tour DEVICE-FOLDER PART...");
	device_folder = arguments[1];
	tour_open(&tour, device_folder);
	for (int i = 2; i < count; i++)
		run_part(&tour, device_folder, arguments[i], arguments);
	return 0;
}
