#include "supervisor/confine/escape.h"

#include "supervisor/call.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/nsfs.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	XFER_MAX = 16384,     /* NV_ABSOLUTE_MAX_IOCTL_SIZE */
	PARAMS_MAX = 1 << 20, /* the driver refuses more before it reads them */
	/* NVOS21_PARAMETERS and NVOS64_PARAMETERS begin alike. */
	ALLOC_CLASS = 12,
	ALLOC_PARAMS = 16,
	ALLOC_FLAGS = 32, /* not before here */
	HEAP_FUNCTION = 8,
	MEMORY_CLASS = 12,
	NV01_EVENT_OS_EVENT = 0x79,
	UVM_REGISTER_GPU = 37,
};

static enum verdict refuse(struct confined *call, uint32_t kind, uint32_t number,
			   const struct nvabi_rule *rule)
{
	call->refused = (struct refused_call){.kind = kind, .number = number, .rule = rule};
	return VERDICT_REFUSE;
}

enum verdict escape_answer(struct confined *call, int errnum)
{
	call->answer = errnum;
	return VERDICT_ANSWER;
}

/* What else there is to a rule than the container's capabilities. */
static bool is_way_open(const struct confined *call, const struct nvabi_rule *rule)
{
	const bool strict = call->confine & MPU_CONFINE_STRICT;

	if (strict &&
	    (rule->pattern || (rule->way == NVABI_WAY_CONTINUE && rule->kind != NVABI_UVM)))
		return false;
	return rule->way != NVABI_WAY_FIRMWARE || call->listener->engine->options.driver.is_open;
}

enum verdict escape_look_up(struct confined *call, uint32_t kind, uint32_t number)
{
	const struct nvabi_rule *rule =
	    nvabi_policy_find(call->listener->engine->policy, kind, number);

	if (!rule || !(rule->capabilities & call->confine & NVABI_CAPS))
		return refuse(call, kind, number, rule);
	if (kind == NVABI_ESCAPE)
		call->rule = rule;
	else
		call->inner = rule;
	if (!is_way_open(call, rule))
		return refuse(call, kind, number, rule);
	return rule->way == NVABI_WAY_CONTINUE ? VERDICT_CONTINUE : VERDICT_EXECUTE;
}

/* ---- NV_ESC_RM_ALLOC has two forms ---- */

static bool is_short(const struct confined *call)
{
	return call->rule->short_size && call->size == call->rule->short_size &&
	       call->size != call->rule->size;
}

uint32_t escape_status_offset(const struct confined *call)
{
	return is_short(call) ? call->rule->short_status : call->rule->status;
}

/* Before the status of the longer form, from 525 on; before that its 40 bytes end with the status.
 */
static uint32_t alloc_flags(const struct confined *call, const uint8_t *params)
{
	if (is_short(call) || call->rule->status < ALLOC_FLAGS + sizeof(uint32_t))
		return 0;
	return get_u32(params, call->rule->status - sizeof(uint32_t));
}

/* ---- The decision ---- */

/* What lies behind a pointer of the ioctl's parameters. */
static enum verdict take_behind(struct confined *call, uint64_t address, uint64_t length)
{
	struct translation *translation = &call->translation;

	if (address && length && length <= PARAMS_MAX)
		call->behind = translation_take(translation, address, length, NVABI_IN | NVABI_OUT);
	if (translation->error)
		return VERDICT_TROUBLE;
	if (!call->behind)
		return VERDICT_EXECUTE;
	if (!translation_is_allowed(call->inner, translation->area + call->behind,
				    (uint32_t)length))
		return refuse(call, call->inner->kind, call->inner->number, call->inner);
	/* A few controls are read as long as they should be, whatever the caller says. */
	if (length < call->inner->size)
		translation_skip(translation, call->inner->size - (uint32_t)length);
	return VERDICT_EXECUTE;
}

/* Whether call.c handles it: it carries process ids. */
static bool is_handled(const struct confined *call, uint32_t cmd)
{
	const struct listener *listener = call->listener;
	const struct nvabi_pids *pids = &listener->engine->options.pids;
	const struct nvabi_pid_control *layout = nvabi_pids_find(pids, cmd);

	if (!layout || !watch_table_has(&listener->watch, cmd))
		return false;
	return policy_handles(pids, &listener->entry->settings, layout,
			      nsfs_id_of(call->target.tid, "pid") == NSFS_INIT_PID);
}

/* Category and index 0: the driver looks at nothing else then. */
static bool is_null_control(uint32_t cmd)
{
	return (cmd & 0xffff) == 0;
}

static enum verdict decide_control(struct confined *call, const uint8_t *params)
{
	struct nvos54_parameters control;
	enum verdict verdict;

