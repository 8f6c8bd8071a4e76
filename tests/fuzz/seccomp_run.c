#include "tests/fuzz/seccomp_run.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "filter/oci.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>

static bool action_of(struct json_object *json, const char *key, const char *number_key,
		      uint32_t *action)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = {{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		       {"SCMP_ACT_LOG", SCMP_ACT_LOG},
		       {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
		       {"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0)},
		       {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		       {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
		       {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		       {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		       {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD}};
	const char *name = json_member_string(json, key);
	struct json_object *number = json_member(json, number_key, json_type_int);
	uint32_t value = number ? (uint32_t)json_object_get_int64(number) & 0xffff : EPERM;

	for (size_t i = 0; name && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(name, actions[i].name) == 0) {
			*action = actions[i].action;
			if (*action == SCMP_ACT_ERRNO(0) || *action == SCMP_ACT_TRACE(0))
				*action |= value;
			return true;
		}
	return false;
}

static bool comparison_of(struct json_object *json, struct scmp_arg_cmp *compare)
{
	static const enum scmp_compare operators[] = {
	    SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE,	  SCMP_CMP_EQ,
	    SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ,
	};
	struct json_object *index = json_member(json, "index", json_type_int);
	struct json_object *value = json_member(json, "value", json_type_int);
	struct json_object *two = json_member(json, "valueTwo", json_type_int);
	const char *name = json_member_string(json, "op");
	uint64_t argument = index ? json_object_get_uint64(index) : 0;

	if (argument > 5)
		return false;
	compare->arg = (unsigned int)argument;
	compare->datum_a = value ? json_object_get_uint64(value) : 0;
	compare->datum_b = two ? json_object_get_uint64(two) : 0;
	for (int i = 0; name && i <= OCI_CMP_MASKED_EQ; i++)
		if (strcmp(name, oci_operator_names[i]) == 0) {
			compare->op = operators[i];
			return true;
		}
	return false;
}

static bool add_rule(scmp_filter_ctx context, uint32_t action, struct json_object *args)
{
	const int number = SCMP_SYS(ioctl);
	struct scmp_arg_cmp compare[6];
	size_t count = args ? json_object_array_length(args) : 0;
	unsigned int seen = 0;
	bool alternatives = false;

	if (count > 6)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!comparison_of(json_object_array_get_idx(args, i), &compare[i]))
			return false;
		alternatives = alternatives || (seen & (1U << compare[i].arg));
		seen |= 1U << compare[i].arg;
	}
	if (!alternatives)
		return !seccomp_rule_add_array(context, action, number, (unsigned int)count,
					       compare);
	for (size_t i = 0; i < count; i++)
		if (seccomp_rule_add_array(context, action, number, 1, &compare[i]))
			return false;
	return true;
}

static bool names_ioctl(struct json_object *rule)
{
	struct json_object *names = json_member(rule, "names", json_type_array);
	const char *name = json_member_string(rule, "name");

	if (name && strcmp(name, "ioctl") == 0)
		return true;
	for (size_t i = 0; names && i < json_object_array_length(names); i++) {
		name = json_object_get_string(json_object_array_get_idx(names, i));
		if (name && strcmp(name, "ioctl") == 0)
			return true;
	}
	return false;
}

static bool is_conditional(struct json_object *rule)
{
	static const char *const names[] = {"includes", "excludes"};

	for (int i = 0; i < 2; i++) {
		struct json_object *member = json_member(rule, names[i], json_type_object);

		if (member && json_object_object_length(member))
			return true;
	}
	return false;
}

static bool add_rules(scmp_filter_ctx context, struct json_object *profile, uint32_t fallback)
{
	struct json_object *rules = json_member(profile, "syscalls", json_type_array);

	for (size_t i = 0; rules && i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		uint32_t action;

		if (!names_ioctl(rule) || is_conditional(rule))
			continue;
		if (!action_of(rule, "action", "errnoRet", &action))
			return false;
		if (action != fallback &&
		    !add_rule(context, action, json_member(rule, "args", json_type_array)))
			return false;
	}
	return true;
}

static bool export(scmp_filter_ctx context, struct seccomp_code *program)
{
	cleanup_close int fd = memfd_create("profile", MFD_CLOEXEC);
	struct stat st;

	if (seccomp_export_bpf(context, fd) || fstat(fd, &st))
		return false;
	program->length = (size_t)st.st_size / sizeof(*program->code);
	program->code = malloc((size_t)st.st_size);
	return pread(fd, program->code, (size_t)st.st_size, 0) == st.st_size;
}

bool seccomp_compile(struct json_object *profile, struct seccomp_code *program)
{
	uint32_t fallback;
	scmp_filter_ctx context;
	bool good;

	if (!action_of(profile, "defaultAction", "defaultErrnoRet", &fallback))
		return false;
	/* libseccomp refuses an errno above 4095, and a runtime the profile with it. */
	context = seccomp_init(fallback);
	if (!context)
		return false;
	good = add_rules(context, profile, fallback) && export(context, program);
	seccomp_release(context);
	return good;
}

static bool jumps(uint16_t code, uint32_t a, uint32_t b)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JSET:
		return (a & b) != 0;
	}
	fuzz_check(false, "jump 0x%x", code);
	return false;
}

uint32_t seccomp_run(const struct seccomp_code *program, const struct seccomp_data *data)
{
	uint32_t a = 0, memory[BPF_MEMWORDS] = {0};

	for (size_t at = 0; at < program->length; at++) {
		const struct sock_filter *one = &program->code[at];

		if (one->code == (BPF_RET | BPF_K))
			return one->k;
		if (one->code == (BPF_LD | BPF_W | BPF_ABS)) {
			fuzz_check(one->k + 4 <= sizeof(*data), "load at %u", one->k);
			memcpy(&a, (const char *)data + one->k, sizeof(a));
		} else if (one->code == (BPF_LD | BPF_MEM)) {
			a = memory[one->k % BPF_MEMWORDS];
		} else if (one->code == BPF_ST) {
			memory[one->k % BPF_MEMWORDS] = a;
		} else if (one->code == (BPF_ALU | BPF_AND | BPF_K)) {
			a &= one->k;
		} else if (one->code == (BPF_JMP | BPF_JA)) {
			at += one->k;
		} else {
			fuzz_check(BPF_CLASS(one->code) == BPF_JMP, "code 0x%x", one->code);
			at += jumps(one->code, a, one->k) ? one->jt : one->jf;
		}
	}
	fuzz_check(false, "ran past the end");
	return 0;
}
