/* A seccomp profile: what its rules do to ioctl before and after, compiled as runtimes compile it.
 */
#include "runtime-hook/profile.h"

#include "base/cleanup.h"
#include "nvabi/confined.h"
#include "supervisor/settings.h"
#include "tests/fuzz/json_input.h"
#include "tests/fuzz/seccomp_run.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

static const char socket_path[] = "/run/mpu/mpud.sock";

/* What the container may call of the driver, or 0. */
static uint32_t confine;

static bool is_in(uint32_t request, const struct nvabi_ioctl *ioctls, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if ((request & ioctls[i].mask) == ioctls[i].value)
			return true;
	return false;
}

static bool passes_with_compute(uint32_t request)
{
	uint32_t count;
	const uint8_t *numbers = nvabi_compute_uvm(&count);

	return (confine & NVABI_CAP_COMPUTE) && !(request & 0xe000ff00) &&
	       memchr(numbers, (int)(request & 0xff), count);
}

static bool is_watched(uint32_t request)
{
	uint32_t count, uvm_count;
	const struct nvabi_ioctl *ioctls, *uvm = nvabi_confined_uvm(&uvm_count);

	if (!confine) {
		ioctls = nvabi_watched_ioctls(&count);
		return is_in(request, ioctls, count);
	}
	ioctls = nvabi_confined_ioctls(&count);
	return is_in(request, ioctls, count - uvm_count) ||
	       (is_in(request, uvm, uvm_count) && !passes_with_compute(request));
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
	static const uint64_t requests[] = {0xc020462a,
					    0xffffffffc020462a,
					    0x0020002a,
					    0xfffffff03fffff2a,
					    0xc01046d3,
					    0xffffffffc01046d3,
					    0x001000d3,
					    0,
					    0x5401,
					    0xc020462b,
					    0xc030462a,
					    0xc02046aa,
					    0xc02046d3,
					    0xffffffff,
					    0xffffffffffffffff,
					    0x1b,
					    0x21,
					    0x3e,
					    0x30000001,
					    0xc0384627,
					    0x00380027,
					    0x5401,
					    0xc01046ce,
					    0x80045430,
					    0x400454ca,
					    2};
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

/* Of most inputs nothing: a confinement takes its time. */
static uint32_t confine_of(size_t size)
{
	confine = 0;
	if (size % 8 > 5)
		confine = MPU_CONFINE_ON | NVABI_CAP_UTILITY;
	if (size % 8 == 7)
		confine |= NVABI_CAP_COMPUTE;
	return confine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_json struct json_object *profile = fuzz_parse(data, size), *before = NULL;
	cleanup_json struct json_object *flags = json_tokener_parse(
	    "[\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]");
	const struct profile_settings settings = {.socket = socket_path,
						  .metadata = size % 2 ? "mpu.view=host" : NULL,
						  .confine = confine_of(size),
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
