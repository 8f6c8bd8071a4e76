/* Each case runs in a child of its own, which puts itself under a role's filter and tries. It makes
 * system calls by number, so that no C library stands between. */
#include "supervisor/sandbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	K = 1 << SANDBOX_KEEPER,
	W = 1 << SANDBOX_WORKER,
	C = 1 << SANDBOX_CONTROL,
	N = 1 << SANDBOX_ENGINE,
	E = 1 << SANDBOX_EXECUTOR,
	M = 1 << SANDBOX_METRICS,
	R = 1 << SANDBOX_NURSERY,
	P = 1 << SANDBOX_PROXY,
	ALL = K | W | C | N | E | M | R
};

static const char *const names[] = {"keeper", "worker", "control", "engine", "executor",
				   "metrics", "nursery", "proxy"};

/* How a child tells that it came to nothing. */
enum { NO_SANDBOX = 200 };

struct attempt {
	const char *name;
	long number;
	long argument[4];
	int roles; /* that may */
};

static struct sandbox sandbox;

/* As it comes to be in mpud: inside those that make it. */
static void enter(enum sandbox_role role)
{
	static const int inside[] = {[SANDBOX_KEEPER] = K,
				     [SANDBOX_WORKER] = K | W,
				     [SANDBOX_CONTROL] = K | W | C,
				     [SANDBOX_ENGINE] = K | W | N,
				     [SANDBOX_EXECUTOR] = K | W | N | E,
				     [SANDBOX_METRICS] = K | W | M,
				     [SANDBOX_NURSERY] = R,
				     [SANDBOX_PROXY] = R | P};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		_exit(NO_SANDBOX);
	for (unsigned int one = 0; one <= role; one++)
		if (inside[role] & 1 << one &&
		    sandbox_enter(&sandbox, (enum sandbox_role)one, NULL))
			_exit(NO_SANDBOX);
}

static void build(void)
{
	sandbox_prepare(&sandbox, false, true);
}

/* How a child ends that is under ROLE and makes the call: with the errno, or by a signal. */
static int try_call(enum sandbox_role role, const struct attempt *attempt)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		const long *argument = attempt->argument;
		long result;

		enter(role);
		result =
		    syscall(attempt->number, argument[0], argument[1], argument[2], argument[3]);
		/* The other side of a fork that was allowed ends here too. */
		syscall(SYS_exit_group, result < 0 ? errno : 0);
	}
	cr_assert(child > 0 && waitpid(child, &status, 0) == child);
	return status;
}

static const long outer = AT_FDCWD;

Test(sandbox, who_makes_a_call_of_an_intruder_is_killed, .init = build)
{
	static const char *const nobody[] = {NULL};
	const struct attempt attempts[] = {
	    {"execve", SYS_execve, {(long)"/bin/true", (long)nobody, (long)nobody}, 0},
	    {"execveat", SYS_execveat, {outer, (long)"/bin/true", (long)nobody, (long)nobody}, 0},
	    {"ptrace", SYS_ptrace, {PTRACE_TRACEME}, 0},
	    {"ptrace of another", SYS_ptrace, {PTRACE_SEIZE, 1}, 0},
	    {"mount", SYS_mount, {(long)"none", (long)"/tmp", (long)"tmpfs", 0}, 0},
	    {"umount2", SYS_umount2, {(long)"/nowhere", 0}, 0},
	    {"bpf", SYS_bpf, {BPF_MAP_CREATE, 0, 0}, 0},
	    {"init_module", SYS_init_module, {0, 0, 0}, 0},
	    {"finit_module", SYS_finit_module, {-1, 0, 0}, 0},
	    {"unshare", SYS_unshare, {CLONE_NEWUSER}, 0},
	    {"setns", SYS_setns, {-1, 0}, 0},
	    {"chroot", SYS_chroot, {(long)"/tmp"}, 0},
	    {"userfaultfd", SYS_userfaultfd, {O_CLOEXEC}, 0},
	    {"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1}, 0},
	    {"mknodat", SYS_mknodat, {outer, (long)"/tmp/mpu-no-node", 0600, 0}, 0},
	    {"kexec_load", SYS_kexec_load, {0, 0, 0, 0}, 0},
	};

	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		for (unsigned int role = 0; role < SANDBOX_ROLES; role++) {
			int status = try_call((enum sandbox_role)role, &attempts[i]);

			cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
				  "%s in a %s: status 0x%x", attempts[i].name, names[role], status);
		}
}