	memcpy(&control, params, sizeof(control));
	if (is_null_control(control.cmd))
		return VERDICT_NOTHING;
	/* Serialized parameters are of another shape. No program that is known sends them. */
	if (control.flags & NVABI_SERIALIZED_CONTROL)
		return refuse(call, NVABI_CONTROL, control.cmd, NULL);
	verdict = escape_look_up(call, NVABI_CONTROL, control.cmd);
	if (verdict != VERDICT_EXECUTE)
		return verdict;
	if (is_handled(call, control.cmd)) {
		call->slot->control = control;
		call->slot->control_address = call->address;
		return VERDICT_HANDLE;
	}
	return take_behind(call, control.params, control.paramsSize);
}

/* NV01_EVENT is no class: the driver takes that of the event's parameters. All of them have the
 * same. */
static enum verdict decide_event(struct confined *call, const uint8_t *params)
{
	enum verdict verdict = escape_look_up(call, NVABI_CLASS, NV01_EVENT_OS_EVENT);
	uint32_t size;

	if (verdict != VERDICT_EXECUTE)
		return verdict;
	size = call->inner->size;
	verdict = take_behind(call, get_u64(params, ALLOC_PARAMS), size);
	if (verdict != VERDICT_EXECUTE || !call->behind)
		return verdict;
	verdict =
	    escape_look_up(call, NVABI_CLASS,
			   get_u32(call->translation.area + call->behind, NVABI_EVENT_SUBCLASS));
	if (verdict == VERDICT_EXECUTE && call->inner->size != size)
		return refuse(call, NVABI_CLASS, call->inner->number, call->inner);
	return verdict;
}

static enum verdict decide_class(struct confined *call, const uint8_t *params)
{
	uint32_t number = get_u32(params, ALLOC_CLASS);
	enum verdict verdict;

	if (alloc_flags(call, params) & NVABI_SERIALIZED_ALLOC)
		return refuse(call, NVABI_CLASS, number, NULL);
	if (number == NVABI_EVENT_CLASS)
		return decide_event(call, params);
	verdict = escape_look_up(call, NVABI_CLASS, number);
	if (verdict != VERDICT_EXECUTE)
		return verdict;
	return take_behind(call, get_u64(params, ALLOC_PARAMS), call->inner->size);
}

/* Told apart by a field of the ioctl's own parameters. */
static enum verdict decide_by_field(struct confined *call, const uint8_t *params, uint32_t kind,
				    uint32_t offset)
{
	enum verdict verdict = escape_look_up(call, kind, get_u32(params, offset));

	/* What is passed on is read once more, the envelope too: any other call could be in it. */
	if (verdict == VERDICT_CONTINUE && call->wrapped)
		return refuse(call, kind, call->inner->number, call->inner);
	if (verdict == VERDICT_EXECUTE && !translation_is_allowed(call->inner, params, call->size))
		return refuse(call, kind, call->inner->number, call->inner);
	return verdict;
}

/* Plain, or in an envelope, which does not nest. */
static int unwrap(struct confined *call)
{
	const struct seccomp_data *data = &call->slot->notification.data;
	uint32_t request = (uint32_t)data->args[1];
	struct nv_ioctl_xfer xfer;
	int result;

	call->number = _IOC_NR(request);
	call->size = _IOC_SIZE(request);
	call->address = data->args[2];
	if (call->number != NV_ESC_IOCTL_XFER_CMD)
		return 0;
	if (call->size != sizeof(xfer))
		return -EINVAL;
	result =
	    memory_read((pid_t)call->slot->notification.pid, call->address, &xfer, sizeof(xfer));
	if (result)
		return result;
	call->wrapped = true;
	call->number = xfer.cmd;
	call->size = xfer.size;
	call->address = xfer.ptr;
	return xfer.size > XFER_MAX ? -EINVAL : 0;
}

/* Copies the ioctl's own parameters, once. */
static int copy_own(struct confined *call)
{
	struct translation *translation = &call->translation;

	if (!call->size)
		call->own = translation_put(translation, call->address, "", 0, 0);
	else
		call->own =
		    translation_take(translation, call->address, call->size, NVABI_IN | NVABI_OUT);
	if (call->own)
		return 0;
	return translation->error ? translation->error : -EFAULT;
}

static bool is_size_known(const struct confined *call)
{
	const struct nvabi_rule *rule = call->rule;

	return !rule->size || call->size == rule->size ||
	       (rule->short_size && call->size == rule->short_size);
}

enum verdict escape_decide(struct confined *call)
{
	int result = unwrap(call);
	enum verdict verdict;
	const uint8_t *params;

