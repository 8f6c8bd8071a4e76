/* A container of two processes, one of them with threads, one that has ended; beside it another. */
#include "tests/fuzz/notification.h"

#include "base/cleanup.h"
#include "supervisor/handlers/memory_query.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/target.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

enum { THREADS = 2 };

static void *sleep_for_ever(void *unused)
{
	(void)unused;
	for (;;)
		pause();
}

static _Noreturn void be_worker(int ready)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, sleep_for_ever, NULL))
			_exit(1);
	if (write(ready, "r", 1) == 1)
		sleep_for_ever(NULL);
	_exit(1);
}

/* PID 1 of the namespace, and a worker below it, twice. */
static _Noreturn void be_first(int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 2; i++)
		if (fork() == 0)
			be_worker(ready);
	for (;;)
		if (waitpid(-1, NULL, 0) < 0)
			pause();
}

static pid_t start_container(void)
{
	cleanup_close int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	int ready[2];
	char word[2];
	pid_t first;

	fuzz_check(!pipe(ready), "%m");
	fuzz_check(!unshare(CLONE_NEWPID),
		   "cannot make a PID namespace: %m (run it by tests/fuzz/run.sh)");
	first = fork();
	if (first == 0)
		be_first(ready[1]);
	fuzz_check(first > 0 && !setns(own, CLONE_NEWPID), "%m");
	close(ready[1]);
	for (size_t got = 0; got < sizeof(word); got++)
		fuzz_check(read(ready[0], word, 1) == 1, "a process of the container ended");
	close(ready[0]);
	return first;
}

/* The numbers in FILE, up to SIZE of them; how many. */
static size_t read_numbers(const char *path, const char *key, pid_t *numbers, size_t size)
{
	cleanup_file FILE *file = fopen(path, "re");
	char line[512];
	size_t count = 0;

	fuzz_check(file, "%s: %m (is /proc that of this namespace?)", path);
	while (fgets(line, sizeof(line), file)) {
		char *at = line + strlen(key), *end;

		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		for (long number = strtol(at, &end, 10); end != at && count < size;
		     number = strtol(at, &end, 10)) {
			numbers[count++] = (pid_t)number;
			at = end;
		}
		break;
	}
	return count;
}

static size_t children_of(pid_t pid, pid_t *children, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	return read_numbers(path, "", children, size);
}

/* The last number of its NStgid line: not by the code that is tested. */
static pid_t own_number(pid_t pid)
{
	pid_t numbers[TARGET_LEVELS];
	char path[64];
	size_t count;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	count = read_numbers(path, "NStgid:", numbers, TARGET_LEVELS);
	fuzz_check(count, "%s has no NStgid", path);
	return numbers[count - 1];
}

static size_t threads_of(pid_t pid, pid_t *threads, size_t size)
{
	char path[64];
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;
	size_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) && count < size)
		if (entry->d_name[0] != '.')
			threads[count++] = (pid_t)strtol(entry->d_name, NULL, 10);
	return count;
}

static void add_anyone(struct world *world, uint32_t number)
{
	if (world->anyone_count < WORLD_PIDS)
		world->anyone[world->anyone_count++] = number;
}

static void add_process(struct world *world, pid_t pid, bool inside)
{
	pid_t threads[8];
	size_t count = threads_of(pid, threads, 8);

	for (size_t i = 0; i < count; i++) {
		add_anyone(world, (uint32_t)threads[i]);
		if (inside && world->inside_count < WORLD_PIDS)
			world->inside[world->inside_count++] = threads[i];
	}
	if (inside)
		world->number[world->number_count++] = own_number(pid);
	roster_note(world->roster, pid, true);
}

static void end_process(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	kill(pid, SIGKILL);
	while (access(path, F_OK) == 0)
		usleep(1000);
}

void world_make(struct world *world)
{
	static const uint32_t nobody[] = {0, 1, 2, 3, 0xffffffff, NOBODY, 0x80000000, 4194304};
	pid_t first, beside, children[2];

	*world = (struct world){.roster = roster_new()};
	world->device = memfd_create("nvidiactl", 0);
	fuzz_check(world->roster && world->device >= 0, "%m");
	first = start_container();
	beside = start_container();
	world->ns = nsfs_open_pid(first);
	world->ns_id = nsfs_id(world->ns);
	fuzz_check(world->ns >= 0 && world->ns_id, "the container's namespace");
	fuzz_check(children_of(first, children, 2) == 2, "two workers");
	add_process(world, first, true);
	add_process(world, children[0], true);
	add_process(world, children[1], true);
	end_process(children[1]);
	fuzz_check(children_of(beside, children, 2) == 2, "two workers");
	add_process(world, beside, false);
	add_process(world, children[0], false);
	add_process(world, children[1], false);
	add_process(world, getpid(), false);
	for (size_t i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++)
		add_anyone(world, nobody[i]);
}

struct driver_file world_device_file(const struct world *world)
{
	struct stat st;

	fuzz_check(!fstat(world->device, &st), "%m");
	return (struct driver_file){
	    .dev_major = major(st.st_dev), .dev_minor = minor(st.st_dev), .inode = st.st_ino};
}

bool world_has_number(const struct world *world, uint32_t number)
{
	for (size_t i = 0; i < world->number_count; i++)
		if ((uint32_t)world->number[i] == number)
			return true;
	return false;
}

bool world_has_inside(const struct world *world, uint32_t pid)
{
	for (size_t i = 0; i < world->inside_count; i++)
		if ((uint32_t)world->inside[i] == pid)
			return true;
	return false;
}
