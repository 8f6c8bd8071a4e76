/* Proxies of child processes of the test. The calls are ioctls that any kernel has (FIONREAD), on a
 * nursery without a sandbox; what the sandbox lets through is asked for itself. */
#include "supervisor/confine/proxies.h"

#include "supervisor/confine/memory.h"
#include "supervisor/confine/nursery.h"
#include "supervisor/kernel/pidfd.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OFFSET = 128, WAIT_MS = 5000, NOBODY = 65534 };

static struct journal *journal;
static struct proxies *proxies;
static int nursery = -1;
static pthread_t heeder;
static int heeded; /* an eventfd: it shall end */

/* The nursery executes this program anew; Criterion's main() knows nothing of that. */
__attribute__((constructor)) static void be_nursery(int argc, char **argv)
{
	if (nursery_is_meant(argc, argv))
		nursery_main(argc, argv);
}

/* Criterion's runner now and then loses a record of its own when tests end together. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libcriterion\n";
}

/* As the engine's idle thread does. */
static void *heed_ends(void *argument)
{
	struct pollfd polls[] = {{.fd = proxies_ends(argument), .events = POLLIN},
				 {.fd = heeded, .events = POLLIN}};

	while (poll(polls, 2, -1) > 0 && !polls[1].revents)
		proxies_heed_ends(argument);
	return NULL;
}

static void open_proxies(void)
{
	proxies = proxies_new(journal, nursery);
	cr_assert_not_null(proxies);
	heeded = eventfd(0, EFD_CLOEXEC);
	cr_assert(heeded >= 0);
	cr_assert(pthread_create(&heeder, NULL, heed_ends, proxies) == 0);
}

static void close_proxies(void)
{
	cr_assert(eventfd_write(heeded, 1) == 0);
	pthread_join(heeder, NULL);
	close(heeded);
	proxies_free(proxies);
}

static void begin_with(enum sandbox_mode sandbox)
{
	struct mpu_error error = {0};

	journal = journal_new(true);
	journal_begin(journal);
	nursery = nursery_start(sandbox, NULL, &error);
	cr_assert(nursery >= 0 && nursery_await(nursery, &error) == 0, "%s", error.text);
	open_proxies();
}

static void begin(void)
{
	begin_with(SANDBOX_OFF);
}

static void begin_in_sandbox(void)
{
	begin_with(SANDBOX_ON);
}

static void end(void)
{
	close_proxies();
	nursery_end(nursery, WAIT_MS);
	close(nursery);
	journal_free(journal);
}

/* ---- Targets ---- */

