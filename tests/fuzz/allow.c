/* What an administrator allows besides: a file of rows for confined containers. */
#include "nvabi/allow.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The oldest with a public ABI, some between, the newest, and one known in part. */
static const char *const releases[] = {"515.43.04", "535.104.05", "550.163.01",
				       "570.86.15", "580.142",	  "620.06.00"};

enum { BEHIND_A_POINTER = 1 << 20 };

static void check_field(const struct nvabi_rule *rule, uint32_t offset, uint32_t width)
{
	fuzz_check(width == 1 || width == 2 || width == 4 || width == 8, "%s: %u bytes wide",
		   rule->name, width);
	fuzz_check(offset <= rule->size && width <= rule->size - offset,
		   "%s: field %u + %u of %u bytes", rule->name, offset, width, rule->size);
}

static void check_length(const struct nvabi_rule *rule, const struct nvabi_length *length)
{
	uint64_t most = length->constant;

	if (length->width) {
		check_field(rule, length->offset, length->width);
		fuzz_check(length->limit, "%s: a length without a limit", rule->name);
		most += (uint64_t)length->scale * length->limit *
			(length->square ? length->limit : 1);
	}
	fuzz_check(most <= BEHIND_A_POINTER, "%s: %llu bytes behind a pointer", rule->name,
		   (unsigned long long)most);
}

static void check_way(const struct nvabi_rule *rule)
{
	switch (rule->kind) {
	case NVABI_CONTROL:
		fuzz_check(rule->way != NVABI_WAY_CONTINUE, "%s is continued", rule->name);
		break;
	case NVABI_CLASS:
		fuzz_check(rule->way == NVABI_WAY_EXECUTE, "%s is not executed", rule->name);
		break;
	case NVABI_UVM:
		break;
	default:
		fuzz_check(rule->capabilities & NVABI_CAPS, "%s: nothing allows it", rule->name);
	}
}

static void check_rule(const struct nvabi_rule *rule)
{
	check_way(rule);
	for (uint32_t i = 0; i < rule->pointer_count; i++) {
		check_field(rule, rule->pointers[i].offset, 8);
		check_length(rule, &rule->pointers[i].length);
	}
	for (uint32_t i = 0; i < rule->descriptor_count; i++)
		check_field(rule, rule->descriptors[i].offset, rule->descriptors[i].width);
}

/* What mpu allows by itself is there still, made in the same way, and to no fewer. */
static void check_own(const struct nvabi_policy *own, const struct nvabi_policy *more)
{
	const struct nvabi_rule *rule;

	for (uint32_t i = 0; (rule = nvabi_policy_rule(own, i)); i++) {
		const struct nvabi_rule *now =
		    rule->pattern ? NULL : nvabi_policy_find(more, rule->kind, rule->number);

		fuzz_check(rule->pattern || now, "%s is gone", rule->name);
		fuzz_check(!now || (now->way == rule->way && now->size == rule->size &&
				    now->pointer_count == rule->pointer_count &&
				    !(rule->capabilities & ~now->capabilities)),
			   "%s is another", rule->name);
	}
}

static void check_release(const char *text, const struct nvabi_allow *allow)
{
	struct nvabi_policy *own = NULL, *more = NULL;
	const struct nvabi_rule *rule;
	struct nvabi_version version;

	fuzz_check(!nvabi_version_parse(text, &version), "%s is no version", text);
	fuzz_check(!nvabi_policy_open(&version, &own), "%s has no policy", text);
	fuzz_check(!nvabi_policy_open_with(&version, allow, &more), "%s has none with it", text);
	for (uint32_t i = 0; (rule = nvabi_policy_rule(more, i)); i++)
		check_rule(rule);
	check_own(own, more);
	nvabi_policy_close(more);
	nvabi_policy_close(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("allow", MFD_CLOEXEC);
	struct nvabi_allow *allow = NULL;
	struct mpu_error error = {0};
	char path[32];
	int result;

	fuzz_check(fd >= 0 && write(fd, data, size) == (ssize_t)size && !fchmod(fd, 0600),
		   "no file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	result = nvabi_allow_read(path, &allow, &error);
	close(fd);
	fuzz_check(result ? result == -error.code && error.text[0] && !allow : allow != NULL,
		   "%d without a reason", result);
	if (!result)
		for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++)
			check_release(releases[i], allow);
	nvabi_allow_free(allow);
	return 0;
}