#ifdef __x86_64__
static const long killed_abi = 1;

static long call_as_32_bits(long number)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}
#else
static const long killed_abi;

static long call_as_32_bits(long number)
{
	return number;
}
#endif

Test(sandbox, who_calls_as_another_architecture_is_killed, .init = build)
{
	for (unsigned int role = 0; killed_abi && role < SANDBOX_ROLES; role++) {
		int status = 0;
		pid_t child = fork();

		if (child == 0) {
			enter((enum sandbox_role)role);
			_exit(call_as_32_bits(20 /* getpid */) > 0 ? 0 : 1);
		}
		waitpid(child, &status, 0);
		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status 0x%x",
			  names[role], status);
	}
}

Test(sandbox, calls_that_a_role_does_not_need_fail_as_on_a_kernel_without_them, .init = build)
{
	static uint64_t clone_arguments[8];
	const long page = sysconf(_SC_PAGESIZE);
	void *memory = mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct attempt attempts[] = {
	    {"socket of the internet", SYS_socket, {AF_INET, SOCK_STREAM, 0}, 0},
	    {"socket of netlink", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}, 0},
	    {"packet socket", SYS_socket, {AF_PACKET, SOCK_RAW, 0}, 0},
	    {"UNIX socket", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, K},
	    {"bind", SYS_bind, {-1, 0, 0}, 0},
	    {"connect", SYS_connect, {-1, 0, 0}, 0},
	    {"open to write", SYS_openat, {outer, (long)"/dev/null", O_WRONLY}, R},
	    {"open to create", SYS_openat, {outer, (long)"/tmp/mpu-no-file", O_CREAT, 0600}, 0},
	    {"open to read", SYS_openat, {outer, (long)"/dev/null", O_RDONLY}, ALL},
	    {"rename", SYS_renameat2, {outer, (long)"/nowhere", outer, (long)"/there"}, 0},
	    {"memory to execute", SYS_mprotect, {(long)memory, page, PROT_READ | PROT_EXEC}, 0},
	    {"memory to read", SYS_mprotect, {(long)memory, page, PROT_READ}, ALL | P},
	    {"clone3", SYS_clone3, {(long)clone_arguments, sizeof(clone_arguments)}, R},
	    {"fork", SYS_clone, {SIGCHLD}, K | R},
	    {"fork into namespaces", SYS_clone, {CLONE_NEWUSER | SIGCHLD}, 0},
	    {"ioctl", SYS_ioctl, {-1, 0x5401, 0}, K | W | N | E | M},
	    {"ioctl of UVM", SYS_ioctl, {-1, 25, 0}, K | W | N | E | M | R | P},
	    {"ioctl of the driver", SYS_ioctl, {-1, 'F' << 8, 0}, K | W | N | E | M | R | P},
	    {"mapping of a file", SYS_mmap, {0, 0, PROT_READ, MAP_SHARED}, ALL},
	    {"memory", SYS_mmap, {0, 0, PROT_READ, MAP_ANONYMOUS}, ALL | P},
	    {"memory to execute at once", SYS_mmap, {0, 0, PROT_EXEC, MAP_ANONYMOUS}, 0},
	    {"read", SYS_read, {-1, 0, 0}, ALL},
	    {"duplicating of others' descriptors", SYS_pidfd_getfd, {-1, 0, 0}, K | W | N | E},
	    {"others' memory", SYS_process_vm_readv, {getpid(), 0, 0, 0}, K | W | N | E},
	    {"groups", SYS_setgroups, {-1, 0}, R},
	    {"setuid", SYS_setuid, {0}, 0},
	    {"kill", SYS_kill, {getpid(), 0}, K},
	    {"setresuid", SYS_setresuid, {-1, -1, -1}, K | W | N | E | R},
	    {"pidfd_open", SYS_pidfd_open, {getpid(), 0}, K | W | N | E | R},
	    {"accept4", SYS_accept4, {-1, 0, 0, 0}, K | W | C | M},
	    {"recvmsg", SYS_recvmsg, {-1, 0, 0}, K | W | N | E | R | P},
	    {"epoll_create1", SYS_epoll_create1, {0}, K | W | N | M},
	    {"memfd_create", SYS_memfd_create, {(long)"", 0}, K | R},
	    {"another filter", SYS_seccomp, {0, 0, 0}, K | W | N | R | P},
	    {"other words of prctl", SYS_prctl, {PR_GET_DUMPABLE}, K | R},
	    {"io_uring", SYS_io_uring_setup, {1, 0}, 0},
	    {"resource limits", SYS_prlimit64, {0, 0, (long)clone_arguments, 0}, R},
	};

	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		for (unsigned int role = 0; role < SANDBOX_ROLES; role++) {
			int status = try_call((enum sandbox_role)role, &attempts[i]);
			bool refused = WIFEXITED(status) && WEXITSTATUS(status) == ENOSYS;

			cr_expect(WIFEXITED(status) && WEXITSTATUS(status) != NO_SANDBOX,
				  "%s in a %s: status 0x%x", attempts[i].name, names[role], status);
			cr_expect(refused == !(attempts[i].roles & 1 << role),
				  "%s in a %s: status 0x%x", attempts[i].name, names[role], status);
		}
	munmap(memory, (size_t)page);
}