static pid_t start_target_as(uid_t uid, gid_t gid)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert(pipe2(ready, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if ((gid && setresgid(gid, gid, gid)) || (uid && setresuid(uid, uid, uid)))
			_exit(1);
		if (write(ready[1], ".", 1) != 1)
			_exit(1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	cr_assert(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	return pid;
}

static pid_t start_target(void)
{
	return start_target_as(0, 0);
}

static void end_target(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct lane *lane_for(pid_t pid, int *error)
{
	struct target target __attribute__((cleanup(target_release))) = TARGET_NONE;

	cr_assert(target_identify(pid, &target) == 0);
	return proxies_lane(proxies, &target, "web", error);
}

static struct lane *lane_of(pid_t pid)
{
	int error;
	struct lane *lane = lane_for(pid, &error);

	cr_assert_not_null(lane, "error %d", error);
	return lane;
}

static struct journal_slot *slot_of(uint64_t id)
{
	struct journal_slot *slot = journal_take(journal);

	slot->notification.id = id;
	atomic_store(&slot->phase, JOURNAL_IN_DRIVER);
	return slot;
}

/* ---- Calls ---- */

/* A pipe with COUNT bytes in it; the caller closes FD. */
static int pipe_with(int count)
{
	int ends[2];

	cr_assert(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	for (int i = 0; i < count; i++)
		cr_assert(write(ends[1], ".", 1) == 1);
	close(ends[1]);
	return ends[0];
}

static int number_at(const struct lane *lane, uint32_t offset)
{
	int number;

	memcpy(&number, lane->area + offset, sizeof(number));
	return number;
}

/* Asks how many bytes FD has. */
static int call(struct lane *lane, int fd, int *result)
{
	struct lane_request request = {.request = FIONREAD, .offset = OFFSET, .fd = fd};

	memset(lane->area + OFFSET, 0xee, 8);
	return lane_call(lane, &request, result);
}

static void expect_call(struct lane *lane, int bytes)
{
	int fd = pipe_with(bytes), result = 1;
	int failed = call(lane, fd, &result);

	cr_expect(failed == 0 && result == 0, "failed %d result %d", failed, result);
	cr_expect(number_at(lane, OFFSET) == bytes, "%d", number_at(lane, OFFSET));
	close(fd);
}

static void expect_call_for(pid_t target, int bytes)
{
	struct journal_slot *slot = slot_of(1);
	struct lane *lane = lane_of(target);

	lane_begin(lane, slot);
	expect_call(lane, bytes);
	lane_give(lane);
	journal_give(journal, slot);
}

/* ---- What there is ---- */

static bool is_gone(pid_t pid)
{
	return kill(pid, 0) && errno == ESRCH;
}

static bool wait_until_gone(pid_t pid)
{
	for (int i = 0; i < WAIT_MS && !is_gone(pid); i++)
		usleep(1000);
	return is_gone(pid);
}

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static int count_descriptors(void)
{
	return count_entries("/proc/self/fd");
}

static void read_file(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	FILE *file;
	size_t length;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "re");
	length = file ? fread(text, 1, size - 1, file) : 0;
	text[length] = '\0';
	if (file)
		fclose(file);
}

static bool status_has(pid_t pid, const char *line)
{
	char text[4096];

	read_file(pid, "status", text, sizeof(text));
	return strstr(text, line) != NULL;
}

static struct proxies_stats stats(void)
{
	struct proxies_stats now;

	proxies_stats(journal, &now);
	return now;
}

/* Of the children of PARENT. */
static pid_t child_of(pid_t parent)
{
	char text[256];

	snprintf(text, sizeof(text), "task/%d/children", parent);
	read_file(parent, text, text, sizeof(text));
	return (pid_t)strtol(text, NULL, 10);
}

static pid_t parent_of(pid_t pid)
{
	char text[512];
	int parent = 0;

	read_file(pid, "stat", text, sizeof(text));
	cr_assert(sscanf(strrchr(text, ')') + 1, " %*c %d", &parent) == 1);
	return parent;
}

static pid_t find_nursery(pid_t *guard)
{
	pid_t target = start_target(), server;
	struct lane *lane = lane_of(target);

	server = parent_of(lane->proxy);
	*guard = parent_of(server);
	lane_give(lane);
	end_target(target);
	return server;
}

/* ---- One call ---- */

Test(proxies, a_call_runs_in_the_proxy_on_the_area, .init = begin, .fini = end)
{
	pid_t target = start_target();
	int error;
	struct lane *lane = lane_for(target, &error);

	cr_assert_not_null(lane, "error %d", error);
	cr_expect(lane->proxy != getpid() && lane->proxy != target);
	cr_expect(lane->address != (uint64_t)(uintptr_t)lane->area);
	lane_begin(lane, slot_of(1));
	expect_call(lane, 3);
	lane_give(lane);
	end_target(target);
}

Test(proxies, an_error_of_the_driver_is_the_result, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int result = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	lane_begin(lane, slot_of(1));
	cr_expect(call(lane, null, &result) == 0);
	cr_expect(result == -ENOTTY, "%d", result);
	cr_expect(number_at(lane, OFFSET) == (int)0xeeeeeeee);
	lane_give(lane);
	close(null);
	end_target(target);
}

static ino_t inode_of(int fd)
{
	struct stat status;

	return fstat(fd, &status) ? 0 : status.st_ino;
}

Test(proxies, descriptors_travel_both_ways, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int fd = pipe_with(5), first = pipe_with(1), second = pipe_with(2), result = 1;
	struct lane_request request = {.request = FIONREAD,
				       .offset = OFFSET,
				       .fd = fd,
				       .in_count = 2,
				       .in = {{first, 512, 4}, {second, 1024, 8}},
				       .out_offset = 1024,
				       .out_width = 8};

	lane_begin(lane, slot_of(1));
	memset(lane->area + 512, 0xff, 1024);
	cr_assert(lane_call(lane, &request, &result) == 0);
	cr_expect(result == 0 && number_at(lane, OFFSET) == 5);
	cr_expect(number_at(lane, 512) > 2 && number_at(lane, 1024) > 2 &&
		  number_at(lane, 1028) == 0);
	cr_expect(number_at(lane, 516) == -1, "eight bytes were written for four");
	cr_assert(request.out_fd >= 0);
	cr_expect(inode_of(request.out_fd) == inode_of(second));
	close(request.out_fd);
	close(fd);
	close(first);
	close(second);
	lane_give(lane);
	end_target(target);
}

/* The end of a pipe: whether anybody else has its other one. */
static bool has_hung_up(int fd)
{
	struct pollfd polled = {.fd = fd};

	for (int i = 0; i < WAIT_MS; i++) {
		if (poll(&polled, 1, 1) == 1)
			return true;
	}
	return false;
}

Test(proxies, it_keeps_no_descriptor_of_a_call, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int device[2], named[2], result = 1;
	struct lane_request request = {.request = FIONREAD,
				       .offset = OFFSET,
				       .in_count = 1,
				       .out_offset = 512,
				       .out_width = 4};

	cr_assert(pipe2(device, O_CLOEXEC) == 0 && pipe2(named, O_CLOEXEC) == 0);
	request.fd = device[0];
	request.in[0].fd = named[0];
	request.in[0].offset = 512;
	request.in[0].width = 4;
	lane_begin(lane, slot_of(1));
	cr_assert(lane_call(lane, &request, &result) == 0 && result == 0);
	cr_expect(request.out_fd >= 0);
	close(request.out_fd);
	close(device[0]);
	close(named[0]);
	cr_expect(has_hung_up(device[1]));
	/* What the driver returned stays until the call is finished, for a successor. */
	cr_expect(poll(&(struct pollfd){.fd = named[1]}, 1, 50) == 0);
	lane_give(lane);
	cr_expect(has_hung_up(named[1]));
	close(device[1]);
	close(named[1]);
	end_target(target);
}

Test(proxies, a_number_of_its_own_is_never_given_away, .init = begin, .fini = end)
{
	static const int numbers[] = {-1,
				      0,
				      1,
				      2,
				      PROXY_TARGET,
				      PROXY_MEMORY,
				      PROXY_OWN_ENDS,
				      PROXY_WORKERS_ENDS,
				      PROXY_END - 1,
				      63,
				      1000000};
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int fd = pipe_with(1);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct lane_request request = {.request = FIONREAD,
					       .offset = OFFSET,
					       .fd = fd,
					       .out_offset = 512,
					       .out_width = 4};
		int result = 1;

		lane_begin(lane, slot_of(i + 1));
		memcpy(lane->area + 512, &numbers[i], sizeof(numbers[i]));
		cr_expect(lane_call(lane, &request, &result) == 0 && result == 0, "%d", numbers[i]);
		cr_expect(request.out_fd == -1, "%d", numbers[i]);
	}
	lane_give(lane);
	close(fd);
	end_target(target);
}

Test(proxies, what_lies_outside_of_the_area_is_not_called, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int fd = pipe_with(1), result;
	struct lane_request requests[] = {
	    {.offset = LANE_AREA + 1},
	    {.in_count = LANE_DESCRIPTORS + 1},
	    {.in_count = 1, .in = {{fd, LANE_AREA - 3, 4}}},
	    {.in_count = 1, .in = {{fd, UINT32_MAX, 4}}},
	    {.in_count = 1, .in = {{fd, 0, 2}}},
	    {.out_width = 4, .out_offset = LANE_AREA - 3},
	    {.out_width = 16},
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		requests[i].request = FIONREAD;
		requests[i].fd = fd;
		lane_begin(lane, slot_of(i + 1));
		cr_expect(lane_call(lane, &requests[i], &result) == -EINVAL, "%zu", i);
	}
	lane_give(lane);
	close(fd);
	end_target(target);
}

/* ---- Who it is ---- */

Test(proxies, it_is_who_its_target_is_and_nothing_more, .init = begin_in_sandbox, .fini = end)
{
	char text[256];
	pid_t target, proxy;
	struct lane *lane;

	if (getuid()) {
		cr_log_warn("not run: only root can be somebody else");
		cr_assert_fail("to be run as root");
	}
	target = start_target_as(1234, 5678);
	lane = lane_of(target);
	proxy = lane->proxy;
	lane_give(lane);
	cr_expect(status_has(proxy, "Uid:\t1234\t1234\t1234\t1234\n"));
	cr_expect(status_has(proxy, "Gid:\t5678\t5678\t5678\t5678\n"));
	cr_expect(status_has(proxy, "Groups:\t \n") || status_has(proxy, "Groups:\t\n"));
	cr_expect(status_has(proxy, "CapPrm:\t0000000000000000\n"));
	cr_expect(status_has(proxy, "CapEff:\t0000000000000000\n"));
	cr_expect(status_has(proxy, "CapInh:\t0000000000000000\n"));
	cr_expect(status_has(proxy, "CapAmb:\t0000000000000000\n"));
	cr_expect(status_has(proxy, "NoNewPrivs:\t1\n"));
	if (!sandbox_excuse())
		cr_expect(status_has(proxy, "Seccomp_filters:\t2\n"));
	read_file(proxy, "comm", text, sizeof(text));
	cr_expect_str_eq(text, "mpu-proxy\n");
	read_file(proxy, "cmdline", text, sizeof(text));
	snprintf(text + 200, 56, "[%d] in web", target);
	cr_expect(strncmp(text, "mpu-proxy: ", 11) == 0 && strstr(text, text + 200), "%s", text);
	cr_expect(getsid(proxy) == proxy);
	end_target(target);
}

Test(proxies, its_target_cannot_reach_it, .init = begin, .fini = end)
{
	pid_t target = start_target_as(1234, 5678), proxy, spy;
	struct lane *lane = lane_of(target);
	int status;

	proxy = lane->proxy;
	lane_give(lane);
	spy = fork();
	if (spy == 0) {
		char path[64];
		int pidfd = pidfd_of_process(proxy), reached = 0;

		if (setresgid(5678, 5678, 5678) || setresuid(1234, 1234, 1234))
			_exit(100);
		snprintf(path, sizeof(path), "/proc/%d/mem", proxy);
		reached |= pidfd_take(pidfd, PROXY_MEMORY) >= 0;
		reached |= (open(path, O_RDONLY) >= 0) << 1;
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", proxy, PROXY_MEMORY);
		reached |= (open(path, O_RDWR) >= 0) << 2;
		snprintf(path, sizeof(path), "/proc/%d/environ", proxy);
		reached |= (open(path, O_RDONLY) >= 0) << 3;
		_exit(reached);
	}
	waitpid(spy, &status, 0);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
	end_target(target);
}

Test(proxies, root_without_rights_has_a_proxy_without_rights, .init = begin, .fini = end)
{
	struct target target __attribute__((cleanup(target_release))) = TARGET_NONE;
	pid_t pid = start_target();
	struct lane *lane;
	int error;

	cr_assert(target_identify(pid, &target) == 0);
	target.capabilities = 0;
	lane = proxies_lane(proxies, &target, "web", &error);
	cr_assert_not_null(lane, "error %d", error);
	cr_expect(status_has(lane->proxy, "Uid:\t0\t0\t0\t0\n"));
	cr_expect(status_has(lane->proxy, "CapPrm:\t0000000000000000\n"));
	cr_expect(status_has(lane->proxy, "CapEff:\t0000000000000000\n"));
	lane_give(lane);
	end_target(pid);
}

Test(proxies, what_the_driver_asks_of_an_administrator_its_proxy_has_and_nothing_else,
     .init = begin, .fini = end)
{
	pid_t target = start_target(); /* with all capabilities */
	struct lane *lane = lane_of(target);

	/* CAP_SYS_ADMIN */
	cr_expect(status_has(lane->proxy, "CapPrm:\t0000000000200000\n"));
	cr_expect(status_has(lane->proxy, "CapEff:\t0000000000200000\n"));
	lane_give(lane);
	end_target(target);
}

Test(proxies, it_has_no_descriptor_but_its_own, .init = begin, .fini = end)
{
	pid_t target = start_target(), proxy;
	struct lane *lane = lane_of(target);
	char path[64];

	proxy = lane->proxy;
	lane_begin(lane, slot_of(1));
	expect_call(lane, 1);
	lane_give(lane);
	snprintf(path, sizeof(path), "/proc/%d/fd", proxy);
	for (int i = 0; i < 100 && count_entries(path) != 2 + 3 + PROXY_BELLS - PROXY_FIRST + 1; i++)
		usleep(1000);
	cr_expect(count_entries(path) == 2 + 3 + PROXY_BELLS - PROXY_FIRST + 1, "%d",
		  count_entries(path));
	end_target(target);
}

/* ENOTTY comes from the file, ENOSYS from the filter. */
Test(proxies, the_sandbox_lets_the_drivers_calls_pass_alone, .init = begin_in_sandbox, .fini = end)
{
	static const struct {
		uint32_t request;
		int result;
	} cases[] = {{0xc020462a, -ENOTTY}, {FIONREAD, -ENOSYS}, {TIOCSTI, -ENOSYS}};
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && !sandbox_excuse(); i++) {
		struct lane_request request = {
		    .request = cases[i].request, .offset = OFFSET, .fd = null};
		int result = 1;

		lane_begin(lane, slot_of(i + 1));
		cr_expect(lane_call(lane, &request, &result) == 0);
		cr_expect(result == cases[i].result, "0x%x: %d", cases[i].request, result);
	}
	lane_give(lane);
	close(null);
	end_target(target);
}

/* ---- Where it is ---- */

static void write_number(const char *folder, const char *name, pid_t pid)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	cr_assert(file && fprintf(file, "%d", pid) > 0 && fclose(file) == 0, "%s", path);
}

static bool is_member(const char *folder, pid_t pid)
{
	char path[512], line[32];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		found |= atoi(line) == pid;
	if (file)
		fclose(file);
	return found;
}

/* Whatever hierarchies the machine has. */
Test(proxies, it_is_in_the_cgroups_of_its_target, .init = begin_in_sandbox, .fini = end)
{
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					    "/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd"};
	char folder[4][96];
	int count = 0;
	pid_t target = start_target(), proxy;
	struct lane *lane;

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		char procs[512];

		snprintf(procs, sizeof(procs), "%s/cgroup.procs", roots[i]);
		snprintf(folder[count], sizeof(folder[count]), "%s/mpu-test-%d", roots[i],
			 getpid());
		if (access(procs, W_OK) || mkdir(folder[count], 0755))
			continue;
		write_number(folder[count++], "cgroup.procs", target);
	}
	cr_assert(count > 0, "there is no cgroup to be made here: not run");
	lane = lane_of(target);
	proxy = lane->proxy;
	lane_give(lane);
	for (int i = 0; i < count; i++)
		cr_expect(is_member(folder[i], proxy), "%s", folder[i]);
	end_target(target);
	cr_expect(wait_until_gone(proxy));
	for (int i = 0; i < count; i++)
		cr_expect(rmdir(folder[i]) == 0, "%s: %s", folder[i], strerror(errno));
}

