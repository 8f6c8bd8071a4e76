/* The filter of a confined container, on every architecture, against a plain model of what it is to
 * show, against what each release's driver takes, and against what other drivers take. */
#include "filter/filter.h"

#include "../nvabi/csv.h"
#include "bpf.h"
#include "nvabi/abi.h"
#include "nvabi/confined.h"
#include "nvabi/policy.h"

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

static struct filter_program build(bool compute)
{
	static const uint32_t tokens[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32,
					  SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, 0};
	struct filter_program program = {0};
	struct mpu_error error = {0};

	cr_assert_eq(filter_build_confine(tokens, compute, &program, &error), 0, "%s", error.text);
	return program;
}

static uint32_t verdict(const struct filter_program *program, const struct abi *abi, int number,
			uint64_t request)
{
	struct seccomp_data data = {.nr = number, .arch = abi->audit, .args = {3, request, 4096}};

	return bpf_run(program->code, program->length, &data, NULL);
}

static bool notifies(const struct filter_program *program, uint64_t request)
{
	uint32_t first = verdict(program, &abis[0], abis[0].ioctl_number, request);

	for (int i = 1; i < ABIS; i++)
		cr_assert_eq(verdict(program, &abis[i], abis[i].ioctl_number, request), first,
			     "architecture %d, request 0x%llx", i, (unsigned long long)request);
	cr_assert(first == SECCOMP_RET_USER_NOTIF || first == SECCOMP_RET_ALLOW);
	return first == SECCOMP_RET_USER_NOTIF;
}

static bool is_compute_uvm(uint32_t number)
{
	uint32_t count;
	const uint8_t *numbers = nvabi_compute_uvm(&count);

	return number < 256 && memchr(numbers, (int)number, count);
}

/* What it is to show, one row after the other. */
static bool model(uint32_t request, bool compute)
{
	uint32_t count, uvm;
	const struct nvabi_ioctl *rows = nvabi_confined_ioctls(&count);

	nvabi_confined_uvm(&uvm);
	for (uint32_t i = 0; i < count - uvm; i++)
		if ((request & rows[i].mask) == rows[i].value)
			return true;
	if (compute && !(request & 0xe000ff00) && is_compute_uvm(request & 0xff))
		return false;
	for (uint32_t i = count - uvm; i < count; i++)
		if ((request & rows[i].mask) == rows[i].value)
			return true;
	return false;
}

static void expect_model(const struct filter_program programs[2], uint64_t request)
{
	for (int compute = 0; compute < 2; compute++)
		cr_assert_eq(notifies(&programs[compute], request),
			     model((uint32_t)request, compute), "request 0x%llx, compute %d",
			     (unsigned long long)request, compute);
}

/* The border of each row: the request, each bit of it turned, one more and one less. */
Test(confine, agrees_with_the_model_at_every_border)
{
	struct filter_program programs[2] = {build(false), build(true)};
	uint32_t count;
	const struct nvabi_ioctl *rows = nvabi_confined_ioctls(&count);

	for (uint32_t i = 0; i < count; i++)
		for (uint32_t free_bits = 0; free_bits < 4; free_bits++) {
			static const uint32_t patterns[] = {0, 0xffffffff, 0xaaaaaaaa, 0x55555555};
			uint32_t request =
				rows[i].value | (patterns[free_bits] & ~rows[i].mask);

			expect_model(programs, request);
			expect_model(programs, request + 1);
			expect_model(programs, request - 1);
			expect_model(programs, request | UINT64_C(1) << 63 | UINT64_C(1) << 32);
			for (int bit = 0; bit < 32; bit++)
				expect_model(programs, request ^ (1U << bit));
		}
	for (uint32_t request = 0; request < 0x1000; request++)
		expect_model(programs, request);
	for (uint32_t request = 0x2ffffff0; request < 0x30000010; request++)
		expect_model(programs, request);
	for (int i = 0; i < 2; i++)
		filter_program_free(&programs[i]);
}

