#include "filter/filter.h"

#include "bpf.h"
#include "nvabi/abi.h"
#include "nvabi/rm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ioctl's number on each architecture (arch/x86/entry/syscalls, asm-generic/unistd.h). */
static const struct abi {
	uint32_t token, audit;
	int ioctl_number, other_number;
} abis[] = {
	{SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 16, 0},
	{SCMP_ARCH_X86, AUDIT_ARCH_I386, 54, 3},
	{SCMP_ARCH_X32, AUDIT_ARCH_X86_64, 0x40000000 + 514, 0x40000000},
	{SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, 29, 63},
	{SCMP_ARCH_ARM, AUDIT_ARCH_ARM, 54, 3},
};
enum { ABIS = sizeof(abis) / sizeof(abis[0]) };

static struct filter_program all_architectures(void)
{
	static const uint32_t tokens[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32,
					  SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, 0};
	struct filter_program program = {0};
	struct mpu_error error = {0};

	cr_assert_eq(filter_build(tokens, &program, &error), 0, "%s", error.text);
	return program;
}

static uint32_t verdict(const struct filter_program *program, const struct abi *abi, int number,
			uint64_t request)
{
	struct seccomp_data data = {.nr = number, .arch = abi->audit, .args = {3, request, 4096}};

	return bpf_run(program->code, program->length, &data, NULL);
}

/* As the driver compares: number and size, in the low 32 bits. */
static bool is_watched(uint64_t request)
{
	uint32_t low = (uint32_t)request;

	return (_IOC_NR(low) == NV_ESC_RM_CONTROL && _IOC_SIZE(low) == 32) ||
	       (_IOC_NR(low) == NV_ESC_IOCTL_XFER_CMD && _IOC_SIZE(low) == 16);
}

static void expect(const struct filter_program *program, uint64_t request)
{
	uint32_t wanted = is_watched(request) ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW;

	for (int i = 0; i < ABIS; i++) {
		uint32_t got = verdict(program, &abis[i], abis[i].ioctl_number, request);

		cr_assert_eq(got, wanted, "architecture %d, request 0x%llx: 0x%x", i,
			     (unsigned long long)request, got);
	}
}

Test(filter, sees_rm_control_however_the_request_is_spelled)
{
	cleanup_filter struct filter_program program = all_architectures();
	static const uint64_t spellings[] = {
		0xc020462a,		   /* as NVIDIA's libraries write it */
		0xffffffffc020462a,	   /* int sign-extended */
		0x00000001c020462a,	   /* anything above 32 bits */
		_IOC(_IOC_NONE, 'F', 0x2a, 32), _IOC(_IOC_READ, 0, 0x2a, 32),
		_IOC(_IOC_WRITE, 0xff, 0x2a, 32), 0xc01046d3, 0xffffffffc01046d3,
		_IOC(_IOC_NONE, 'x', 211, 16),
	};

	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		cr_assert(is_watched(spellings[i]));
		expect(&program, spellings[i]);
	}
}

Test(filter, lets_neighbouring_requests_pass)
{
	cleanup_filter struct filter_program program = all_architectures();
	static const uint64_t others[] = {
		_IOC(_IOC_READ | _IOC_WRITE, 'F', 0x2a, 31), _IOC(_IOC_READ, 'F', 0x2a, 33),
		_IOC(_IOC_READ | _IOC_WRITE, 'F', 0x2b, 32), _IOC(_IOC_READ, 'F', 0x29, 32),
		_IOC(_IOC_READ | _IOC_WRITE, 'F', 211, 32),  _IOC(_IOC_READ, 'F', 210, 16),
		0,					     0x5401 /* TCGETS */,
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		cr_assert_not(is_watched(others[i]));
		expect(&program, others[i]);
	}
}

Test(filter, agrees_with_the_driver_on_random_requests)
{
	cleanup_filter struct filter_program program = all_architectures();
	unsigned int seed = 1;

	for (int i = 0; i < 200000; i++) {
		uint64_t request = (uint64_t)(uint32_t)rand_r(&seed) << 33 ^
				   (uint64_t)(uint32_t)rand_r(&seed) << 16 ^
				   (uint64_t)(uint32_t)rand_r(&seed);

		if (i % 2) /* near the watched ones */
			request = (request & ~UINT64_C(0x3fff00ff)) |
				  (i % 4 == 1 ? 0x0020002a : 0x001000d3);
		if (i % 8 >= 6)
			request ^= UINT64_C(1) << (i % 64);
		expect(&program, request);
	}
}

Test(filter, watches_no_other_system_call_and_no_unknown_architecture)
{
	cleanup_filter struct filter_program program = all_architectures();
	const struct abi unknown = {0, AUDIT_ARCH_S390X, 54, 0};

	for (int i = 0; i < ABIS; i++)
		cr_assert_eq(verdict(&program, &abis[i], abis[i].other_number, 0xc020462a),
			     SECCOMP_RET_ALLOW);
	cr_assert_eq(verdict(&program, &unknown, 54, 0xc020462a), SECCOMP_RET_ALLOW);
}

/* Every escape and UVM call of the first and the last release, by its number, and the driver's files
 * under any other magic that can reach RM control. */