/* ---- An ordinary user's ---- */

static void begin_as_nobody(void)
{
	cr_assert(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
		  setresuid(NOBODY, NOBODY, NOBODY) == 0);
	/* As a process that was executed by that user. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	begin();
}

Test(proxies, an_ordinary_user_s_are_himself, .init = begin_as_nobody, .fini = end)
{
	pid_t target = start_target();
	struct journal_slot *slot = slot_of(1);
	struct lane *lane;

	expect_call_for(target, 2);
	/* A successor finds them, too. */
	close_proxies();
	open_proxies();
	expect_call_for(target, 3);
	cr_expect(stats().started == 1 && stats().lost == 0);
	lane = lane_of(target);
	lane_begin(lane, slot);
	cr_expect(status_has(lane->proxy, "Uid:\t65534\t65534\t65534\t65534\n"));
	lane_give(lane);
	end_target(target);
}

Test(proxies, an_ordinary_user_s_cannot_be_others, .init = begin_as_nobody, .fini = end)
{
	const struct target others[] = {{.euid = 0, .egid = NOBODY},
					{.euid = NOBODY, .egid = 0},
					{.euid = 1234, .egid = 1234}};
	pid_t pid = start_target();

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct target target = others[i];
		int error = 0;

		target.tgid = pid;
		cr_expect_null(proxies_lane(proxies, &target, "web", &error));
		cr_expect(error == -EPERM, "%zu: %d", i, error);
	}
	cr_expect(stats().live == 0 && stats().started == 0);
	expect_call_for(pid, 1);
	end_target(pid);
}

