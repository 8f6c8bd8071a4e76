/* What makes the filters, by libseccomp, when mpu is built. */
#include "supervisor/sandbox-rules.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define E   (1u << SANDBOX_EXECUTOR)
#define N   (1u << SANDBOX_ENGINE)
#define C   (1u << SANDBOX_CONTROL)
#define W   (1u << SANDBOX_WORKER)
#define K   (1u << SANDBOX_KEEPER)
#define M   (1u << SANDBOX_METRICS)
#define ALL (E | N | C | W | K | M)
#define R   (1u << SANDBOX_NURSERY)
#define P   (1u << SANDBOX_PROXY)
/* Only where metrics are served. */
#define IF_METRICS (1u << SANDBOX_ROLES)

/* A namespace of one's own is the way to rights that one has not got. */
#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
	 CLONE_NEWCGROUP)
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

/* A call, who may make it, and on what condition: one argument under a mask, or two. */
struct rule {
	const char *name;
	unsigned int roles;
	unsigned int argument;
	uint64_t mask; /* 0: any arguments */
	uint64_t value;
	unsigned int argument2;
	uint64_t mask2; /* 0: no second condition */
	uint64_t value2;
};

/* Names that an architecture has not got are passed over; where the C library has the choice of two
 * (open and openat), both stand here. */
