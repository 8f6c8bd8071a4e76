/* Making the programs, by libseccomp. */
#include "filter/filter.h"

#include "base/cleanup.h"
#include "nvabi/pids.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void release_context(scmp_filter_ctx *context)
{
	if (*context)
		seccomp_release(*context);
}

const uint32_t *filter_native_architectures(void)
{
	static const uint32_t x86[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, 0};
	static const uint32_t arm[] = {SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, 0};
	static uint32_t native[] = {0, 0};

	native[0] = seccomp_arch_native();
	if (native[0] == SCMP_ARCH_X86_64)
		return x86;
	return native[0] == SCMP_ARCH_AARCH64 ? arm : native;
}

static int set_architectures(scmp_filter_ctx context, const uint32_t *architectures)
{
	int result = seccomp_arch_remove(context, seccomp_arch_native());

	for (; !result && *architectures; architectures++)
		result = seccomp_arch_add(context, *architectures);
	return result;
}

/* An argument is 64 bits wide and the request only 32: what stands above the mask is not compared,
 * as the driver does not look at it either. */
static int add_rules(scmp_filter_ctx context, const struct nvabi_ioctl *ioctls, uint32_t count)
{
	int result = 0;

	for (uint32_t i = 0; !result && i < count; i++)
		result = seccomp_rule_add(
		    context, SCMP_ACT_NOTIFY, SCMP_SYS(ioctl), 1,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, ioctls[i].mask, ioctls[i].value));
	return result;
}

/* libseccomp 2.5 exports to a file descriptor only. */
int filter_export(void *context, struct filter_program *program)
{
	cleanup_close int fd = memfd_create("mpu-filter", MFD_CLOEXEC);
	cleanup_free struct sock_filter *code = NULL;
	struct stat st;
	int result;

	if (fd < 0)
		return -errno;
	result = seccomp_export_bpf(context, fd);
	if (result)
		return result;
	if (fstat(fd, &st))
		return -errno;
	code = malloc((size_t)st.st_size);
	if (!code)
		return -ENOMEM;
	if (pread(fd, code, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	program->length = (unsigned short)((size_t)st.st_size / sizeof(*code));
	program->code = steal_ptr(code);
	return 0;
}

static int build(const uint32_t *architectures, bool trace, struct filter_program *program,
		 struct mpu_error *error)
{
	uint32_t watched_count, traced_count = 0;
	const struct nvabi_ioctl *watched = nvabi_watched_ioctls(&watched_count);
	const struct nvabi_ioctl *traced = trace ? nvabi_traced_ioctls(&traced_count) : NULL;
	scmp_filter_ctx context __attribute__((cleanup(release_context))) =
	    seccomp_init(SCMP_ACT_ALLOW);
	int result = context ? 0 : -ENOMEM;

	if (!result)
		result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
	if (!result)
		result = set_architectures(context, architectures);
	if (!result)
		result = add_rules(context, watched, watched_count);
	if (!result)
		result = add_rules(context, traced, traced_count);
	if (!result)
		result = filter_export(context, program);
	if (result)
		return mpu_fail(error, -result, "cannot build the seccomp filter: %s",
				strerror(-result));
	return 0;
}

int filter_build(const uint32_t *architectures, struct filter_program *program,
		 struct mpu_error *error)
{
	return build(architectures, false, program, error);
}

int filter_build_kind(const uint32_t *architectures, enum filter_kind kind,
		      struct filter_program *program, struct mpu_error *error)
{
	if (kind == FILTER_PIDS)
		return build(architectures, false, program, error);
	return filter_build_confine(architectures, kind == FILTER_CONFINE_COMPUTE, program, error);
}

int filter_build_trace(const uint32_t *architectures, struct filter_program *program,
		       struct mpu_error *error)
{
	return build(architectures, true, program, error);
}