/* ---- An mpud that becomes a user of its own ---- */

Test(proxies, a_nursery_that_became_a_user_can_be_all_others_still)
{
	const struct privilege_user user = {.uid = NOBODY, .gid = NOBODY};
	struct mpu_error error = {0};
	pid_t target, guard, server;

	journal = journal_new(true);
	journal_begin(journal);
	nursery = nursery_start(SANDBOX_OFF, &user, &error);
	cr_assert(nursery >= 0 && nursery_await(nursery, &error) == 0, "%s", error.text);
	open_proxies();
	server = find_nursery(&guard);
	cr_expect(status_has(server, "Uid:\t65534\t65534\t65534\t65534\n"));
	cr_expect(status_has(guard, "Uid:\t65534\t65534\t65534\t65534\n"));
	cr_expect(status_has(guard, "Groups:\t \n") || status_has(guard, "Groups:\t\n"));
	target = start_target_as(1234, 5678);
	expect_call_for(target, 2);
	cr_expect(status_has(proxies_proxy_of(journal, target), "Uid:\t1234\t1234\t1234\t1234\n"));
	end_target(target);
	target = start_target();
	expect_call_for(target, 3);
	cr_expect(status_has(proxies_proxy_of(journal, target), "Uid:\t0\t0\t0\t0\n"));
	end_target(target);
	end();
}

