/* How a call is printed. */
#ifndef SUPERVISOR_TRACE_LINE_H
#define SUPERVISOR_TRACE_LINE_H

#include "supervisor/trace/call.h"
#include "supervisor/trace/decode.h"

struct line_style {
	bool json, colour;
	const struct nvabi_abi *abi; /* of the statuses' names; NULL: numbers */
};

/* Prints the call's parameters into OUT: with AFTER (two pieces, argument and params) those that
 * have changed, else as they were when it was trapped. DECODE's values are set here. */
void line_parameters(const struct trace_call *call, const struct trace_piece *after,
		     struct decode *decode, bool json, struct text *out);

/* One line with its newline. */
void line_print(const struct trace_call *call, const struct line_style *style, struct text *out);

/* The name of STATUS, or its number in BUFFER. */
enum { LINE_STATUS = 16 };
const char *line_status(const struct nvabi_abi *abi, uint32_t status, char buffer[LINE_STATUS]);

/* "NV2080_CTRL_CMD_GPU_GET_PIDS", "NV_ESC_RM_ALLOC NV01_ROOT", "control 0x20808159". */
void line_call_name(const struct trace_call *call, struct text *out);

#endif
