/* The changed filter gives the old verdict for every call, except NOTIFY where what is watched was
 * allowed: RM control, or all that a confined container may not call unseen. */
#include "base/cleanup.h"
#include "base/json.h"
#include "nvabi/confined.h"
#include "runtime-hook/profile.h"
#include "supervisor/settings.h"
#include "tests/unit/runtime-hook/seccomp_json.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <string.h>

enum { CALLS = 10000 };

static struct profile_settings settings = {.socket = "/run/mpu/mpud.sock"};

static uint64_t random64(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15U;
	uint64_t z = *state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

/* A request near those that matter: RM control, the envelope, terminals, one or two bits off, with
 * and without bits above 32. */
static uint64_t random_request(uint64_t *state)
{
	static const uint32_t known[] = {0xc020462a, 0xc01046d3, 0x0020002a, 0x001000d3, 0x5412,
					 0x5413,     0x541b,	 0x80045430, 0xc0303a2a, 0};
	uint64_t random = random64(state);
	uint64_t request = known[random % (sizeof(known) / sizeof(known[0]))];
	uint32_t count;
	const struct nvabi_ioctl *confined = nvabi_confined_ioctls(&count);

	if (settings.confine && (random & (1U << 14))) {
		confined += (random >> 48) % count;
		request = confined->value | (random64(state) & ~confined->mask & UINT32_MAX);
	} else if (settings.confine && (random & (1U << 15))) {
		request = (random >> 48) % 512; /* UVM's */
	}
	if (random & (1U << 10))
		request ^= 1ULL << ((random >> 16) % 32);
	if (random & (1U << 11))
		request ^= 1ULL << ((random >> 24) % 32);
	if (random & (1U << 12))
		request ^= (random64(state) & 0xc000ff00U);
	switch ((random >> 32) % 5) {
	case 0:
		return request | 0xffffffff00000000U;
	case 1:
		return request | (1ULL << (32 + (random >> 40) % 32));
	case 2:
		return random64(state);
	}
	return request;
}

static struct seccomp_data random_call(uint64_t *state)
{
	static const struct {
		uint32_t arch;
		int ioctl, limit;
	} architectures[] = {{AUDIT_ARCH_X86_64, 16, 470},
			     {AUDIT_ARCH_I386, 54, 470},
			     {AUDIT_ARCH_X86_64, 0x40000000 + 514, 0},
			     {AUDIT_ARCH_AARCH64, 29, 470}};
	uint64_t random = random64(state);
	size_t which = random % 8 > 3 ? 0 : random % 4;
	struct seccomp_data data = {.arch = architectures[which].arch,
				    .nr = architectures[which].ioctl};

	if (architectures[which].limit && (random >> 8) % 4 == 0)
		data.nr = (int)((random >> 16) % (unsigned int)architectures[which].limit);
	for (int i = 0; i < 6; i++)
		data.args[i] = (random >> (20 + i)) & 1 ? random64(state) : random64(state) % 8;
	if ((random >> 40) % 8)
		data.args[1] = random_request(state);
	return data;
}

static bool is_in(uint32_t request, const struct nvabi_ioctl *ioctls, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if ((request & ioctls[i].mask) == ioctls[i].value)
			return true;
	return false;
}

/* As filter_build_confine() has it. */
static bool is_confined(uint32_t request)
{
	uint32_t count, uvm_count, numbers_count;
	const struct nvabi_ioctl *ioctls = nvabi_confined_ioctls(&count);
	const struct nvabi_ioctl *uvm = nvabi_confined_uvm(&uvm_count);
	const uint8_t *numbers = nvabi_compute_uvm(&numbers_count);

	if (is_in(request, ioctls, count - uvm_count))
		return true;
	if ((settings.confine & NVABI_CAP_COMPUTE) && !(request & 0xe000ff00) &&
	    memchr(numbers, (int)(request & 0xff), numbers_count))
		return false;
	return is_in(request, uvm, uvm_count);
}

static bool watched(const struct seccomp_data *data)
{
	uint32_t request = (uint32_t)data->args[1] & 0x3fff00ff;
	bool ioctl = (data->arch == AUDIT_ARCH_X86_64 && data->nr == 16) ||
		     (data->arch == AUDIT_ARCH_X86_64 && data->nr == 0x40000000 + 514) ||
		     (data->arch == AUDIT_ARCH_I386 && data->nr == 54) ||
		     (data->arch == AUDIT_ARCH_AARCH64 && data->nr == 29);

	if (settings.confine)
		return ioctl && is_confined((uint32_t)data->args[1]);
	return ioctl && (request == 0x0020002a || request == 0x001000d3);
}

static bool allows(uint32_t verdict)
{
	return verdict == SECCOMP_RET_ALLOW || verdict == SECCOMP_RET_LOG;
}

/* Runs CALLS random calls through OLD and FRESH. Returns how many were notified. */
static unsigned int compare_verdicts(const struct filter_program *old,
				     const struct filter_program *fresh)
{
	uint64_t state = 20260728;
	unsigned int notified = 0;

	for (int i = 0; i < CALLS; i++) {
		struct seccomp_data data = random_call(&state);
		uint32_t before = bpf_run(old, &data), after = bpf_run(fresh, &data);
		uint32_t wanted =
		    watched(&data) && allows(before) ? SECCOMP_RET_USER_NOTIF : before;

		cr_assert_eq(after, wanted,
			     "arch %#x nr %d request %#llx: before %#x, after %#x, wanted %#x",
			     data.arch, data.nr, (unsigned long long)data.args[1], before, after,
			     wanted);
		notified += after == SECCOMP_RET_USER_NOTIF;
	}
	return notified;
}

static struct json_object *parse(const char *text)
{
	struct json_text json = {.bytes = (char *)text, .length = strlen(text)};
	struct mpu_error error = {0};
	struct json_object *object = json_parse_text(&json, "profile", &error);

	cr_assert_not_null(object, "%s", error.text);
	return object;
}

static unsigned int check_profile(const char *text)
{
	cleanup_json struct json_object *before = parse(text), *after = parse(text);
	cleanup_filter struct filter_program old = {0}, fresh = {0};
	struct mpu_error error = {0};

	cr_assert_eq(profile_watch(after, &settings, &error), PROFILE_CHANGED, "%s", error.text);
	cr_assert_str_eq(json_member_string(after, "listenerPath"), settings.socket);
	seccomp_json_compile(before, &old);
	seccomp_json_compile(after, &fresh);
	return compare_verdicts(&old, &fresh);
}

static void check_file(const char *name)
{
	cleanup_free char *path = NULL;
	struct json_text text = {0};
	struct mpu_error error = {0};

	cr_assert_gt(asprintf(&path, "%s/seccomp/%s", MPU_TEST_DATA, name), 0);
	cr_assert_eq(json_read_file(path, &text, &error), 0, "%s", error.text);
	cr_assert_gt(check_profile(text.bytes), 100, "hardly any call was notified");
	free(text.bytes);
}

/* As it is, and for containers confined with and without compute. */
static void check_file_confined(const char *name)
{
	static const uint32_t confinements[] = {MPU_CONFINE_ON | NVABI_CAP_UTILITY,
						MPU_CONFINE_ON | NVABI_CAP_COMPUTE};

	for (size_t i = 0; i < sizeof(confinements) / sizeof(confinements[0]); i++) {
		settings.confine = confinements[i];
		check_file(name);
	}
}

Test(profile_confine, podman_default_keeps_every_verdict)
{
	check_file_confined("podman.json");
}

Test(profile_confine, podman_config_keeps_every_verdict)
{
	check_file_confined("podman-config.json");
}

Test(profile_confine, docker_default_keeps_every_verdict)
{
	check_file_confined("docker.json");
}

Test(profile_confine, containerd_default_keeps_every_verdict)
{
	check_file_confined("containerd.json");
}

Test(profile, podman_default_keeps_every_verdict)
{
	check_file("podman.json");
}

Test(profile, podman_config_keeps_every_verdict)
{
	check_file("podman-config.json");
}

Test(profile, docker_default_keeps_every_verdict)
{
	check_file("docker.json");
}

Test(profile, containerd_default_keeps_every_verdict)
{
	check_file("containerd.json");
}

#define ARCHES		    "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],"
#define DENY		    "{\"defaultAction\":\"SCMP_ACT_ERRNO\"," ARCHES "\"syscalls\":["
#define ALLOW		    "{\"defaultAction\":\"SCMP_ACT_ALLOW\"," ARCHES "\"syscalls\":["
#define IOCTL(action, args) "{\"names\":[\"ioctl\"],\"action\":\"" action "\",\"args\":[" args "]}"
#define ARG(index, op, value)                                                                      \
	"{\"index\":" #index ",\"value\":" #value ",\"op\":\"SCMP_CMP_" #op "\"}"
#define MASKED(index, mask, value)                                                                 \
	"{\"index\":" #index ",\"value\":" #mask ",\"valueTwo\":" #value                           \
	",\"op\":\"SCMP_CMP_MASKED_EQ\"}"

Test(profile, unconfined_is_watched)
{
	cleanup_json struct json_object *profile = profile_unconfined();
	const char *text = json_object_to_json_string(profile);

	cr_assert_gt(check_profile(text), 100);
}

Test(profile_confine, unconfined_is_watched)
{
	cleanup_json struct json_object *profile = profile_unconfined();

	settings.confine = MPU_CONFINE_ON | NVABI_CAP_COMPUTE;
	cr_assert_gt(check_profile(json_object_to_json_string(profile)), 100);
}

Test(profile_confine, a_denied_request_stays_denied_beside_an_allowing_default)
{
	settings.confine = MPU_CONFINE_ON | NVABI_CAP_COMPUTE;
	cr_assert_gt(
	    check_profile(ALLOW IOCTL("SCMP_ACT_ERRNO", MASKED(1, 4294967295, 21522)) "]}"), 100);
}

Test(profile_confine, one_request_among_allowed_ones_is_watched)
{
	settings.confine = MPU_CONFINE_ON | NVABI_CAP_UTILITY;
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_ALLOW", ARG(1, EQ, 3223340586)) "," IOCTL(
			 "SCMP_ACT_ALLOW", ARG(1, EQ, 21522)) "]}"),
		     10);
}