/* ---- Lanes ---- */

struct user {
	pthread_t thread;
	pid_t target;
	int calls;
};

static void *use_lanes(void *argument)
{
	struct user *user = argument;

	for (int i = 0; i < user->calls; i++)
		expect_call_for(user->target, i % 7 + 1);
	return NULL;
}

Test(proxies, many_threads_share_the_lanes_of_one_target, .init = begin, .fini = end)
{
	struct user users[3 * PROXY_LANES];
	pid_t target = start_target();

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		users[i] = (struct user){.target = target, .calls = 50};
		cr_assert(pthread_create(&users[i].thread, NULL, use_lanes, &users[i]) == 0);
	}
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		pthread_join(users[i].thread, NULL);
	cr_expect(stats().started == 1, "%lu", stats().started);
	end_target(target);
}

Test(proxies, all_lanes_can_be_out_at_once_each_on_its_own, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct lane *lane[PROXY_LANES];

	for (int i = 0; i < PROXY_LANES; i++) {
		lane[i] = lane_of(target);
		lane_begin(lane[i], slot_of((uint64_t)i + 1));
	}
	for (int i = 0; i < PROXY_LANES; i++) {
		expect_call(lane[i], i + 1);
		for (int j = 0; j < i; j++)
			cr_expect(lane[j] != lane[i] && lane[j]->area != lane[i]->area &&
				  number_at(lane[j], OFFSET) == j + 1);
	}
	for (int i = 0; i < PROXY_LANES; i++)
		lane_give(lane[i]);
	end_target(target);
}

Test(proxies, a_target_that_uses_one_lane_costs_two_threads, .init = begin, .fini = end)
{
	pid_t target = start_target(), proxy;
	struct lane *lane;

	for (int i = 0; i < 20; i++)
		expect_call_for(target, 1);
	lane = lane_of(target);
	proxy = lane->proxy;
	lane_give(lane);
	cr_expect(status_has(proxy, "Threads:\t2\n"));
	end_target(target);
}

/* ---- Ends ---- */

Test(proxies, it_ends_with_its_target, .init = begin, .fini = end)
{
	pid_t target = start_target(), proxy;
	struct lane *lane = lane_of(target);

	proxy = lane->proxy;
	lane_give(lane);
	cr_expect(proxies_target_of(journal, proxy) == target);
	cr_expect(proxies_proxy_of(journal, target) == proxy);
	end_target(target);
	cr_expect(wait_until_gone(proxy));
	for (int i = 0; i < WAIT_MS && stats().live; i++)
		usleep(1000);
	cr_expect(stats().live == 0 && stats().lost == 0 && stats().started == 1);
	cr_expect(proxies_proxy_of(journal, target) == 0);
	/* Accounting still tells of the dead. */
	cr_expect(proxies_target_of(journal, proxy) == target);
}

Test(proxies, one_that_was_killed_is_replaced, .init = begin, .fini = end)
{
	pid_t target = start_target(), former;
	struct lane *lane = lane_of(target);

	former = lane->proxy;
	lane_give(lane);
	kill(former, SIGKILL);
	cr_expect(wait_until_gone(former));
	expect_call_for(target, 4);
	cr_expect(stats().live == 1 && stats().lost == 1 && stats().started == 2);
	cr_expect(proxies_proxy_of(journal, target) != former);
	/* The driver may know the target's clients by that number still. */
	cr_expect(proxies_target_of(journal, former) == target);
	cr_expect(proxies_target_of(journal, proxies_proxy_of(journal, target)) == target);
	end_target(target);
}

/* All of its threads. */
static void stop(pid_t proxy)
{
	bool running = true;

	kill(proxy, SIGSTOP);
	while (running) {
		char path[64], name[64];
		const struct dirent *entry;
		DIR *tasks;

		running = false;
		snprintf(path, sizeof(path), "/proc/%d/task", proxy);
		tasks = opendir(path);
		cr_assert_not_null(tasks);
		while ((entry = readdir(tasks))) {
			char text[512] = "";

			snprintf(name, sizeof(name), "task/%.16s/stat", entry->d_name);
			if (entry->d_name[0] != '.')
				read_file(proxy, name, text, sizeof(text));
			running |= entry->d_name[0] != '.' && !strstr(text, ") T ");
		}
		closedir(tasks);
	}
}

/* A call that does not come back: a lane whose proxy stands still. */
struct blocked {
	pthread_t thread;
	struct lane *lane;
	int failed, result;
};

static void *call_blocked(void *argument)
{
	struct blocked *blocked = argument;
	int fd = pipe_with(1);

	blocked->failed = call(blocked->lane, fd, &blocked->result);
	close(fd);
	return NULL;
}