/* Every number with every size, without magic and direction, and a sample of all 32 bits. */
Test(confine, agrees_with_the_model_over_all_requests)
{
	struct filter_program programs[2] = {build(false), build(true)};
	uint64_t random = 1;

	for (uint32_t size = 0; size < 1 << 14; size++)
		for (uint32_t number = size % 5; number < 256; number += 5) {
			uint32_t request = size << 16 | number;

			for (int compute = 0; compute < 2; compute++)
				cr_assert_eq(verdict(&programs[compute], &abis[size % ABIS],
						     abis[size % ABIS].ioctl_number, request) ==
						     SECCOMP_RET_USER_NOTIF,
					     model(request, compute), "0x%x", request);
		}
	for (int i = 0; i < 300000; i++) {
		random = random * 6364136223846793005U + 1442695040888963407U;
		expect_model(programs, random >> 16);
	}
	for (int i = 0; i < 2; i++)
		filter_program_free(&programs[i]);
}

/* Sizes that no header tells: NV_ESC_RM_ALLOC takes the older NVOS21_PARAMETERS too; these are checked
 * by "at least", or taken as a list. */
static void expect_escape(const struct filter_program *program, const struct nvabi_call *call)
{
	static const uint8_t any_size[] = {0xc8, 0xd4, 0xd5};
	/* Calls that no public module implements, and whose parameters no header has. */
	static const uint8_t unimplemented[] = {0x32, 0x33, 0x37, 0x38, 0x56, 0x5c, 0x5d};
	static const uint32_t spellings[] = {0xc0004600, 0x00000000, 0x40005400, 0x8000ff00};

	if (memchr(unimplemented, (int)call->number, sizeof(unimplemented)))
		return;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		uint32_t request = spellings[i] | call->number;

		cr_assert(notifies(program, request | call->size << 16), "%s", call->name);
		for (uint32_t size = call->size;
		     memchr(any_size, (int)call->number, sizeof(any_size)) && size < 1 << 14;
		     size += 4)
			cr_assert(notifies(program, request | size << 16), "%s", call->name);
		if (call->number == 0x2b)
			cr_assert(notifies(program, request | 32 << 16));
	}
}

Test(confine, shows_every_call_of_every_release_however_it_is_spelled)
{
	struct filter_program programs[2] = {build(false), build(true)};
	const struct nvabi_version *version;
	unsigned int escapes = 0, uvm = 0, passed = 0;

	for (uint32_t i = 0; (version = nvabi_release_version(i)); i++) {
		struct nvabi_call call;
		struct nvabi_abi *abi;

		if (nvabi_abi_open(version, &abi))
			continue;
		for (uint32_t cursor = 0; nvabi_abi_next(abi, &cursor, &call);) {
			for (int compute = 0; call.kind == NVABI_ESCAPE && compute < 2; compute++)
				expect_escape(&programs[compute], &call);
			escapes += call.kind == NVABI_ESCAPE;
			/* Below 23 are numbers that no module has implemented. */
			if (call.kind != NVABI_UVM || call.number < 23 || call.number == 2047)
				continue;
			cr_assert(notifies(&programs[0], call.number), "%s", call.name);
			cr_assert_eq(notifies(&programs[1], call.number),
				     !is_compute_uvm(call.number), "%s", call.name);
			passed += is_compute_uvm(call.number);
			uvm++;
		}
		nvabi_abi_close(abi);
	}
	cr_assert_gt(escapes, 5000);
	cr_assert_gt(uvm, 9000);
	cr_assert_gt(passed, 4000);
	for (int compute = 0; compute < 2; compute++) {
		cr_assert(notifies(&programs[compute], _IOC(_IOC_READ | _IOC_WRITE, 'm', 0, 16)));
		cr_assert(notifies(&programs[compute], _IOC(_IOC_NONE, 0, 0, 16)));
		/* UVM's built-in tests, of 595.45.04 */
		for (uint32_t number = 200; number <= 314; number++)
			cr_assert(notifies(&programs[compute], number));
		filter_program_free(&programs[compute]);
	}
}

/* All releases with an ABI, those of which only a part is public behind them. */
static const struct nvabi_version *version_at(uint32_t index)
{
	const uint32_t listed = nvabi_release_count();

	return index < listed ? nvabi_release_version(index) : nvabi_partial_release(index - listed);
}

/* By number: 1 + the size of the parameters, 0 where the release has no such escape. */
static void read_escapes(struct nvabi_abi *abi, uint32_t escapes[256])
{
	struct nvabi_call call;

	memset(escapes, 0, 256 * sizeof(escapes[0]));
	for (uint32_t cursor = 0; nvabi_abi_next(abi, &cursor, &call);)
		if (call.kind == NVABI_ESCAPE)
			escapes[call.number & 255] = 1 + call.size;
}