Test(profile, rules_beside_ioctl_stay)
{
	cr_assert_gt(check_profile(DENY "{\"names\":[\"read\",\"ioctl\",\"write\"],"
					"\"action\":\"SCMP_ACT_ALLOW\"}]}"),
		     100);
}

Test(profile, one_request_among_allowed_ones_is_watched)
{
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_ALLOW", ARG(1, EQ, 3223340586)) "," IOCTL(
			 "SCMP_ACT_ALLOW", ARG(1, EQ, 21522)) "]}"),
		     10);
}

Test(profile, comparisons_of_other_arguments_stay)
{
	cr_assert_gt(
	    check_profile(DENY IOCTL("SCMP_ACT_ALLOW", ARG(0, EQ, 3) "," ARG(2, LT, 5)) "]}"), 10);
}

Test(profile, masked_requests_are_cut)
{
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_ALLOW", MASKED(1, 255, 42)) "]}"), 10);
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_ALLOW", MASKED(1, 65280, 17920)) "]}"), 10);
}

Test(profile, repeated_arguments_are_alternatives)
{
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_ALLOW",
					      ARG(1, EQ, 3223340586) "," ARG(1, EQ, 21522)) "]}"),
		     10);
}

Test(profile, a_denied_request_stays_denied_beside_an_allowing_default)
{
	cr_assert_gt(
	    check_profile(ALLOW IOCTL("SCMP_ACT_ERRNO", MASKED(1, 4294967295, 21522)) "]}"), 100);
}