/* The first call on a lane is waited for at its socket, later ones at its bell. */
static void begin_blocked_call(struct blocked *blocked, pid_t target, int calls)
{
	for (int i = 0; i < calls; i++)
		expect_call_for(target, 1);
	blocked->lane = lane_of(target);
	lane_begin(blocked->lane, slot_of(77));
	stop(blocked->lane->proxy);
	cr_assert(pthread_create(&blocked->thread, NULL, call_blocked, blocked) == 0);
	while (atomic_load(&blocked->lane->record->phase) != LANE_SENT)
		usleep(1000);
	usleep(10000);
}

static void expect_killed_in_a_call(int calls)
{
	pid_t target = start_target();
	struct blocked blocked;

	begin_blocked_call(&blocked, target, calls);
	kill(blocked.lane->proxy, SIGKILL);
	pthread_join(blocked.thread, NULL);
	cr_expect(blocked.failed == -EPIPE, "%d", blocked.failed);
	lane_give(blocked.lane);
	expect_call_for(target, 2);
	end_target(target);
}

Test(proxies, killed_in_a_call_it_fails_that_call, .init = begin, .fini = end)
{
	for (int calls = 0; calls < 4; calls++)
		expect_killed_in_a_call(calls);
}

/* SIGSTOP takes a thread out of the system call that is its bell. */
Test(proxies, one_that_was_stopped_goes_on, .init = begin, .fini = end)
{
	pid_t target = start_target();

	for (int calls = 0; calls < 8; calls++) {
		struct blocked blocked;

		begin_blocked_call(&blocked, target, calls);
		kill(blocked.lane->proxy, SIGCONT);
		pthread_join(blocked.thread, NULL);
		cr_expect(blocked.failed == 0 && blocked.result == 0, "failed %d result %d",
			  blocked.failed, blocked.result);
		cr_expect(number_at(blocked.lane, OFFSET) == 1);
		lane_give(blocked.lane);
	}
	cr_expect(stats().started == 1);
	end_target(target);
}

static void expect_target_ends_in_a_call(int calls)
{
	pid_t target = start_target();
	struct blocked blocked;
	pid_t proxy;

	begin_blocked_call(&blocked, target, calls);
	proxy = blocked.lane->proxy;
	end_target(target);
	kill(proxy, SIGCONT);
	pthread_join(blocked.thread, NULL);
	/* The call was faster than the news of the end, or it was not. */
	cr_expect(blocked.failed == 0 || blocked.failed == -EPIPE, "%d", blocked.failed);
	cr_expect(wait_until_gone(proxy));
	lane_give(blocked.lane);
}

Test(proxies, a_target_that_ends_in_a_call_ends_it, .init = begin, .fini = end)
{
	for (int calls = 0; calls < 4; calls++)
		expect_target_ends_in_a_call(calls);
}

Test(proxies, of_a_target_that_is_gone_there_is_none, .init = begin, .fini = end)
{
	struct target target __attribute__((cleanup(target_release))) = TARGET_NONE;
	pid_t pid = start_target();
	int error;

	cr_assert(target_identify(pid, &target) == 0);
	end_target(pid);
	cr_expect_null(proxies_lane(proxies, &target, "web", &error));
	cr_expect(error == -ESRCH, "%d", error);
}

Test(proxies, a_process_that_has_its_number_by_now_is_not_the_target, .init = begin, .fini = end)
{
	struct target target __attribute__((cleanup(target_release))) = TARGET_NONE;
	pid_t pid = start_target();
	struct lane *lane = lane_of(pid);

	lane_give(lane);
	/* As if the number had been given to a process that began at another time. */
	for (uint32_t i = 0; i < JOURNAL_PROXIES; i++)
		if (journal_proxy(journal, i)->target.pid == pid)
			journal_proxy(journal, i)->target.start++;
	cr_expect(proxies_proxy_of(journal, pid) == 0);
	end_target(pid);
}

Test(proxies, its_number_is_another_process_s_once_that_has_it, .init = begin, .fini = end)
{
	pid_t pid = start_target(), other = start_target();
	struct lane *lane = lane_of(pid);
	pid_t proxy = lane->proxy;

	lane_give(lane);
	end_target(pid);
	cr_expect(wait_until_gone(proxy));
	for (uint32_t i = 0; i < JOURNAL_PROXIES; i++)
		if (journal_proxy(journal, i)->proxy.pid == proxy)
			journal_proxy(journal, i)->proxy =
			    (struct journal_process){other, task_start_ticks(other) - 1};
	cr_expect(proxies_target_of(journal, other) == 0);
	cr_expect(proxies_target_of(journal, getpid()) == 0);
	end_target(other);
}

Test(proxies, a_thousand_short_targets_leave_nothing, .init = begin, .fini = end, .timeout = 300)
{
	int before = count_descriptors();

	for (int i = 0; i < 1000; i++) {
		pid_t target = start_target();

		expect_call_for(target, 1);
		end_target(target);
	}
	for (int i = 0; i < WAIT_MS && stats().live; i++)
		usleep(1000);
	cr_expect(stats().live == 0 && stats().lost == 0 && stats().started == 1000,
		  "live %u lost %lu started %lu", stats().live, stats().lost, stats().started);
	cr_expect(count_descriptors() <= before, "%d descriptors, were %d", count_descriptors(),
		  before);
}

