/* The registers of a thread that is held at the entry or at the exit of a system call. */
#ifndef FILTER_INJECT_REGS_H
#define FILTER_INJECT_REGS_H

#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

enum { INJECT_ARGUMENTS = 6 };

#if defined(__x86_64__)

enum { INJECT_AUDIT_ARCH = AUDIT_ARCH_X86_64 };
typedef struct user_regs_struct inject_regs;

static inline void inject_set_call(inject_regs *regs, long number, const unsigned long *args)
{
	regs->orig_rax = (unsigned long)number;
	regs->rdi = args[0];
	regs->rsi = args[1];
	regs->rdx = args[2];
	regs->r10 = args[3];
	regs->r8 = args[4];
	regs->r9 = args[5];
}

static inline long inject_result(const inject_regs *regs)
{
	return (long)regs->rax;
}

/* From the state at the entry of a call to the state before its instruction, which has 2 bytes. */
static inline void inject_rewind(inject_regs *regs)
{
	regs->rip -= 2;
	regs->rax = regs->orig_rax;
	regs->orig_rax = (unsigned long)-1;
}

static inline int inject_set_number(pid_t tid, long number)
{
	(void)tid;
	(void)number;
	return 0; /* orig_rax is it */
}

#elif defined(__aarch64__)

#ifndef NT_ARM_SYSTEM_CALL
#define NT_ARM_SYSTEM_CALL 0x404
#endif

enum { INJECT_AUDIT_ARCH = AUDIT_ARCH_AARCH64 };
typedef struct user_regs_struct inject_regs;

static inline void inject_set_call(inject_regs *regs, long number, const unsigned long *args)
{
	regs->regs[8] = (unsigned long)number;
	for (int i = 0; i < INJECT_ARGUMENTS; i++)
		regs->regs[i] = args[i];
}

static inline long inject_result(const inject_regs *regs)
{
	return (long)regs->regs[0];
}

/* An instruction has 4 bytes. x7 reads as the kind of stop here, and the kernel puts the true value
 * back whatever a tracer writes. */
static inline void inject_rewind(inject_regs *regs)
{
	regs->pc -= 4;
}

static inline int inject_set_number(pid_t tid, long number)
{
	int value = (int)number;
	struct iovec where = {.iov_base = &value, .iov_len = sizeof(value)};

	return ptrace(PTRACE_SETREGSET, tid, (void *)NT_ARM_SYSTEM_CALL, &where) ? -errno : 0;
}

#else
#error "injection knows the system calls of x86_64 and aarch64"
#endif

static inline int inject_get_regs(pid_t tid, inject_regs *regs)
{
	struct iovec where = {.iov_base = regs, .iov_len = sizeof(*regs)};

	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &where) ? -errno : 0;
}

static inline int inject_put_regs(pid_t tid, const inject_regs *regs)
{
	struct iovec where = {.iov_base = (void *)regs, .iov_len = sizeof(*regs)};

	return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &where) ? -errno : 0;
}

#endif