Test(profile, log_is_an_allowing_action)
{
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_LOG", "") "]}"), 100);
	cr_assert_gt(
	    check_profile("{\"defaultAction\":\"SCMP_ACT_LOG\"," ARCHES "\"syscalls\":[]}"), 100);
}

Test(profile, the_first_unconditional_rule_wins_as_in_libseccomp)
{
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_TRAP", ARG(1, EQ, 21522)) "," IOCTL(
			 "SCMP_ACT_ALLOW", "") "," IOCTL("SCMP_ACT_TRAP", "") "]}"),
		     100);
}

Test(profile, other_actions_beside_allow_stay)
{
	cr_assert_gt(check_profile(DENY IOCTL("SCMP_ACT_ALLOW", ARG(1, EQ, 3223340586)) "," IOCTL(
			 "SCMP_ACT_TRAP", ARG(1, EQ, 21522)) "]}"),
		     10);
}

#define NARROW                                                                                     \
	"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_64\"],"          \
	"\"syscalls\":["

Test(profile, orderings_are_cut_exactly_on_64_bit_architectures)
{
	cr_assert_gt(check_profile(NARROW IOCTL("SCMP_ACT_ALLOW", ARG(1, NE, 21522)) "]}"), 100);
	cr_assert_gt(check_profile(NARROW IOCTL("SCMP_ACT_ALLOW", ARG(1, GT, 21522)) "]}"), 100);
	cr_assert_gt(check_profile(NARROW IOCTL("SCMP_ACT_ALLOW", ARG(1, GE, 21522)) "]}"), 100);
	cr_assert_gt(check_profile(NARROW IOCTL("SCMP_ACT_ALLOW", ARG(1, LE, 4294967295)) "]}"),
		     100);
	cr_assert_gt(check_profile(NARROW IOCTL("SCMP_ACT_ALLOW", ARG(1, LT, 3758096384)) "]}"),
		     100);
}

