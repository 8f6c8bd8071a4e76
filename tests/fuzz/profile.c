/* A seccomp profile: what its rules do to ioctl before and after, compiled as runtimes compile it.
 */
#include "runtime-hook/profile.h"

#include "base/cleanup.h"
#include "nvabi/pids.h"
#include "tests/fuzz/json_input.h"
#include "tests/fuzz/seccomp_run.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

static const char socket_path[] = "/run/mpu/mpud.sock";

static bool is_watched(uint32_t request)
{
	uint32_t count;
	const struct nvabi_ioctl *watched = nvabi_watched_ioctls(&count);

	for (uint32_t i = 0; i < count; i++)
		if ((request & watched[i].mask) == watched[i].value)
			return true;
	return false;
}

static bool allows(uint32_t action)
{
	action &= SECCOMP_RET_ACTION_FULL;
	return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

/* Where 32-bit architectures share the filter, filter/oci.h takes the low 32 bits of a request for
 * all of it: what stands above them may decide differently then. */
static bool compares_64_bits(struct json_object *profile)
{
	struct json_object *list = json_member(profile, "architectures", json_type_array);

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(list, i));

		if (!name || strcmp(name, "SCMP_ARCH_X86_64") != 0)
			return false;
	}
	return !json_object_object_get_ex(profile, "archMap", NULL);
}

/* What was denied stays denied the same way, what was allowed stays allowed, and only what is
 * watched goes to the listener. */
static void compare(const struct seccomp_code *before, const struct seccomp_code *after,
		    uint64_t request)
{
	const struct seccomp_data data = {
	    .nr = SYS_ioctl, .arch = AUDIT_ARCH_X86_64, .args = {3, request, 0x7fff00001000}};
	uint32_t was = seccomp_run(before, &data), is = seccomp_run(after, &data);
	uint32_t wanted =
	    allows(was) && is_watched((uint32_t)request) ? SECCOMP_RET_USER_NOTIF : was;

	fuzz_check(is == wanted, "request 0x%llx: was 0x%x, is 0x%x", (unsigned long long)request,
		   was, is);
}

static void check_changed(struct json_object *before, struct json_object *profile,
			  const struct profile_settings *settings)
{
	static const uint64_t requests[] = {
	    0xc020462a, 0xffffffffc020462a, 0x0020002a,	       0xfffffff03fffff2a,
	    0xc01046d3, 0xffffffffc01046d3, 0x001000d3,	       0,
	    0x5401,	0xc020462b,	    0xc030462a,	       0xc02046aa,
	    0xc02046d3, 0xffffffff,	    0xffffffffffffffff};
	struct seccomp_code old = {0}, fresh = {0};
	bool wide = compares_64_bits(before);
	struct mpu_error error = {0};

	fuzz_check(profile_watch(profile, settings, &error) == PROFILE_ALREADY,
		   "is changed once more: %s", error.text);
	fuzz_check_written(profile);
	/* What libseccomp itself does not take no runtime starts, before or after. */
	if (seccomp_compile(before, &old) && seccomp_compile(profile, &fresh))
		for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
			if (wide || requests[i] <= UINT32_MAX)
				compare(&old, &fresh, requests[i]);
	free(old.code);
	free(fresh.code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_json struct json_object *profile = fuzz_parse(data, size), *before = NULL;
	cleanup_json struct json_object *flags = json_tokener_parse(
	    "[\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]");
	const struct profile_settings settings = {.socket = socket_path,
						  .metadata = size % 2 ? "mpu.view=host" : NULL,
						  .runtime_flags = size % 3 ? flags : NULL};
	struct mpu_error error = {0};
	int result;

	if (!profile)
		return 0;
	json_object_deep_copy(profile, &before, NULL);
	result = profile_watch(profile, &settings, &error);
	fuzz_check(result >= 0 || (error.code == -result && error.text[0]), "result %d, error %d",
		   result, error.code);
	if (result == PROFILE_CHANGED)
		check_changed(before, profile, &settings);
	return 0;
}