Test(filter, a_trace_catches_every_call_that_may_be_nvidias)
{
	static const char *const versions[] = {"515.43.04", "595.45.04"};
	cleanup_filter struct filter_program program = {0};
	struct mpu_error error = {0};
	unsigned int calls = 0;

	cr_assert_eq(filter_build_trace((const uint32_t[]){SCMP_ARCH_X86_64, SCMP_ARCH_X86,
							   SCMP_ARCH_X32, SCMP_ARCH_AARCH64,
							   SCMP_ARCH_ARM, 0},
					&program, &error),
		     0, "%s", error.text);
	for (size_t i = 0; i < 2; i++) {
		struct nvabi_version version;
		struct nvabi_call call;
		struct nvabi_abi *abi;

		cr_assert_eq(nvabi_version_parse(versions[i], &version), 0);
		cr_assert_eq(nvabi_abi_open(&version, &abi), 0);
		for (uint32_t cursor = 0; nvabi_abi_next(abi, &cursor, &call);) {
			uint64_t request = call.number;

			if (call.kind == NVABI_ESCAPE)
				request = _IOC(_IOC_READ | _IOC_WRITE, 'F', call.number, call.size);
			else if (call.kind != NVABI_UVM)
				continue;
			for (int j = 0; j < ABIS; j++)
				cr_expect_eq(verdict(&program, &abis[j], abis[j].ioctl_number,
						     request | UINT64_C(1) << 40),
					     SECCOMP_RET_USER_NOTIF, "%s", call.name);
			calls++;
		}
		nvabi_abi_close(abi);
	}
	cr_assert_gt(calls, 150);
	for (int j = 0; j < ABIS; j++) {
		cr_expect_eq(verdict(&program, &abis[j], abis[j].ioctl_number,
				     _IOC(_IOC_NONE, 'x', 0x2a, 32)),
			     SECCOMP_RET_USER_NOTIF);
		cr_expect_eq(verdict(&program, &abis[j], abis[j].ioctl_number, 0x5401 /* TCGETS */),
			     SECCOMP_RET_ALLOW);
		cr_expect_eq(verdict(&program, &abis[j], abis[j].other_number, 0xc020462a),
			     SECCOMP_RET_ALLOW);
	}
}

Test(filter, native_architectures_are_those_of_this_machine)
{
	const uint32_t *native = filter_native_architectures();

	cr_assert_eq(native[0], seccomp_arch_native());
}

static void expect_same(const struct filter_program *one, const struct filter_program *other)
{
	cr_assert_eq(one->length, other->length);
	for (unsigned short i = 0; i < one->length; i++)
		cr_assert_eq(memcmp(&one->code[i], &other->code[i], sizeof(one->code[i])), 0,
			     "instruction %u", i);
}

Test(filter, programs_of_the_build_are_what_would_be_built_here)
{
	const uint32_t *native = filter_native_architectures();
	cleanup_filter struct filter_program trace = {0};
	struct mpu_error error = {0};

	for (unsigned int kind = 0; kind < FILTER_KINDS; kind++) {
		cleanup_filter struct filter_program program = {0};

		cr_assert_eq(filter_build_kind(native, kind, &program, &error), 0);
		expect_same(&filter_native[kind], &program);
	}
	cr_assert_eq(filter_build_trace(native, &trace, &error), 0);
	expect_same(&filter_native_trace, &trace);
}

Test(filter, probe_finds_user_notification_here)
{
	struct mpu_error error = {0};
	unsigned int flags = filter_probe_flags(&error);

	cr_assert(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER, "%s", error.text);
}

/* In a child, whose filters end with it. Returns its exit status. */
static int in_child(int (*run)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(run());
	cr_assert_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int install(struct mpu_error *error)
{
	cleanup_filter struct filter_program program = {0};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (filter_build(filter_native_architectures(), &program, error))
		return -1;
	return filter_install(&program, filter_probe_flags(error), error);
}

static int install_twice(void)
{
	struct mpu_error first = {0}, second = {0};

	if (install(&first) < 0)
		return 1;
	if (install(&second) != -EBUSY)
		return 2;
	return strstr(second.text, "listener") ? 0 : 3;
}

Test(filter, second_listener_is_refused_with_the_reason)
{
	cr_assert_eq(in_child(install_twice), 0);
}

/* The listener is closed: a watched call fails with ENOSYS, every other goes on. */
static int call_without_listener(void)
{
	struct mpu_error error = {0};
	char params[32] = {0};
	int listener = install(&error);

	if (listener < 0)
		return 1;
	close(listener);
	if (ioctl(0, 0xc020462a, params) != -1 || errno != ENOSYS)
		return 2;
	if (ioctl(-1, 0x5401, params) != -1 || errno != EBADF)
		return 3;
	return 0;
}

Test(filter, traps_in_the_kernel_what_it_says)
{
	cr_assert_eq(in_child(call_without_listener), 0);
}

Test(filter, an_ordinary_ioctl_takes_few_instructions)
{
	cleanup_filter struct filter_program program = {0};
	struct mpu_error error = {0};
	struct seccomp_data data = {.nr = SYS_read, .arch = AUDIT_ARCH_X86_64};
	unsigned int steps = 0;

	cr_assert_eq(filter_build((const uint32_t[]){SCMP_ARCH_X86_64, SCMP_ARCH_X86,
						     SCMP_ARCH_X32, 0},
				  &program, &error),
		     0);
	cr_assert_eq(bpf_run(program.code, program.length, &data, &steps), SECCOMP_RET_ALLOW);
	cr_assert_leq(steps, 8, "%u instructions for read()", steps);
	data.nr = SYS_ioctl;
	data.args[1] = 0xc0384627; /* another NVIDIA ioctl */
	cr_assert_eq(bpf_run(program.code, program.length, &data, &steps), SECCOMP_RET_ALLOW);
	cr_assert_leq(steps, 20, "%u instructions for another ioctl", steps);
}