static int watch_text(const char *text, const struct profile_settings *how, struct mpu_error *error)
{
	cleanup_json struct json_object *profile = parse(text);

	return profile_watch(profile, how, error);
}

static void check_refused(const char *text, int code, const char *reason)
{
	struct mpu_error error = {0};

	cr_assert_eq(watch_text(text, &settings, &error), -code, "%s", error.text);
	cr_assert_not_null(strstr(error.text, reason), "%s", error.text);
}

Test(profile, a_listener_of_somebody_else_is_refused)
{
	check_refused("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/run/other.sock\"}",
		      EBUSY, "/run/other.sock");
	check_refused(ALLOW "{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}", EBUSY,
		      "SCMP_ACT_NOTIFY");
}

Test(profile, a_changed_profile_is_left_alone)
{
	cleanup_json struct json_object *profile = parse(DENY IOCTL("SCMP_ACT_ALLOW", "") "]}");
	cleanup_json struct json_object *once = NULL;
	struct mpu_error error = {0};

	cr_assert_eq(profile_watch(profile, &settings, &error), PROFILE_CHANGED);
	json_object_deep_copy(profile, &once, NULL);
	cr_assert_eq(profile_watch(profile, &settings, &error), PROFILE_ALREADY);
	cr_assert(json_object_equal(profile, once));
}

Test(profile_confine, the_metadata_says_which_filter_it_is)
{
	cleanup_json struct json_object *profile = profile_unconfined();
	struct mpu_error error = {0};

	settings.confine = MPU_CONFINE_ON | NVABI_CAP_COMPUTE | NVABI_CAP_UTILITY | MPU_CONFINE_STRICT;
	settings.metadata = "mpu.view=host";
	cr_assert_eq(profile_watch(profile, &settings, &error), PROFILE_CHANGED);
	cr_assert_str_eq(json_member_string(profile, "listenerMetadata"),
			 "mpu.filter=confine-compute mpu.confine=compute,utility,strict "
			 "mpu.view=host");
	cr_assert_eq(profile_watch(profile, &settings, &error), PROFILE_ALREADY);
	/* Not for a container that may not have what this filter lets through. */
	settings.confine = MPU_CONFINE_ON | NVABI_CAP_UTILITY;
	cr_assert_eq(profile_watch(profile, &settings, &error), -EBUSY);
	cr_assert_not_null(strstr(error.text, "lets calls of compute through"), "%s", error.text);
}

