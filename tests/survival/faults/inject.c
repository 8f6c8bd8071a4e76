/* Runs a program and lets system calls of its choice fail:
 *
 *   inject --control=FILE CALL[=REQUEST]|all -- PROGRAM [ARGUMENTS]
 *
 * The program keeps the process id. A process beside it traces it and all that it starts (ptrace, by
 * a seccomp filter, so that other calls cost nothing), and does what stands in FILE, which the test
 * changes as it goes: struct control. REQUEST is the second argument's low 32 bits, of ioctl,
 * epoll_ctl and fcntl. With
 * "all" calls are counted and none fails. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_PROCESS = 1, OTHER_PROCESSES = 2, KINDS = 512 };

/* faults.py knows this layout. All of it uint32_t. */
struct control {
	_Atomic uint32_t armed;
	uint32_t who; /* FIRST_PROCESS, OTHER_PROCESSES, or both; never what the program executes */
	uint32_t errnum;
	_Atomic uint32_t skip; /* so many calls go well before the first fails */
	uint32_t every;	       /* then each of so many fails; 0: no other */
	_Atomic uint32_t seen; /* while armed */
	_Atomic uint32_t failed;
	uint32_t crashed; /* signals that end a program that is at fault */
	uint32_t tracer; /* process id */
	char thread[16]; /* the name of the one whose call failed last */
	struct {
		uint32_t number, request;
		uint32_t count[2]; /* of the first process, of others */
	} kind[KINDS];
};

struct inject {
	struct control *control;
	bool all;
	struct stat program;
	pid_t first;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(125);
}

static struct control *map_control(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct control *control;

	if (fd < 0 || ftruncate(fd, sizeof(*control)))
		fail(path);
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		fail(path);
	close(fd);
	return control;
}

/* ---- The filter ---- */

static void add_call(scmp_filter_ctx filter, char *word)
{
	char *request = strchr(word, '=');
	int number, result;

	if (request)
		*request++ = '\0';
	number = seccomp_syscall_resolve_name(word);
	if (number < 0) {
		fprintf(stderr, "inject: there is no system call %s\n", word);
		exit(125);
	}
	if (request)
		result = seccomp_rule_add(filter, SCMP_ACT_TRACE(0), number, 1,
					  SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff,
						  strtoul(request, NULL, 0)));
	else
		result = seccomp_rule_add(filter, SCMP_ACT_TRACE(0), number, 0);
	if (result) {
		errno = -result;
		fail(word);
	}
}

static void filter_calls(bool all, char *word)
{
	scmp_filter_ctx filter = seccomp_init(all ? SCMP_ACT_TRACE(0) : SCMP_ACT_ALLOW);
	int result;

	if (!filter)
		fail("cannot make a filter");
	if (geteuid() == 0)
		seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	if (!all)
		add_call(filter, word);
	result = seccomp_load(filter);
	if (result) {
		errno = -result;
		fail("cannot load the filter");
	}
}

/* ---- The tracer ---- */

static bool is_ours(const struct inject *inject, pid_t tid)
{
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	return !stat(path, &st) && st.st_dev == inject->program.st_dev &&
	       st.st_ino == inject->program.st_ino;
}

static bool is_first_process(const struct inject *inject, pid_t tid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", inject->first, tid);
	return access(path, F_OK) == 0;
}

static void note_thread(struct control *control, pid_t tid)
{
	char path[40], name[sizeof(control->thread)] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, name, sizeof(name) - 1) > 0)
		name[strcspn(name, "\n")] = '\0';
	close(fd);
	memcpy(control->thread, name, sizeof(name));
}

/* The call is not made; its result is -ERRNUM. */
static void let_fail(pid_t tid, uint32_t errnum)
{
#if defined(__x86_64__)
	ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, orig_rax), -1L);
	ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), -(long)errnum);
#elif defined(__aarch64__)
	struct user_regs_struct registers;
	struct iovec all = {.iov_base = &registers, .iov_len = sizeof(registers)};
	int none = -1;
	struct iovec number = {.iov_base = &none, .iov_len = sizeof(none)};

	ptrace(PTRACE_GETREGSET, tid, 1 /* NT_PRSTATUS */, &all);
	registers.regs[0] = (unsigned long)-(long)errnum;
	ptrace(PTRACE_SETREGSET, tid, 1, &all);
	ptrace(PTRACE_SETREGSET, tid, 0x404 /* NT_ARM_SYSTEM_CALL */, &number);
