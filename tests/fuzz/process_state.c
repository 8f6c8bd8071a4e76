/* The ContainerProcessState that runtimes and hooks send to mpud. */
#include "base/cleanup.h"
#include "supervisor/mpud-protocol.h"
#include "tests/fuzz/json_input.h"

#include <errno.h>
#include <limits.h>

static size_t length_of(const char *text)
{
	return text ? strlen(text) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_json struct json_object *state = fuzz_parse(data, size);
	struct mpud_container container = {0};
	struct mpu_error error = {0};
	size_t index = SIZE_MAX;
	int result;

	if (!state)
		return 0;
	result = mpud_read_state(state, &container, &index, &error);
	fuzz_check(result == 0 || (result == -EINVAL && error.code == EINVAL && error.text[0]),
		   "result %d, error %d", result, error.code);
	if (result)
		return 0;
	fuzz_check(container.pid >= 0 && container.process >= 0, "pids %d and %d", container.pid,
		   container.process);
	fuzz_check(container.id && container.id[0], "no id");
	fuzz_check(index < json_object_array_length(json_object_object_get(state, "fds")),
		   "descriptor %zu", index);
	fuzz_check(!container.annotations ||
		       json_object_is_type(container.annotations, json_type_object),
		   "annotations");
	fuzz_check(length_of(container.bundle) + length_of(container.metadata) <= 6 * size,
		   "texts longer than the message");
	return 0;
}