Test(profile_confine, a_filter_that_shows_too_little_is_refused)
{
	cleanup_json struct json_object *profile = profile_unconfined();
	struct mpu_error error = {0};

	cr_assert_eq(profile_watch(profile, &settings, &error), PROFILE_CHANGED);
	settings.confine = MPU_CONFINE_ON | NVABI_CAP_COMPUTE;
	cr_assert_eq(profile_watch(profile, &settings, &error), -EBUSY);
	cr_assert_not_null(strstr(error.text, "does not show its calls"), "%s", error.text);
}

Test(profile, contradictions_are_refused)
{
	check_refused(DENY IOCTL("SCMP_ACT_ALLOW", MASKED(1, 255, 42)) "," IOCTL(
			  "SCMP_ACT_TRAP", MASKED(1, 65280, 17920)) "]}",
		      ENOTSUP, "contradict");
	check_refused(ALLOW IOCTL("SCMP_ACT_ERRNO", ARG(1, EQ, 3223340586)) "]}", ENOTSUP,
		      "takes a part");
	check_refused(DENY IOCTL("SCMP_ACT_ALLOW", ARG(1, NE, 4294967296)) "]}", ENOTSUP,
		      "more than 32 bits");
}

Test(profile, a_profile_that_denies_is_told)
{
	struct mpu_error error = {0};

	cr_assert_eq(watch_text(DENY "]}", &settings, &error), PROFILE_DENIES);
	cr_assert_eq(watch_text(ALLOW IOCTL("SCMP_ACT_ERRNO", "") "]}", &settings, &error),
		     PROFILE_DENIES);
	cr_assert_eq(
	    watch_text(DENY IOCTL("SCMP_ACT_ALLOW", ARG(1, EQ, 21522)) "]}", &settings, &error),
	    PROFILE_DENIES);
}

Test(profile, malformed_profiles_are_refused)
{
	check_refused("{}", EINVAL, "defaultAction");
	check_refused("{\"defaultAction\":3}", EINVAL, "defaultAction");
	check_refused("{\"defaultAction\":\"SCMP_ACT_MAYBE\"}", EINVAL, "SCMP_ACT_MAYBE");
	check_refused("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}", EINVAL,
		      "not a list");
	check_refused(ALLOW "7]}", EINVAL, "without names");
	check_refused(ALLOW "{\"action\":\"SCMP_ACT_ERRNO\"}]}", EINVAL, "without names");
	check_refused(DENY IOCTL("SCMP_ACT_ALLOW", ARG(9, EQ, 1)) "]}", EINVAL, "argument 9");
	check_refused(DENY IOCTL("SCMP_ACT_ALLOW", ARG(1, LIKE, 1)) "]}", EINVAL, "SCMP_CMP_LIKE");
	check_refused(DENY IOCTL("SCMP_ACT_ALLOW", "7") "]}", EINVAL, "unknown operator");
}

static const char *flags_after(const char *profile_text, const char *runtime_flags)
{
	struct json_object *flags = runtime_flags ? json_tokener_parse(runtime_flags) : NULL;
	const struct profile_settings with_flags = {.socket = "/s", .runtime_flags = flags};
	struct json_object *profile = parse(profile_text);
	struct mpu_error error = {0};
	const char *result;

	cr_assert_eq(profile_watch(profile, &with_flags, &error), PROFILE_CHANGED, "%s",
		     error.text);
	result = strdup(json_object_to_json_string_ext(json_object_object_get(profile, "flags"),
						       JSON_C_TO_STRING_PLAIN));
	json_object_put(profile);
	json_object_put(flags);
	return result;
}

#define KILLABLE "\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\""
#define SPEC	 "\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\""
#define LOG_FLAG "\"SECCOMP_FILTER_FLAG_LOG\""