#else
#error "no other architecture"
#endif
}

/* Only the tracer writes these. */
static void count_call(struct control *control, const struct __ptrace_syscall_info *info, bool first)
{
	uint32_t number = (uint32_t)info->seccomp.nr;
	bool has_request = number == SCMP_SYS(ioctl) || number == SCMP_SYS(epoll_ctl) ||
			   number == SCMP_SYS(fcntl);
	uint32_t request = has_request ? (uint32_t)info->seccomp.args[1] : 0;

	for (int i = 0; i < KINDS; i++) {
		bool free = !control->kind[i].count[0] && !control->kind[i].count[1];

		if (!free && (control->kind[i].number != number ||
			      control->kind[i].request != request))
			continue;
		control->kind[i].number = number;
		control->kind[i].request = request;
		control->kind[i].count[!first]++;
		return;
	}
}

/* Whether this one is to fail. */
static bool is_due(struct control *control)
{
	atomic_fetch_add(&control->seen, 1);
	if (atomic_load(&control->skip)) {
		atomic_fetch_sub(&control->skip, 1);
		return false;
	}
	if (control->every)
		atomic_store(&control->skip, control->every - 1);
	else
		atomic_store(&control->armed, 0);
	return true;
}

static void on_call(const struct inject *inject, pid_t tid)
{
	struct control *control = inject->control;
	struct __ptrace_syscall_info info;
	bool first;

	if (!inject->all && !atomic_load(&control->armed))
		return;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0 || !is_ours(inject, tid))
		return;
	first = is_first_process(inject, tid);
	if (inject->all) {
		count_call(control, &info, first);
	} else if (control->who & (first ? FIRST_PROCESS : OTHER_PROCESSES) && is_due(control)) {
		let_fail(tid, control->errnum);
		note_thread(control, tid);
		atomic_fetch_add(&control->failed, 1);
	}
}

static bool is_stop_signal(int number)
{
	return number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

static bool is_crash(int number)
{
	return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE ||
	       number == SIGABRT || number == SIGSYS;
}

static void serve(const struct inject *inject)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		int event = status >> 16, number = WSTOPSIG(status);

		if (tid < 0 || !WIFSTOPPED(status))
			continue;
		if (event == PTRACE_EVENT_SECCOMP)
			on_call(inject, tid);
		if (!event && is_crash(number) && is_ours(inject, tid))
			inject->control->crashed++;
		if (event == PTRACE_EVENT_STOP && is_stop_signal(number))
			ptrace(PTRACE_LISTEN, tid, 0, 0);
		else
			ptrace(PTRACE_CONT, tid, 0, event ? 0 : (long)number);
	}
}

static _Noreturn void trace(struct inject *inject, int seized)
{
	const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	inject->control->tracer = (uint32_t)getpid();
	if (ptrace(PTRACE_SEIZE, inject->first, 0, options))
		fail("cannot trace");
	if (write(seized, "s", 1) != 1)
		_exit(125);
	/* Nobody shall wait for us to close what is the program's. */
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close_range(3, ~0U, 0);
	serve(inject);
	_exit(0);
}

/* The tracer is no child of the program. */
static void start_tracer(struct inject *inject)
{
	int seized[2];
	pid_t between;
	char word;

	if (pipe2(seized, O_CLOEXEC))
		fail("pipe");
	between = fork();
	if (between == 0) {
		if (fork() == 0)
			trace(inject, seized[1]);
		_exit(0);
	}
	close(seized[1]);
	if (between < 0 || waitpid(between, NULL, 0) < 0 || read(seized[0], &word, 1) != 1)
		fail("no tracer");
	close(seized[0]);
}

int main(int argc, char **argv)
{
	static const char control[] = "--control=";
	struct inject inject = {.first = getpid()};

	if (argc < 5 || strncmp(argv[1], control, strlen(control)) != 0 ||
	    strcmp(argv[3], "--") != 0) {
		fprintf(stderr, "usage: inject --control=FILE CALL[=REQUEST]|all -- PROGRAM "
				"[ARGUMENTS]\n");
		return 125;
	}
	inject.control = map_control(argv[1] + strlen(control));
	inject.all = strcmp(argv[2], "all") == 0;
	if (stat(argv[4], &inject.program))
		fail(argv[4]);
	start_tracer(&inject);
	filter_calls(inject.all, argv[2]);
	execv(argv[4], argv + 4);
	fail(argv[4]);
}
