#include "supervisor/trace/call.h"

#include "base/cleanup.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/trace/decode.h"

#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	ARGUMENT_MAX = 1 << 14, /* _IOC_SIZE, and what XFER takes */
	PARAMS_MAX = 1 << 20,	/* the driver refuses more */
	LEGACY = 0x8000,	/* rmapi_gss_legacy_control.c */
	/* NV_ESC_RM_ALLOC takes NVOS21_PARAMETERS too, which begin as NVOS64_PARAMETERS do. Both
	 * got paramsSize in R525, in front of the status; NVOS64 had 40 bytes before. */
	SHORT_ALLOC = 32,
	FIRST_ALLOC = 40,
	ALLOC_PARAMS_SIZE = 32,
};

static void read_piece(pid_t tid, struct trace_piece *piece, uint32_t limit)
{
	uint32_t size = piece->size < limit ? piece->size : limit;

	if (!piece->address || !size)
		return;
	piece->bytes = malloc(size);
	if (piece->bytes && memory_read(tid, piece->address, piece->bytes, size)) {
		free(piece->bytes);
		piece->bytes = NULL;
	}
	piece->size = size;
}

static uint32_t get_u32(const uint8_t *bytes, size_t offset)
{
	uint32_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static uint64_t get_u64(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

/* ---- The outer call ---- */

/* The envelope is opened: what is in it is the call. */
static void open_envelope(struct trace_call *call)
{
	struct nv_ioctl_xfer xfer;

	if (call->number_of_kind != NV_ESC_IOCTL_XFER_CMD || call->argument.size != sizeof(xfer) ||
	    memory_read(call->tid, call->argument.address, &xfer, sizeof(xfer)))
		return;
	call->number_of_kind = xfer.cmd;
	call->argument.address = xfer.ptr;
	call->argument.size = xfer.size;
}

static void read_argument(struct trace_call *call, const struct names *names, struct nvabi_abi *abi)
{
	if (call->device == TRACE_DEVICE_UVM) {
		call->kind = NVABI_UVM;
		call->number_of_kind = call->request;
		call->outer = names_find(names, NVABI_UVM, call->request);
		call->argument.size = call->outer ? call->outer->size : 0;
	} else {
		call->kind = NVABI_ESCAPE;
		call->number_of_kind = _IOC_NR(call->request);
		call->argument.size = _IOC_SIZE(call->request);
		open_envelope(call);
		call->outer = names_find(names, NVABI_ESCAPE, call->number_of_kind);
	}
	read_piece(call->tid, &call->argument, ARGUMENT_MAX);
	call->status_offset = call->outer && call->outer->structure && call->argument.bytes
				  ? decode_status_offset(abi, call->outer->structure)
				  : -1;
	if (call->kind == NVABI_ESCAPE && call->number_of_kind == NV_ESC_RM_ALLOC &&
	    call->argument.size == SHORT_ALLOC && call->status_offset >= 0)
		call->status_offset = call->outer->size > FIRST_ALLOC ? 28 : 24;
	if (call->status_offset >= 0 &&
	    (uint32_t)call->status_offset + sizeof(uint32_t) > call->argument.size)
		call->status_offset = -1;
}

/* ---- The inner call ---- */

static void look_at_control(struct trace_call *call, const struct names *names)
{
	struct nvos54_parameters control;

	if (call->argument.size != sizeof(control))
		return;
	memcpy(&control, call->argument.bytes, sizeof(control));
	call->has_inner = true;
	call->inner_kind = NVABI_CONTROL;
	call->inner_number = control.cmd;
	call->inner = names_find(names, NVABI_CONTROL, control.cmd);
	call->params = (struct trace_piece){.address = control.params, .size = control.paramsSize};
}

/* NVOS21_PARAMETERS and NVOS64_PARAMETERS begin alike; the class says how long its params are where
 * the caller does not. */
static void look_at_alloc(struct trace_call *call, const struct names *names)
{
	const uint8_t *bytes = call->argument.bytes;

	if (call->argument.size < 24)
		return;
	call->has_inner = true;
	call->inner_kind = NVABI_CLASS;
	call->inner_number = get_u32(bytes, 12);
	call->inner = names_find(names, NVABI_CLASS, call->inner_number);
	call->params.address = get_u64(bytes, 16);
	if (call->inner)
		call->params.size = call->inner->size;
	else if (call->argument.size > FIRST_ALLOC)
		call->params.size = get_u32(bytes, ALLOC_PARAMS_SIZE);
}

static void look_inside(struct trace_call *call, const struct names *names)
{
	if (!call->argument.bytes || call->kind != NVABI_ESCAPE)
		return;
	if (call->number_of_kind == NV_ESC_RM_CONTROL)
		look_at_control(call, names);
	else if (call->number_of_kind == NV_ESC_RM_ALLOC)
		look_at_alloc(call, names);
	read_piece(call->tid, &call->params, PARAMS_MAX);
}

struct trace_call *trace_call_new(const struct seccomp_notif *notification,
				  enum trace_device device, const char *name,
				  const struct names *names, struct nvabi_abi *abi)
{
	struct trace_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	clock_gettime(CLOCK_REALTIME, &call->wall);
	call->id = notification->id;
	call->tid = (pid_t)notification->pid;
	call->device = device;
	call->fd = (int)notification->data.args[0];
	call->request = (uint32_t)notification->data.args[1];
	call->argument.address = notification->data.args[2];
	strcpy(call->device_name, name);
	read_argument(call, names, abi);
	look_inside(call, names);
	return call;
}

void trace_call_free(struct trace_call *call)
{
	if (!call)
		return;
	free(call->argument.bytes);
	free(call->params.bytes);
	text_free(&call->entered);
	text_free(&call->left);
	free(call);
}

/* ---- Its end ---- */

void trace_call_read_again(const struct trace_call *call, struct trace_piece *after)
{
	after[0] = call->argument;
	after[1] = call->params;
	for (int i = 0; i < 2; i++) {
		bool there = after[i].bytes;

		after[i].bytes = NULL;
		if (there)
			read_piece(call->tid, &after[i], after[i].size);
	}
}

/* The handle that the driver chose, where the caller left that to it. */
static bool may_differ(const struct trace_call *call, uint32_t at)
{
	const uint32_t new_object = 8;

	if (at >= (uint32_t)call->status_offset && at < (uint32_t)call->status_offset + 4)
		return true;
	return call->inner_kind == NVABI_CLASS && call->has_inner && at >= new_object &&
	       at < new_object + 4 && !get_u32(call->argument.bytes, new_object);
}

/* That the rest of the structure is as it was proves that nothing else lies there by now. */
void trace_call_read_status(struct trace_call *call, uint64_t next, uint32_t next_size)
{
	const struct trace_piece *was = &call->argument;
	cleanup_free uint8_t *is = NULL;

	call->end = TRACE_UNSEEN;
	if (call->status_offset < 0 || !was->bytes)
		return;
	if (next < was->address + was->size && was->address < next + next_size)
		return;
	is = malloc(was->size);
	if (!is || memory_read(call->tid, was->address, is, was->size))
		return;
	for (uint32_t i = 0; i < was->size; i++)
		if (is[i] != was->bytes[i] && !may_differ(call, i))
			return;
	call->end = TRACE_READ;
	call->status = get_u32(is, (size_t)call->status_offset);
	call->has_status = true;
}

bool trace_call_is_legacy(const struct trace_call *call)
{
	return call->has_inner && call->inner_kind == NVABI_CONTROL && call->inner_number & LEGACY;
}

unsigned int trace_call_names(const struct trace_call *call, struct select_name names[TRACE_NAMES])
{
	names[0] =
	    (struct select_name){(enum select_key)call->kind,
				 call->outer ? call->outer->name : NULL, call->number_of_kind};
	if (!call->has_inner)
		return 1;
	names[1] = (struct select_name){(enum select_key)call->inner_kind,
					call->inner ? call->inner->name : NULL, call->inner_number};
	return 2;
}