static const struct rule allowed[] = {
    /* Memory, threads, time: what any code asks for without being told. */
    {.name = "brk", .roles = ALL | R | P},
    {.name = "mmap", .roles = ALL | R, .argument = 2, .mask = PROT_EXEC, .value = 0},
    {.name = "mprotect", .roles = ALL | R | P, .argument = 2, .mask = PROT_EXEC, .value = 0},
    {.name = "mremap", .roles = ALL | R},
    {.name = "munmap", .roles = ALL | R | P},
    {.name = "madvise", .roles = ALL | R | P},
    {.name = "membarrier", .roles = ALL},
    {.name = "futex", .roles = ALL | R | P},
    {.name = "futex_time64", .roles = ALL},
    {.name = "futex_wait", .roles = ALL},
    {.name = "futex_wake", .roles = ALL},
    {.name = "set_robust_list", .roles = ALL | R | P},
    {.name = "set_tid_address", .roles = ALL | R},
    {.name = "rseq", .roles = ALL | R | P},
    {.name = "sched_yield", .roles = ALL},
    {.name = "sched_getaffinity", .roles = ALL},
    {.name = "getcpu", .roles = ALL},
    {.name = "getrandom", .roles = ALL | R},
    {.name = "sysinfo", .roles = ALL},
    {.name = "uname", .roles = ALL | R},
    {.name = "clock_gettime", .roles = ALL | R},
    {.name = "clock_getres", .roles = ALL},
    {.name = "clock_nanosleep", .roles = ALL | R},
    {.name = "nanosleep", .roles = ALL | R},
    {.name = "gettimeofday", .roles = ALL},
    {.name = "time", .roles = ALL},
    {.name = "rt_sigaction", .roles = ALL | R},
    {.name = "rt_sigprocmask", .roles = ALL | R | P},
    {.name = "rt_sigreturn", .roles = ALL | R | P},
    {.name = "sigaltstack", .roles = ALL | R},
    {.name = "restart_syscall", .roles = ALL | R | P},
    {.name = "tgkill", .roles = ALL | R},
    {.name = "getpid", .roles = ALL | R},
    {.name = "gettid", .roles = ALL | R},
    {.name = "getuid", .roles = ALL | R},
    {.name = "geteuid", .roles = ALL | R},
    {.name = "getgid", .roles = ALL | R},
    {.name = "getegid", .roles = ALL | R},
    {.name = "exit", .roles = ALL | R | P},
    {.name = "exit_group", .roles = ALL | R | P},
    {.name = "prctl", .roles = ALL, .mask = UINT32_MAX, .value = PR_SET_NAME},
    {.name = "prlimit64", .roles = ALL, .argument = 2, .mask = UINT64_MAX, .value = 0},
    {.name = "getrlimit", .roles = ALL},

    /* Files: to look, never to write what is not open already. */
    {.name = "read", .roles = ALL | R},
    {.name = "pread64", .roles = ALL},
    {.name = "write", .roles = ALL | R},
    {.name = "writev", .roles = ALL},
    {.name = "lseek", .roles = ALL | R},
    {.name = "close", .roles = ALL | R | P},
    {.name = "fcntl", .roles = ALL | R},
    {.name = "openat", .roles = ALL | R, .argument = 2, .mask = WRITES, .value = 0},
    {.name = "open", .roles = ALL | R, .argument = 1, .mask = WRITES, .value = 0},
    {.name = "stat", .roles = ALL},
    {.name = "lstat", .roles = ALL},
    {.name = "fstat", .roles = ALL | R},
    {.name = "newfstatat", .roles = ALL | R},
    {.name = "statx", .roles = ALL},
    {.name = "access", .roles = ALL},
    {.name = "faccessat", .roles = ALL},
    {.name = "faccessat2", .roles = ALL},
    {.name = "readlink", .roles = ALL},
    {.name = "readlinkat", .roles = ALL},
    {.name = "getdents64", .roles = ALL},
    {.name = "poll", .roles = ALL | R | P},
    {.name = "ppoll", .roles = ALL | R | P},

    /* Targets: their memory, their descriptors, their driver. */
    {.name = "process_vm_readv", .roles = E | N | W | K},
    {.name = "process_vm_writev", .roles = E | N | W | K},
    {.name = "pidfd_open", .roles = E | N | W | K | R},
    {.name = "pidfd_getfd", .roles = E | N | W | K},
    {.name = "kcmp", .roles = E | N | W | K},
    /* Two for each call of a target: a look at the request would make the kernel run all filters
     * over the thread, ours and systemd's, which it does not for a call that all of them allow
     * (5.11). */
    {.name = "ioctl", .roles = E | N | W | K | M},

    /* To be the target's user in the driver. */
    {.name = "setresuid", .roles = E | N | W | K | R},
    {.name = "setresgid", .roles = E | N | W | K | R},
    {.name = "capget", .roles = ALL | R},
    {.name = "capset", .roles = E | N | W | K | M | R},

    /* Threads, and what they wait with. Of clone3 nobody can see the flags: ENOSYS, and the C
     * library takes clone. */
    {.name = "clone",
     .roles = E | N | C | W | K,
     .mask = CLONE_THREAD | NEW_NAMESPACES,
     .value = CLONE_THREAD},
    {.name = "eventfd2", .roles = N | W | K},
    {.name = "epoll_create1", .roles = N | W | K | M},
    {.name = "epoll_ctl", .roles = E | N | W | K | M},
    {.name = "epoll_wait", .roles = N | W | K | M},
    {.name = "epoll_pwait", .roles = N | W | K | M},

    /* Words with the keeper, runtimes, mpuctl and proxies, over what is connected already. */
    {.name = "sendmsg", .roles = ALL | R | P},
    {.name = "sendto", .roles = E | N | C | W | K | M},
    {.name = "recvmsg", .roles = E | N | W | K | R | P},
    {.name = "recvfrom", .roles = C | W | K | M},
    {.name = "shutdown", .roles = E | N | C | W | K | M},
    {.name = "accept4", .roles = C | W | K | M},
    {.name = "accept", .roles = C | W | K | M},
    {.name = "getsockopt", .roles = C | W | K | M},
    {.name = "setsockopt", .roles = C | W | K | M},
    {.name = "seccomp", .roles = N | W | K | R | P},

    /* Metrics: libmicrohttpd's own. */
    {.name = "getsockname", .roles = M | W | K | IF_METRICS},
    {.name = "dup", .roles = M | W | K | IF_METRICS},

    /* The keeper's own: workers, memory for what runtimes send, word to the service manager. */
    {.name = "clone", .roles = K | R, .mask = NEW_NAMESPACES, .value = 0},
    {.name = "fork", .roles = K | R},
    {.name = "wait4", .roles = K | R},
    {.name = "waitid", .roles = K | R},
    {.name = "kill", .roles = K},
    {.name = "prctl", .roles = K | R},
    {.name = "socket", .roles = K, .mask = UINT32_MAX, .value = AF_UNIX},
    {.name = "socketpair", .roles = K | R, .mask = UINT32_MAX, .value = AF_UNIX},
    {.name = "memfd_create", .roles = K | R},
    {.name = "pwrite64", .roles = K},
    {.name = "unlink", .roles = K},
    {.name = "unlinkat", .roles = K},
    {.name = "getppid", .roles = K},

    /* The nursery's own: a process in its target's cgroup (of clone3 nobody can see the flags), or
     * put there by cgroup.procs; its descriptors, limits and groups. */
    {.name = "clone3", .roles = R},
    {.name = "openat", .roles = R, .argument = 2, .mask = O_CREAT | O_TRUNC | O_RDWR, .value = 0},
    {.name = "open", .roles = R, .argument = 1, .mask = O_CREAT | O_TRUNC | O_RDWR, .value = 0},
    {.name = "ftruncate", .roles = R},
    {.name = "setsid", .roles = R},
    {.name = "dup3", .roles = R | P},
    {.name = "close_range", .roles = R},
    {.name = "prlimit64", .roles = R},
    {.name = "getrlimit", .roles = R},
    {.name = "setrlimit", .roles = R},
    {.name = "setgroups", .roles = R},
    {.name = "getgroups", .roles = R},
    {.name = "getresuid", .roles = R},
    {.name = "getresgid", .roles = R},

    /* A proxy's own: the driver's calls, and lanes' threads. It opens and maps no file. */
    {.name = "getpgid", .roles = R | P}, /* its bell: confine/bell.c */
    {.name = "ioctl", .roles = R | P, .argument = 1, .mask = 0xff00, .value = 'F' << 8},
    /* UVM's that name RM's objects: bare numbers below 64. */
    {.name = "ioctl", .roles = R | P, .argument = 1, .mask = 0xffffffc0, .value = 0},
    {.name = "clone", .roles = P, .mask = CLONE_THREAD | NEW_NAMESPACES, .value = CLONE_THREAD},
    {.name = "mmap",
     .roles = P,
     .argument = 2,
     .mask = PROT_EXEC,
     .value = 0,
     .argument2 = 3,
     .mask2 = MAP_ANONYMOUS,
     .value2 = MAP_ANONYMOUS},
};