/* Why an unlisted release of a listed branch can be confined (nvabi_policy_knows_branch()): should a new
 * release break this, that has to be thought over. */
Test(confine, within_a_branch_only_one_escape_has_changed_and_all_its_sizes_are_shown)
{
	enum { CHANGED = 0x5f, MAJORS = 1024 }; /* NV_ESC_RM_NVLOG_CTRL, NV_ESC_RM_LOCKLESS_DIAGNOSTIC */
	uint32_t(*branch)[256] = calloc(MAJORS, sizeof(*branch)), found[256];
	struct filter_program program = build(true);
	unsigned int releases = 0, branches = 0;
	const struct nvabi_version *version;

	for (uint32_t i = 0; (version = version_at(i)); i++) {
		struct nvabi_abi *abi;

		if (nvabi_abi_open(version, &abi))
			continue;
		read_escapes(abi, found);
		nvabi_abi_close(abi);
		releases++;
		if (found[CHANGED])
			cr_assert(notifies(&program,
					   _IOC(_IOC_NONE, 'F', CHANGED, found[CHANGED] - 1)));
		found[CHANGED] = 0;
		cr_assert_lt(version->major, MAJORS);
		if (!branch[version->major][0x2a]) {
			memcpy(branch[version->major], found, sizeof(found));
			branches++;
		}
		for (int number = 0; number < 256; number++)
			cr_assert_eq(found[number], branch[version->major][number],
				     "%u.%02u.%02u: escape 0x%x", version->major, version->minor,
				     version->patch, number);
	}
	cr_assert_geq(releases, 199);
	cr_assert_geq(branches, 18);
	filter_program_free(&program);
	free(branch);
}

static bool knows(struct nvabi_abi *abi, uint32_t number)
{
	struct nvabi_call call;

	for (uint32_t cursor = 0; nvabi_abi_by_number(abi, number, &cursor, &call);)
		if (call.kind == NVABI_UVM)
			return true;
	return false;
}

/* What passes without a look must be what the look would let pass: on every release that has it. And
 * every number that compute may call itself on all releases passes, but for what is called once a process. */
Test(confine, what_passes_unseen_is_allowed_with_compute_on_every_release)
{
	static const uint32_t once = 0x30000000;
	const struct nvabi_version *version;
	unsigned int releases = 0, checked = 0;

	for (uint32_t i = 0; (version = nvabi_release_version(i)); i++) {
		struct nvabi_policy *policy;
		struct nvabi_abi *abi;
		const struct nvabi_rule *rule;

		if (nvabi_policy_open(version, &policy))
			continue;
		cr_assert_eq(nvabi_abi_open(version, &abi), 0);
		for (uint32_t number = 0; number < 256; number++) {
			rule = nvabi_policy_find(policy, NVABI_UVM, number);
			if (!is_compute_uvm(number) || !knows(abi, number))
				continue;
			cr_assert(rule && rule->capabilities & NVABI_CAP_COMPUTE, "%u", number);
			cr_assert_eq(rule->way, NVABI_WAY_CONTINUE);
			checked++;
		}
		for (uint32_t index = 0; (rule = nvabi_policy_rule(policy, index)); index++)
			cr_assert(rule->kind != NVABI_UVM ||
					  !(rule->capabilities & NVABI_CAP_COMPUTE) ||
					  rule->way != NVABI_WAY_CONTINUE ||
					  rule->number >= once || is_compute_uvm(rule->number),
				  "%s", rule->name);
		nvabi_policy_close(policy);
		nvabi_abi_close(abi);
		releases++;
	}
	cr_assert_gt(releases, 190);
	cr_assert_gt(checked, 4000);
}

/* Calls of other drivers that are of the same number and of a size that the masks do not tell from
 * NVIDIA's: a confined container cannot make them. */
static const char *const caught[] = {
	"ASPEED_LPC_CTRL_IOCTL_GET_SIZE",
	"ASPEED_P2A_CTRL_IOCTL_SET_WINDOW",
	"ATM_GETLOOP",
	"BTRFS_IOC_QGROUP_LIMIT",
	"FE_SET_PROPERTY",
	"IOC_PR_REGISTER",
	"KVM_XEN_HVM_GET_ATTR",
	"MTRRIOC_ADD_ENTRY",
	"PPPIOCSXASYNCMAP",
	"SEV_ISSUE_CMD",
	"STP_POLICY_ID_SET",
	"TUNATTACHFILTER",
	"TUNSETDEBUG",
	"TUNSETNOCSUM",
	"TUNSETSNDBUF",
	"TUNSETVNETHDRSZ",
	"UI_BEGIN_FF_UPLOAD",
};

