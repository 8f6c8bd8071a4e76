#include "tests/unit/runtime-hook/seccomp_json.h"

#include "base/cleanup.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static uint32_t action_of(struct json_object *json, const char *key, const char *number_key)
{
	const char *name = json_member_string(json, key);
	struct json_object *number = json_member(json, number_key, json_type_int);
	uint32_t value = number ? (uint32_t)json_object_get_int64(number) : EPERM;

	cr_assert_not_null(name);
	if (strcmp(name, "SCMP_ACT_ERRNO") == 0)
		return SCMP_ACT_ERRNO(value);
	if (strcmp(name, "SCMP_ACT_TRACE") == 0)
		return SCMP_ACT_TRACE(value);
	if (strcmp(name, "SCMP_ACT_ALLOW") == 0)
		return SCMP_ACT_ALLOW;
	if (strcmp(name, "SCMP_ACT_LOG") == 0)
		return SCMP_ACT_LOG;
	if (strcmp(name, "SCMP_ACT_TRAP") == 0)
		return SCMP_ACT_TRAP;
	if (strcmp(name, "SCMP_ACT_NOTIFY") == 0)
		return SCMP_ACT_NOTIFY;
	if (strcmp(name, "SCMP_ACT_KILL_PROCESS") == 0)
		return SCMP_ACT_KILL_PROCESS;
	cr_assert(strncmp(name, "SCMP_ACT_KILL", 13) == 0, "action %s", name);
	return SCMP_ACT_KILL_THREAD;
}