/* What no version of mpu or of a C library calls by mistake: who does has got in. */
static const char *const deadly[] = {
    "execve",	     "execveat",
    "ptrace",	     "init_module",
    "finit_module",  "delete_module",
    "kexec_load",    "kexec_file_load",
    "bpf",	     "mount",
    "umount2",	     "move_mount",
    "open_tree",     "fsopen",
    "fsmount",	     "mount_setattr",
    "pivot_root",    "chroot",
    "unshare",	     "setns",
    "reboot",	     "swapon",
    "swapoff",	     "perf_event_open",
    "userfaultfd",   "open_by_handle_at",
    "mknod",	     "mknodat",
    "iopl",	     "ioperm",
    "add_key",	     "keyctl",
    "request_key",   "settimeofday",
    "clock_settime",
};

#undef E
#undef N
#undef C
#undef W
#undef K
#undef M
#undef ALL
#undef R
#undef P

static void release_context(scmp_filter_ctx *context)
{
	if (*context)
		seccomp_release(*context);
}

/* A name that the library does not know is newer than it, or of another architecture. */
static int add(scmp_filter_ctx context, uint32_t action, const struct rule *rule)
{
	const struct scmp_arg_cmp conditions[] = {
	    SCMP_CMP64(rule->argument, SCMP_CMP_MASKED_EQ, rule->mask, rule->value),
	    SCMP_CMP64(rule->argument2, SCMP_CMP_MASKED_EQ, rule->mask2, rule->value2)};
	int number = seccomp_syscall_resolve_name(rule->name);

	if (number < 0)
		return 0;
	return seccomp_rule_add_array(context, action, number,
				      (rule->mask != 0) + (rule->mask2 != 0), conditions);
}

/* A rule without a condition stands for those with one. */
static bool is_wider(const struct rule *one, const struct rule *other, unsigned int role)
{
	return one != other && !one->mask && one->roles & role &&
	       strcmp(one->name, other->name) == 0;
}

static bool has_wider(const struct rule *rule, unsigned int role)
{
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (is_wider(&allowed[i], rule, role))
			return true;
	return false;
}

static int add_rules(scmp_filter_ctx context, enum sandbox_role role, bool metrics)
{
	int result = 0;

	for (size_t i = 0; !result && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (allowed[i].roles & 1u << role && !has_wider(&allowed[i], 1u << role) &&
		    (metrics || !(allowed[i].roles & IF_METRICS)))
			result = add(context, SCMP_ACT_ALLOW, &allowed[i]);
	for (size_t i = 0; !result && i < sizeof(deadly) / sizeof(deadly[0]); i++)
		result = add(context, SCMP_ACT_KILL_PROCESS, &(struct rule){.name = deadly[i]});
	return result;
}

/* System calls of other architectures (32 bits, x32) nobody makes here. */
int sandbox_make(enum sandbox_role role, bool metrics, struct filter_program *program)
{
	scmp_filter_ctx context __attribute__((cleanup(release_context))) =
	    seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int result = context ? 0 : -ENOMEM;

	if (!result)
		result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* A tree in place of a list, which kernels before 5.11 go through call by call. */
	if (!result)
		result = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!result)
		result = add_rules(context, role, metrics);
	return result ? result : filter_export(context, program);
}