static bool is_caught(const char *name)
{
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		if (strcmp(caught[i], name) == 0)
			return true;
	return false;
}

Test(confine, leaves_other_drivers_calls_alone)
{
	struct filter_program programs[2] = {build(false), build(true)};
	struct csv ioctls = read_csv("linux-ioctls.csv");
	unsigned int found = 0;

	cr_assert_gt(ioctls.rows, 2000);
	for (uint32_t i = 0; i < ioctls.rows; i++) {
		uint32_t request = (uint32_t)strtoul(ioctls.cell[i][0], NULL, 16);
		const char *name = ioctls.cell[i][1];

		for (int compute = 0; compute < 2; compute++)
			cr_expect_eq(notifies(&programs[compute], request), is_caught(name), "%s",
				     name);
		found += is_caught(name);
	}
	cr_assert_eq(found, sizeof(caught) / sizeof(caught[0]));
	free(ioctls.cell);
	for (int i = 0; i < 2; i++)
		filter_program_free(&programs[i]);
}

Test(confine, watches_no_other_system_call_and_no_unknown_architecture)
{
	cleanup_filter struct filter_program program = build(true);
	const struct abi unknown = {0, AUDIT_ARCH_S390X, 54, 0};

	for (int i = 0; i < ABIS; i++)
		cr_assert_eq(verdict(&program, &abis[i], abis[i].other_number, 0xc020462a),
			     SECCOMP_RET_ALLOW);
	cr_assert_eq(verdict(&program, &unknown, 54, 0xc020462a), SECCOMP_RET_ALLOW);
}

static unsigned int steps_of(const struct filter_program *program, int number, uint64_t request)
{
	struct seccomp_data data = {
		.nr = number, .arch = AUDIT_ARCH_X86_64, .args = {3, request, 4096}};
	unsigned int steps = 0;

	bpf_run(program->code, program->length, &data, &steps);
	return steps;
}

Test(confine, an_ordinary_call_takes_few_instructions)
{
	struct mpu_error error = {0};
	cleanup_filter struct filter_program program = {0};

	cr_assert_eq(filter_build_confine((const uint32_t[]){SCMP_ARCH_X86_64, SCMP_ARCH_X86,
							     SCMP_ARCH_X32, 0},
					  true, &program, &error),
		     0);
	cr_assert_leq(program.length, 400, "%u instructions", program.length);
	cr_assert_leq(steps_of(&program, SYS_read, 0), 6, "%u for read()",
		      steps_of(&program, SYS_read, 0));
	cr_assert_leq(steps_of(&program, SYS_ioctl, 0x5401), 20, "%u for TCGETS",
		      steps_of(&program, SYS_ioctl, 0x5401));
	cr_assert_leq(steps_of(&program, SYS_ioctl, 34), 34, "%u for UVM_FREE",
		      steps_of(&program, SYS_ioctl, 34));
	cr_assert_leq(steps_of(&program, SYS_ioctl, 0xc020462a), 20, "%u for NV_ESC_RM_CONTROL",
		      steps_of(&program, SYS_ioctl, 0xc020462a));
}

/* The listener is closed: what is watched fails with ENOSYS, everything else goes on. */
static int call_without_listener(void)
{
	cleanup_filter struct filter_program program = {0};
	struct mpu_error error = {0};
	char params[64] = {0};
	int listener;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (filter_build_confine(filter_native_architectures(), true, &program, &error))
		return 1;
	listener = filter_install(&program, filter_probe_flags(&error), &error);
	if (listener < 0)
		return 2;
	close(listener);
	if (ioctl(-1, 0xc0384627, params) != -1 || errno != ENOSYS)
		return 3;
	if (ioctl(-1, 62 /* UVM_TOOLS_READ_PROCESS_MEMORY */, params) != -1 || errno != ENOSYS)
		return 4;
	if (ioctl(-1, 34 /* UVM_FREE */, params) != -1 || errno != EBADF)
		return 5;
	if (ioctl(-1, 0x5401, params) != -1 || errno != EBADF)
		return 6;
	return 0;
}

Test(confine, traps_in_the_kernel_what_it_says)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(call_without_listener());
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}