Test(proxies, a_full_table_fails_at_once, .init = begin, .fini = end)
{
	pid_t target = start_target(), other = start_target();
	int error = 0;

	for (uint32_t i = 0; i < JOURNAL_PROXIES; i++)
		atomic_store(&journal_proxy(journal, i)->state, JOURNAL_PROXY_LIVE);
	cr_expect_null(lane_for(target, &error));
	cr_expect(error == -EAGAIN, "%d", error);
	atomic_store(&journal_proxy(journal, 500)->state, JOURNAL_PROXY_ENDED);
	expect_call_for(target, 1);
	cr_expect_null(lane_for(other, &error));
	end_target(target);
	end_target(other);
}

/* ---- The nursery ---- */

Test(proxies, a_nursery_that_dies_is_replaced, .init = begin, .fini = end)
{
	for (int i = 0; i < 5; i++) {
		pid_t guard, server = find_nursery(&guard), target = start_target();

		kill(server, SIGKILL);
		expect_call_for(target, 1);
		end_target(target);
	}
}

Test(proxies, a_nursery_whose_guard_dies_guards_another_one, .init = begin_in_sandbox, .fini = end)
{
	for (int i = 0; i < 5; i++) {
		pid_t guard, server = find_nursery(&guard), other;

		kill(guard, SIGKILL);
		cr_expect(wait_until_gone(guard));
		for (int j = 0; j < WAIT_MS && !child_of(server); j++)
			usleep(1000);
		other = find_nursery(&guard);
		cr_expect(guard == server && other != server);
	}
}

Test(proxies, without_a_nursery_there_are_none)
{
	struct target target = {.tgid = getpid(), .pid_ns = -1};
	int error = 0;

	journal = journal_new(true);
	journal_begin(journal);
	proxies = proxies_new(journal, -1);
	cr_expect_null(proxies_lane(proxies, &target, "web", &error));
	cr_expect(error == -EAGAIN);
	proxies_free(proxies);
	journal_free(journal);
}

Test(proxies, the_nursery_ends_when_nobody_can_ask)
{
	pid_t guard, server;

	begin();
	server = find_nursery(&guard);
	end();
	cr_expect(wait_until_gone(server));
	cr_expect(wait_until_gone(guard));
}

/* ---- A worker's successor ---- */

/* What a worker does until it dies, at STAGE. */
enum stage { STAGE_LANE, STAGE_BUILDING, STAGE_SENT_NOT_ARRIVED, STAGE_SENT, STAGE_DONE, STAGES };

static void work_until(enum stage stage, int calls, pid_t target, struct journal_slot *slot)
{
	struct lane *lane;
	int fd = pipe_with(6), named = pipe_with(2), result;
	struct lane_request request = {.id = slot->notification.id,
				       .request = FIONREAD,
				       .offset = OFFSET,
				       .fd = fd,
				       .in_count = 1,
				       .in = {{named, 512, 4}},
				       .out_offset = 512,
				       .out_width = 4};

	for (int i = 0; i < calls; i++)
		expect_call_for(target, 1);
	lane = lane_of(target);
	if (stage == STAGE_LANE)
		return;
	lane_begin(lane, slot);
	/* To be counted: the call adds to nothing, but its answer must be new. */
	memset(lane->area + OFFSET, 0xee, 4);
	if (stage == STAGE_SENT_NOT_ARRIVED) {
		/* As in lane_call(), which died between the two. */
		lane->record->request = FIONREAD;
		lane->record->offset = OFFSET;
		lane->record->in_count = 0;
		lane->record->out_width = 0;
		atomic_store(&lane->record->phase, LANE_SENT);
	}
	if (stage == STAGE_SENT)
		stop(lane->proxy);
	slot->retries = 1; /* to be seen by the test: what comes next is the call */
	if (stage >= STAGE_SENT)
		lane_call(lane, &request, &result);
}

static pid_t start_worker(enum stage stage, int calls, pid_t target, struct journal_slot *slot,
			  int *done)
{
	int ends[2];
	pid_t worker;

	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	worker = fork();
	if (worker == 0) {
		proxies = proxies_new(journal, nursery);
		work_until(stage, calls, target, slot);
		if (write(ends[1], ".", 1) == 1)
			pause();
		_exit(0);
	}
	close(ends[1]);
	*done = ends[0];
	return worker;
}

/* Killed when it has come to STAGE. */
static void kill_worker_at(enum stage stage, int calls, pid_t target, struct journal_slot *slot)
{
	int done;
	pid_t worker = start_worker(stage, calls, target, slot, &done);
	char byte;

	if (stage == STAGE_SENT) {
		while (!slot->retries)
			usleep(1000);
		for (int asleep = 0; asleep < 50; asleep++) {
			usleep(1000);
			asleep = status_has(worker, "State:\tS") ? asleep : 0;
		}
	} else {
		cr_assert(read(done, &byte, 1) == 1);
	}
	kill(worker, SIGKILL);
	waitpid(worker, NULL, 0);
	close(done);
	close_proxies();
	open_proxies();
}

static void expect_finished(struct lane *lane)
{
	struct lane_request request;
	int result = 1;
	int failed = lane_finish(lane, &request, &result);

	cr_expect(failed == 0 && result == 0, "failed %d result %d", failed, result);
	cr_expect(number_at(lane, OFFSET) == 6, "%d", number_at(lane, OFFSET));
	cr_expect(request.id == 99 && request.request == FIONREAD && request.offset == OFFSET);
	cr_expect(request.out_fd >= 0);
	close(request.out_fd);
}

