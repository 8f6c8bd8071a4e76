/* The driver's version, as a user writes it and as /proc/driver/nvidia/version tells it. */
#include "nvabi/version.h"
#include "tests/fuzz/fuzz.h"

static void check_format(const struct nvabi_version *version)
{
	char text[NVABI_VERSION_TEXT];
	struct nvabi_version again;

	fuzz_check(version->parts >= 1 && version->parts <= 3, "%u parts", version->parts);
	fuzz_check(nvabi_version_format(version, text) == text, "another text");
	fuzz_check(strlen(text) < sizeof(text), "%zu characters", strlen(text));
	fuzz_check(!nvabi_version_parse(text, &again), "%s does not parse", text);
	fuzz_check(!nvabi_version_compare(version, &again), "%s is another version", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *exact = malloc(size ? size : 1);
	struct nvabi_version version;

	memcpy(text, data, size);
	text[size] = '\0';
	/* find() gets no NUL, and no byte behind the last. */
	memcpy(exact, data, size);
	if (!nvabi_version_parse(text, &version))
		check_format(&version);
	if (!nvabi_version_find(exact, size, &version)) {
		fuzz_check(version.parts >= 2, "found one of %u parts", version.parts);
		check_format(&version);
	}
	free(exact);
	free(text);
	return 0;
}