Test(profile, flags_are_set_where_the_runtime_takes_them_only)
{
	static const struct {
		const char *profile, *runtime, *wanted;
	} cases[] = {
	    {ALLOW "]}", NULL, "null"},
	    {ALLOW "]}", "[" LOG_FLAG "]", "null"},
	    {ALLOW "]}", "[" KILLABLE "]", "[" KILLABLE "]"},
	    {ALLOW "]}", "[" SPEC "," KILLABLE "]", "[" SPEC "," KILLABLE "]"},
	    {ALLOW "],\"flags\":[" LOG_FLAG "]}", "[" SPEC "," KILLABLE "]",
	     "[" LOG_FLAG "," KILLABLE "]"},
	    {ALLOW "],\"flags\":[" KILLABLE "]}", "[" KILLABLE "]", "[" KILLABLE "]"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_free const char *flags = flags_after(cases[i].profile, cases[i].runtime);

		cr_assert_str_eq(flags, cases[i].wanted, "case %zu: %s", i, flags);
	}
}

Test(profile, rules_that_would_take_libseccomp_minutes_are_refused)
{
	check_refused(
	    NARROW IOCTL("SCMP_ACT_ALLOW", ARG(1, GT, 2147767344) "," ARG(2, LE, 4)) "," IOCTL(
		"SCMP_ACT_ALLOW", ARG(1, NE, 21522) "," ARG(0, NE, 5)) "]}",
	    E2BIG, "too many parts");
}

/* Sets of orderings cover one another in ways that are dear to find out. */
Test(profile, contrived_orderings_are_decided_in_time, .timeout = 20)
{
	struct mpu_error error = {0};

	cr_assert_eq(watch_text("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":"
				"[\"SCMP_ARCH_X86_64\"],\"syscalls\":[" IOCTL(
				    "SCMP_ACT_ERRNO", ARG(1, GE, 5138)) "]}",
				&settings, &error),
		     PROFILE_DENIES, "%s", error.text);
}

/* One to three rules on ioctl that compare the request by any operator, with values around the
 * watched ones. */
static const char *random_profile(uint64_t *state, char *text, size_t size)
{
	static const char *const operators[] = {"EQ", "MASKED_EQ", "NE", "LT", "LE", "GT", "GE"};
	static const char *const actions[] = {"ALLOW", "ALLOW", "ALLOW", "ERRNO", "LOG", "TRAP"};
	static const uint64_t masks[] = {0xff, 0xff00, 0xffffffff, 0x3fff00ff, 0xf0000000, 0x20};
	int used = snprintf(text, size, NARROW);
	uint64_t rules = random64(state) % 3 + 1;

	if (random64(state) % 3 == 0)
		used = snprintf(text, size,
				"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":"
				"[\"SCMP_ARCH_X86_64\"],\"syscalls\":[");
	for (uint64_t i = 0; i < rules; i++) {
		uint64_t value = random_request(state), two = 0;
		uint64_t op = random64(state) % 7;

		if (op == 1) {
			value = masks[random64(state) % 6];
			two = random_request(state) & value;
		}
		used += snprintf(text + used, size - (size_t)used,
				 "%s{\"names\":[\"ioctl\"],\"action\":\"SCMP_ACT_%s\",\"args\":[{"
				 "\"index\":1,\"value\":%llu,\"valueTwo\":%llu,\"op\":"
				 "\"SCMP_CMP_%s\"}]}",
				 i ? "," : "", actions[random64(state) % 6],
				 (unsigned long long)value, (unsigned long long)two, operators[op]);
	}
	snprintf(text + used, size - (size_t)used, "]}");
	return text;
}

Test(profile, random_rules_on_ioctl_keep_every_verdict_or_are_refused, .timeout = 300)
{
	uint64_t state = 4;
	int changed = 0;

	for (int i = 0; i < 100; i++) {
		char text[4096];
		cleanup_json struct json_object *profile =
		    parse(random_profile(&state, text, sizeof(text)));
		struct mpu_error error = {0};
		int outcome = profile_watch(profile, &settings, &error);

		cr_assert(outcome >= 0 || error.text[0], "%s", text);
		if (outcome != PROFILE_CHANGED)
			continue;
		check_profile(text);
		changed++;
	}
	cr_assert_gt(changed, 30, "hardly any profile was changed");
}