static void expect_succession_after(enum stage stage, int calls)
{
	uint64_t before = stats().started;
	pid_t target = start_target();
	struct journal_slot *slot = slot_of(99);
	struct lane_request request;
	struct lane *lane;
	int result;

	kill_worker_at(stage, calls, target, slot);
	if (stage == STAGE_SENT)
		kill(proxies_proxy_of(journal, target), SIGCONT);
	cr_expect(proxies_proxy_of(journal, target) > 0, "stage %d", stage);
	lane = slot->lane ? proxies_resume(proxies, slot) : NULL;
	cr_assert((lane != NULL) == (stage > STAGE_LANE), "stage %d", stage);
	switch (stage) {
	case STAGE_BUILDING:
		cr_expect(atomic_load(&lane->record->phase) == LANE_BUILDING);
		break;
	case STAGE_SENT_NOT_ARRIVED:
		cr_expect(atomic_load(&lane->record->phase) == LANE_SENT);
		cr_expect(lane_finish(lane, &request, &result) == -ENOENT);
		break;
	case STAGE_SENT:
	case STAGE_DONE:
		expect_finished(lane);
		/* And once more: a successor may die, too. */
		expect_finished(lane);
		break;
	default:
		break;
	}
	if (lane && stage < STAGE_SENT) {
		lane_begin(lane, slot);
		expect_call(lane, 9);
	}
	if (lane)
		lane_give(lane);
	cr_expect(slot->lane == 0);
	/* The lane is as good as any: all of them can be had again. */
	for (int i = 0; i < 2 * PROXY_LANES; i++)
		expect_call_for(target, 3);
	cr_expect(stats().started == before + 1 && stats().lost == 0);
	end_target(target);
}

static void expect_succession(enum stage stage)
{
	for (int calls = 0; calls < 4; calls++)
		expect_succession_after(stage, calls);
}

Test(succession, of_a_worker_that_had_a_lane, .init = begin, .fini = end)
{
	expect_succession(STAGE_LANE);
}

Test(succession, of_a_worker_that_was_building, .init = begin, .fini = end)
{
	expect_succession(STAGE_BUILDING);
}

Test(succession, of_a_worker_that_was_about_to_send, .init = begin, .fini = end)
{
	expect_succession(STAGE_SENT_NOT_ARRIVED);
}

Test(succession, of_a_worker_that_had_sent, .init = begin, .fini = end)
{
	expect_succession(STAGE_SENT);
}

Test(succession, of_a_worker_that_had_the_result, .init = begin, .fini = end)
{
	expect_succession(STAGE_DONE);
}

/* Nobody takes the call up: its slot was given to another one. */
static void expect_abandoned(enum stage stage)
{
	struct lane *lane[PROXY_LANES];
	pid_t target = start_target();
	struct journal_slot *slot = slot_of(99);
	uint64_t before = stats().started;

	kill_worker_at(stage, (int)stage, target, slot);
	kill(proxies_proxy_of(journal, target), SIGCONT);
	journal_give(journal, slot);
	for (int i = 0; i < PROXY_LANES; i++) {
		lane[i] = lane_of(target);
		lane_begin(lane[i], slot_of((uint64_t)i + 1));
		expect_call(lane[i], i + 1);
	}
	for (int i = 0; i < PROXY_LANES; i++)
		lane_give(lane[i]);
	cr_expect(stats().started == before + 1 && stats().lost == 0);
	end_target(target);
}

Test(succession, a_call_that_nobody_takes_up_frees_its_lane, .init = begin, .fini = end)
{
	for (enum stage stage = STAGE_BUILDING; stage < STAGES; stage++)
		expect_abandoned(stage);
}

Test(succession, the_lane_of_another_call_is_not_resumed, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct journal_slot *slot = slot_of(99), *other = slot_of(100);

	kill_worker_at(STAGE_DONE, 0, target, slot);
	other->lane = slot->lane;
	cr_expect_null(proxies_resume(proxies, other));
	other->lane = UINT32_MAX;
	cr_expect_null(proxies_resume(proxies, other));
	slot->notification.id++;
	cr_expect_null(proxies_resume(proxies, slot));
	end_target(target);
}

Test(succession, of_a_worker_whose_proxy_died_too, .init = begin, .fini = end)
{
	pid_t target = start_target();
	struct journal_slot *slot = slot_of(99);
	pid_t proxy;

	kill_worker_at(STAGE_SENT, 2, target, slot);
	proxy = proxies_proxy_of(journal, target);
	kill(proxy, SIGKILL);
	cr_expect(wait_until_gone(proxy));
	cr_expect_null(proxies_resume(proxies, slot));
	expect_call_for(target, 1);
	end_target(target);
}

Test(succession, a_proxy_that_nobody_has_used_ends_by_itself, .init = begin, .fini = end,
     .timeout = 60)
{
	pid_t target = start_target(), proxy;
	struct lane *lane = lane_of(target);

	proxy = lane->proxy;
	lane_give(lane);
	for (int i = 0; i < 15 && !is_gone(proxy); i++)
		usleep(1000000);
	cr_expect(is_gone(proxy));
	expect_call_for(target, 1);
	end_target(target);
}

/* Not a verdict: what a call costs, as the log says. */
Test(latency, of_a_call_on_a_lane, .init = begin, .fini = end)
{
	enum { CALLS = 5000 };
	pid_t target = start_target();
	struct lane *lane = lane_of(target);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), result;
	struct timespec from, to;

	lane_begin(lane, slot_of(1));
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < CALLS; i++) {
		lane->record->turn++;
		cr_assert(call(lane, null, &result) == 0 && result == -ENOTTY);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	fprintf(stderr, "a call on a lane: %.1f us\n",
		((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
		    1e3 / CALLS);
	lane_give(lane);
	close(null);
	end_target(target);
}