	if (result)
		return result == -EFAULT || result == -EINVAL ? escape_answer(call, result)
							      : VERDICT_TROUBLE;
	if (call->number == NV_ESC_IOCTL_XFER_CMD)
		return refuse(call, NVABI_ESCAPE, call->number, NULL);
	verdict = escape_look_up(call, NVABI_ESCAPE, call->number);
	if (verdict != VERDICT_EXECUTE)
		return verdict;
	if (!is_size_known(call))
		return escape_answer(call, -EINVAL);
	result = copy_own(call);
	if (result)
		return result == -EFAULT ? escape_answer(call, result) : VERDICT_TROUBLE;
	params = call->translation.area + call->own;
	switch (call->number) {
	case NV_ESC_RM_CONTROL:
		return decide_control(call, params);
	case NV_ESC_RM_ALLOC:
		return decide_class(call, params);
	case NV_ESC_RM_VID_HEAP_CONTROL:
		return decide_by_field(call, params, NVABI_HEAP_FUNCTION, HEAP_FUNCTION);
	case NV_ESC_RM_ALLOC_MEMORY:
		return decide_by_field(call, params, NVABI_MEMORY_CLASS, MEMORY_CLASS);
	default:
		if (!translation_is_allowed(call->rule, params, call->size))
			return refuse(call, NVABI_ESCAPE, call->number, call->rule);
		return VERDICT_EXECUTE;
	}
}

/* A number in a register says which; most are bound to the caller's memory, and passed on. */
enum verdict escape_decide_uvm(struct confined *call)
{
	enum verdict verdict =
	    escape_look_up(call, NVABI_UVM, (uint32_t)call->slot->notification.data.args[1]);
	int result;

	if (verdict != VERDICT_EXECUTE)
		return verdict;
	call->rule = call->inner;
	call->inner = NULL;
	call->number = call->rule->number;
	call->size = call->rule->size;
	call->address = call->slot->notification.data.args[2];
	result = copy_own(call);
	if (!result)
		return VERDICT_EXECUTE;
	return result == -EFAULT ? escape_answer(call, result) : VERDICT_TROUBLE;
}

/* ---- What the driver is to see ---- */

/* The u64 at OFFSET of the ioctl's parameters, which leads to what was taken from there. */
static void point(struct confined *call, uint32_t offset, uint32_t to)
{
	struct translation *translation = &call->translation;

	if (get_u64(translation->area, call->own + offset))
		translation_point(translation, call->own + offset, to);
}

static void translate_behind(struct confined *call, uint32_t pointer, uint32_t length)
{
	enum translation_form form =
	    !call->inner->size || call->inner->size == length ? FORM_WHOLE : FORM_WRONG;

	point(call, pointer, call->behind);
	if (call->behind)
		translation_fields(&call->translation, call->inner, call->behind, length, form);
}

/* Nobody gets a device object, or registers a GPU with UVM, who has not got the GPU's device open: the
 * driver looks for it among the descriptors of who calls (nv_is_gpu_accessible). */
static void bring_gpus(struct confined *call)
{
	int numbers[DRIVER_GPUS];
	size_t count = driver_gpus_open_in(&call->listener->engine->options.driver, call->target.tid,
					   numbers);

	for (size_t i = 0; i < count; i++)
		translation_bring(&call->translation, numbers[i]);
}

static void translate_uvm(struct confined *call)
{
	translation_fields(&call->translation, call->rule, call->own, call->size, FORM_WHOLE);
	if (call->number == UVM_REGISTER_GPU)
		bring_gpus(call);
	call->request.fd = call->fd;
	call->request.request = call->number;
	call->request.offset = call->own;
}

static void translate_own(struct confined *call)
{
	struct translation *translation = &call->translation;
	enum translation_form form = is_short(call) ? FORM_SHORT : FORM_WHOLE;

	translation_fields(translation, call->rule, call->own, call->size, form);
	if (call->number == NV_ESC_RM_CONTROL)
		translate_behind(
		    call, offsetof(struct nvos54_parameters, params),
		    get_u32(translation->area,
			    call->own + offsetof(struct nvos54_parameters, paramsSize)));
	else if (call->number == NV_ESC_RM_ALLOC) {
		translate_behind(call, ALLOC_PARAMS, call->inner->size);
		if (call->inner->number == NV01_DEVICE_0)
			bring_gpus(call);
	} else if (call->inner)
		translation_fields(translation, call->inner, call->own, call->size, form);
}

/* An envelope of our own round what came in one. */
static void translate_request(struct confined *call)
{
	struct nv_ioctl_xfer xfer = {
	    .cmd = call->number, .size = call->size, .ptr = call->translation.seen + call->own};

	call->request.fd = call->fd;
	call->request.request =
	    _IOC(_IOC_READ | _IOC_WRITE, NV_IOCTL_MAGIC, call->number, call->size);
	call->request.offset = call->own;
	if (!call->wrapped)
		return;
	call->request.request = NVABI_XFER_REQUEST;
	call->request.offset = translation_put(&call->translation, 0, &xfer, sizeof(xfer), 0);
	if (!call->request.offset)
		call->translation.error = -E2BIG;
}

void escape_translate(struct confined *call, uint64_t address)
{
	uint32_t status = escape_status_offset(call);

	call->translation.seen = address;
	if (call->rule->kind == NVABI_UVM) {
		translate_uvm(call);
		return;
	}
	if (status)
		call->translation.record->status = call->own + status;
	translate_own(call);
	translate_request(call);
}