static void *thread(void *argument)
{
	const enum sandbox_role *roles = argument;
	static const char byte = '.';
	pthread_t another;
	char copy;

	sandbox_enter_thread(&sandbox, *roles);
	if (*roles != SANDBOX_EXECUTOR)
		return pthread_create(&another, NULL, thread, (void *)(roles + 1)) ||
			       pthread_join(another, argument ? &argument : NULL)
			   ? (void *)(uintptr_t) "no thread"
			   : argument;
	if (syscall(SYS_setresuid, -1, -1, -1) || syscall(SYS_setresgid, -1, -1, -1))
		return (void *)(uintptr_t) "cannot be somebody";
	if (syscall(SYS_process_vm_readv, getpid(), &(struct iovec){&copy, 1}, 1,
		    &(struct iovec){(void *)(uintptr_t)&byte, 1}, 1, 0) != 1)
		return (void *)(uintptr_t) "cannot read memory";
	/* One that an executor made is in the narrowest filter already. */
	sandbox_enter_thread(&sandbox, SANDBOX_EXECUTOR);
	return NULL;
}

Test(sandbox, a_role_inside_those_that_make_it_can_do_its_work, .init = build)
{
	static enum sandbox_role inner[] = {SANDBOX_ENGINE, SANDBOX_EXECUTOR};
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		pthread_t first;
		void *complaint = NULL;

		enter(SANDBOX_WORKER);
		if (pthread_create(&first, NULL, thread, inner) || pthread_join(first, &complaint))
			_exit(1);
		_exit(complaint ? 2 : 0);
	}
	waitpid(child, &status, 0);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
}

Test(sandbox, without_a_sandbox_nothing_happens)
{
	cr_expect(sandbox_enter(NULL, SANDBOX_EXECUTOR, NULL) == 0);
	cr_expect(prctl(PR_GET_SECCOMP) == 0);
}

Test(sandbox, its_modes_are_three_words)
{
	enum sandbox_mode mode;

	cr_expect(sandbox_mode_parse("on", &mode) && mode == SANDBOX_ON);
	cr_expect(sandbox_mode_parse("log", &mode) && mode == SANDBOX_LOG);
	cr_expect(sandbox_mode_parse("off", &mode) && mode == SANDBOX_OFF);
	cr_expect(!sandbox_mode_parse("of", &mode) && !sandbox_mode_parse("", &mode));
}