static struct scmp_arg_cmp comparison_of(struct json_object *json)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} operators[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
			 {"SCMP_CMP_LT", SCMP_CMP_LT},
			 {"SCMP_CMP_LE", SCMP_CMP_LE},
			 {"SCMP_CMP_EQ", SCMP_CMP_EQ},
			 {"SCMP_CMP_GE", SCMP_CMP_GE},
			 {"SCMP_CMP_GT", SCMP_CMP_GT},
			 {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
	struct scmp_arg_cmp compare = {0};
	const char *name = json_member_string(json, "op");

	compare.arg = (unsigned int)json_object_get_int(json_object_object_get(json, "index"));
	compare.datum_a = json_object_get_uint64(json_object_object_get(json, "value"));
	compare.datum_b = json_object_get_uint64(json_object_object_get(json, "valueTwo"));
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
		if (name && strcmp(name, operators[i].name) == 0)
			compare.op = operators[i].op;
	return compare;
}

static void add_rule(scmp_filter_ctx context, uint32_t action, int number, struct json_object *args)
{
	struct scmp_arg_cmp compare[6];
	unsigned int count = args ? (unsigned int)json_object_array_length(args) : 0;
	unsigned int seen = 0;
	bool alternatives = false;

	cr_assert_leq(count, 6);
	for (unsigned int i = 0; i < count; i++) {
		compare[i] = comparison_of(json_object_array_get_idx(args, i));
		alternatives = alternatives || (seen & (1U << compare[i].arg));
		seen |= 1U << compare[i].arg;
	}
	if (!alternatives) {
		int result = seccomp_rule_add_array(context, action, number, count, compare);

		cr_assert_eq(result, 0, "rule on %d: %s", number, strerror(-result));
		return;
	}
	for (unsigned int i = 0; i < count; i++)
		cr_assert_eq(seccomp_rule_add_array(context, action, number, 1, &compare[i]), 0);
}

static bool lists(struct json_object *object, const char *key, const char *wanted)
{
	struct json_object *list = json_member(object, key, json_type_array);

	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (strcmp(json_object_get_string(json_object_array_get_idx(list, i)), wanted) == 0)
			return true;
	return false;
}

static bool has_list(struct json_object *object, const char *key)
{
	struct json_object *list = json_member(object, key, json_type_array);

	return list && json_object_array_length(list) > 0;
}

/* An unprivileged container holds none of the capabilities that profiles ask for. */
static bool rule_applies(struct json_object *rule)
{
	struct json_object *includes = json_member(rule, "includes", json_type_object);
	struct json_object *excludes = json_member(rule, "excludes", json_type_object);
	const char *arch = seccomp_arch_native() == SCMP_ARCH_X86_64 ? "amd64" : "arm64";

	if (has_list(includes, "caps"))
		return false;
	if (has_list(includes, "arches") && !lists(includes, "arches", arch))
		return false;
	return !lists(excludes, "arches", arch);
}

static void add_architecture(scmp_filter_ctx context, const char *name)
{
	char lower[32] = "";
	int result;

	cr_assert(strncmp(name, "SCMP_ARCH_", 10) == 0, "architecture %s", name);
	for (size_t i = 0; name[10 + i] && i < sizeof(lower) - 1; i++)
		lower[i] = (char)tolower(name[10 + i]);
	result = seccomp_arch_add(context, seccomp_arch_resolve_name(lower));
	cr_assert(result == 0 || result == -EEXIST, "architecture %s", name);
}

static void add_architectures(scmp_filter_ctx context, struct json_object *profile)
{
	static const char *const x86[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
	struct json_object *list = json_member(profile, "architectures", json_type_array);

	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		add_architecture(context,
				 json_object_get_string(json_object_array_get_idx(list, i)));
	if (json_object_object_get_ex(profile, "archMap", NULL) &&
	    seccomp_arch_native() == SCMP_ARCH_X86_64)
		for (size_t i = 0; i < sizeof(x86) / sizeof(x86[0]); i++)
			add_architecture(context, x86[i]);
}

static void add_rules(scmp_filter_ctx context, struct json_object *profile, uint32_t fallback)
{
	struct json_object *rules = json_object_object_get(profile, "syscalls");

	for (size_t i = 0; rules && i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		struct json_object *names = json_member(rule, "names", json_type_array);
		uint32_t action = action_of(rule, "action", "errnoRet");

		if (action == fallback || !rule_applies(rule))
			continue;
		cr_assert_not_null(names);
		for (size_t j = 0; j < json_object_array_length(names); j++) {
			int number = seccomp_syscall_resolve_name(
			    json_object_get_string(json_object_array_get_idx(names, j)));

			if (number != __NR_SCMP_ERROR)
				add_rule(context, action, number,
					 json_member(rule, "args", json_type_array));
		}
	}
}

void seccomp_json_compile(struct json_object *profile, struct filter_program *program)
{
	uint32_t fallback = action_of(profile, "defaultAction", "defaultErrnoRet");
	scmp_filter_ctx context = seccomp_init(fallback);
	cleanup_close int fd = memfd_create("profile", MFD_CLOEXEC);
	struct stat st;

	cr_assert_not_null(context);
	add_architectures(context, profile);
	add_rules(context, profile, fallback);
	cr_assert_eq(seccomp_export_bpf(context, fd), 0);
	seccomp_release(context);
	cr_assert_eq(fstat(fd, &st), 0);
	program->length = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
	program->code = malloc((size_t)st.st_size);
	cr_assert_eq(pread(fd, program->code, (size_t)st.st_size, 0), st.st_size);
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
	cr_assert_fail("jump %#x", code);
	return false;
}

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t word;

	cr_assert(offset % 4 == 0 && offset < sizeof(*data), "load at %u", offset);
	memcpy(&word, (const char *)data + offset, sizeof(word));
	return word;
}

uint32_t bpf_run(const struct filter_program *program, const struct seccomp_data *data)
{
	uint32_t a = 0, memory[BPF_MEMWORDS] = {0};

	for (unsigned int at = 0; at < program->length; at++) {
		const struct sock_filter *one = &program->code[at];

		if (one->code == (BPF_RET | BPF_K))
			return one->k;
		if (one->code == (BPF_LD | BPF_W | BPF_ABS))
			a = load(data, one->k);
		else if (one->code == (BPF_LD | BPF_MEM))
			a = memory[one->k];
		else if (one->code == BPF_ST)
			memory[one->k] = a;
		else if (one->code == (BPF_ALU | BPF_AND | BPF_K))
			a &= one->k;
		else if (one->code == (BPF_JMP | BPF_JA))
			at += one->k;
		else if (BPF_CLASS(one->code) == BPF_JMP)
			at += jumps(one->code, a, one->k) ? one->jt : one->jf;
		else
			cr_assert_fail("instruction %#x", one->code);
	}
	cr_assert_fail("ran past the end");
	return 0;
}
