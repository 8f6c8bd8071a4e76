/* Controls whose parameters point to a list of the caller's (embedded_param_copy.c). What they
 * answer is no list of anything: each byte tells which call made it of what the caller had there.
 */
#include <string.h>

#include "tests/simrm/control.h"

enum { LIST_IN = 1, LIST_OUT = 2, LIST_SQUARE = 4 };

static const struct list_control {
	uint32_t cmd, size;
	struct {
		uint32_t count, pointer, entry; /* places in the parameters; bytes of an entry */
		unsigned how;
	} list[2];
} lists[] = {
    {0x127, 176, {{128, 160, 4, LIST_OUT | LIST_SQUARE}, {128, 168, 4, LIST_OUT | LIST_SQUARE}}},
    {0x410110, 16, {{0, 8, 8, LIST_IN | LIST_OUT}}},
    {0x800201, 16, {{0, 8, 4, LIST_IN | LIST_OUT}}},
    {0x801102, 16, {{0, 8, 1, LIST_OUT}}},
    {0x801104, 16, {{0, 8, 8, LIST_IN | LIST_OUT}}},
    {0x801301, 16, {{0, 8, 1, LIST_OUT}}},
    {0x801401, 16, {{0, 8, 1, LIST_OUT}}},
    {0x801701, 16, {{0, 8, 1, LIST_OUT}}},
    {0x80170d, 24, {{0, 8, 4, LIST_IN}, {0, 16, 4, LIST_IN | LIST_OUT}}},
    {0x801b01, 16, {{0, 8, 1, LIST_OUT}}},
    {0x20800122, 48, {{20, 24, 32, LIST_IN | LIST_OUT}}},
    {0x20800123, 16, {{0, 8, 4, LIST_IN | LIST_OUT}}},
    {0x20800124, 16, {{4, 8, 4, LIST_IN | LIST_OUT}}},
    {0x20800802, 16, {{0, 8, 8, LIST_IN | LIST_OUT}}},
    {0x20801201, 32, {{0, 8, 8, LIST_IN | LIST_OUT}}},
    {0x20801301, 16, {{0, 8, 8, LIST_IN | LIST_OUT}}},
    {0x20801802, 16, {{0, 8, 8, LIST_IN | LIST_OUT}}},
    {0x20802a01, 16, {{4, 8, 1, LIST_OUT}}},
};

static const struct list_control *find(uint32_t cmd)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (lists[i].cmd == cmd)
			return &lists[i];
	return NULL;
}

uint32_t list_size(const struct release *release, uint32_t cmd)
{
	const struct list_control *control = find(cmd);

	if (cmd == 0x127 && release->version.major < 550)
		return control->size - 8;
	return control ? control->size : 0;
}

enum object_kind list_object(uint32_t cmd)
{
	switch (cmd >> 16) {
	case 0:
		return OBJECT_CLIENT;
	case 0x41:
		return OBJECT_MEMORY;
	case 0x80:
		return OBJECT_DEVICE;
	default:
		return OBJECT_SUBDEVICE;
	}
}

static bool is_there(const struct control_call *call, const struct list_control *control,
		     unsigned i)
{
	return control->list[i].entry && control->list[i].pointer + 8 <= call->size;
}

/* As rmapiParamsAcquire(): a pointer without a size is an error, and a size without a pointer. */
uint32_t prepare_list(struct control_call *call)
{
	const struct list_control *control = find(call->cmd);
	unsigned char *params = call->params;
	uint32_t status = NV_OK;

	if (call->size != list_size(&call->driver->release, call->cmd))
		return NV_OK; /* refused later */
	for (unsigned i = 0; i < 2 && !status && is_there(call, control, i); i++) {
		uint64_t address, bytes;
		uint32_t count;

		memcpy(&count, params + control->list[i].count, sizeof(count));
		memcpy(&address, params + control->list[i].pointer, sizeof(address));
		bytes = (uint64_t)count * control->list[i].entry;
		if (control->list[i].how & LIST_SQUARE)
			bytes = address ? bytes * count : 0;
		status = control_embed(call, i, address, bytes);
		if (!status && (control->list[i].how & LIST_IN) &&
		    user_read(call->driver, call->tid, address, call->embedded[i].data, bytes))
			status = NV_ERR_INVALID_ADDRESS;
	}
	return status;
}

uint32_t run_list(struct control_call *call)
{
	const struct list_control *control = find(call->cmd);

	for (unsigned i = 0; i < 2 && is_there(call, control, i); i++) {
		unsigned char *bytes = call->embedded[i].data;

		if (!(control->list[i].how & LIST_OUT)) {
			call->embedded[i].size = 0; /* nothing goes back */
			continue;
		}
		for (uint32_t at = 0; at < call->embedded[i].size; at++)
			bytes[at] = (unsigned char)(bytes[at] * 3 + call->cmd + i + at);
	}
	return NV_OK;
}
