/* The life of one control that is handled, from top to bottom. */
#include "supervisor/call.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/engine-private.h"
#include "supervisor/execute.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/kernel/shortage.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* The driver refuses params above this (rmapi: 1 MiB) before it reads them. */
enum { PARAMS_MAX = 1 << 20 };

/* After so many EAGAIN in a row for one container, trouble is answered with a failure. */
enum { TROUBLE_MAX = 8 };

static int execute(const struct call *call, struct nvos54_parameters *control)
{
	uint64_t before = traced_now ? engine_now_ns() : 0;
	int result = execute_control(call->fd, &call->target, control);

	if (traced_now)
		traced_executed(engine_now_ns() - before);
	return result == EXECUTE_NO_IDENTITY ? -EAGAIN : result;
}

int call_execute(const struct call *call, uint32_t cmd, void *params, uint32_t size,
		 uint32_t *status)
{
	struct nvos54_parameters control = {.hClient = call->control.hClient,
					    .hObject = call->control.hObject,
					    .cmd = cmd,
					    .flags = call->control.flags,
					    .params = (uint64_t)(uintptr_t)params,
					    .paramsSize = size};
	int result = execute(call, &control);

	*status = control.status;
	return result;
}

int call_execute_own(struct call *call)
{
	struct nvos54_parameters control = call->control;
	int result;

	if (call->params)
		control.params = (uint64_t)(uintptr_t)call->params;
	else if (control.params)
		control.params = execute_bad_address();
	result = execute(call, &control);
	call->control.status = control.status;
	return result;
}

int call_take_buffer(struct call *call, size_t pointer, size_t size, size_t limit)
{
	uint64_t address = get_u64(call->params, pointer);
	int result;

	put_u64(call->params, pointer, execute_bad_address());
	if (size > limit)
		return 0;
	call->buffer.bytes = calloc(2, size ? size : 1);
	if (!call->buffer.bytes)
		return -ENOMEM;
	result = memory_read(call->target.tid, address, call->buffer.bytes, size);
	if (result) {
		free(steal_ptr(call->buffer.bytes));
		return result == -EFAULT ? 0 : result;
	}
	call->buffer.before = call->buffer.bytes + size;
	memcpy(call->buffer.before, call->buffer.bytes, size);
	call->buffer.address = address;
	call->buffer.size = size;
	put_u64(call->params, pointer, (uint64_t)(uintptr_t)call->buffer.bytes);
	return 0;
}

int call_execute_unknown(struct call *call)
{
	const uint32_t unknown = (call->layout->cmd & 0xffff0000) | 0x7fff;
	int result = call_execute(call, unknown, call->params, call->control.paramsSize,
				  &call->control.status);

	if (!result && call->control.status == NV_OK)
		call->control.status = NV_ERR_NOT_SUPPORTED;
	return result;
}

/* Controls whose params are not what this release says, or cannot be read: the driver will refuse
 * them in its own order of checks. Should it not, its answer is in an unknown shape and stays here.
 */
static int refuse_by_driver(struct call *call)
{
	int result = call_execute_own(call);

	if (result || call->control.status != NV_OK)
		return result;
	log_error("the driver took a call that by our tables it cannot know: answered as not "
		  "supported",
		  "container=%s cmd=0x%08x size=%u", call->label, call->control.cmd,
		  call->control.paramsSize);
	call->control.status = NV_ERR_NOT_SUPPORTED;
	return 0;
}

static call_handler *const handlers[] = {
    [NVABI_GET_PIDS] = handle_get_pids,
    [NVABI_GET_PID_INFO] = handle_get_pid_info,
    [NVABI_UTIL_SAMPLES] = handle_util_samples,
    [NVABI_ACCT_PROC_INFO] = handle_acct_proc_info,
    [NVABI_ACCT_PIDS] = handle_acct_pids,
    [NVABI_SESSIONS] = handle_sessions,
    [NVABI_RCERR_REPORT] = handle_rcerr_report,
    [NVABI_SHARED_BIND] = handle_shared_bind,
    [NVABI_SHARED_ADVERTISE] = handle_shared_advertise,
};

/* Where a release's headers are not public, its sizes are not known: the shape of GET_PID_INFO
 * follows from the size, of the others the oldest known shape is taken when the size agrees. */
static bool size_is_known(const struct call *call)
{
	uint32_t size = call->control.paramsSize;

	if (call->layout->size)
		return size == call->layout->size;
	if (call->layout->call == NVABI_GET_PID_INFO)
		return nvabi_pid_info_stride(size) != 0;
	return size == call->layout->assumed_size;
}

/* Copies the params, once. What cannot be copied the driver cannot copy either. */
static int copy_params(struct call *call, uint8_t **before)
{
	uint32_t size = call->control.paramsSize;
	int result;

	if (!call->control.params || size == 0 || size > PARAMS_MAX)
		return 0;
	*before = malloc(size);
	call->params = malloc(size);
	if (!*before || !call->params)
		return -EAGAIN;
	result = memory_read(call->target.tid, call->control.params, *before, size);
	if (result) {
		free(steal_ptr(call->params));
		return result == -EFAULT ? 0 : result;
	}
	memcpy(call->params, *before, size);
	call->before = *before;
	return 0;
}

/* The finished answer into the journal, from where it is written. */
static int put_down_answer(struct journal *journal, struct journal_slot *slot,
			   const struct call *call, int errnum)
{
	struct journal_answer *answer = &slot->answer;
	bool good = !errnum && call->control.status == NV_OK;
	struct journal_desk *desk = good && call->params ? journal_desk(journal, slot) : NULL;

	*answer = (struct journal_answer){.status = call->control.status, .errnum = errnum};
	if (good && call->params) {
		if (!desk || call->control.paramsSize > sizeof(desk->params) ||
		    call->buffer.size > sizeof(desk->buffer))
			return -ENOMEM;
		answer->params_address = call->control.params;
		answer->params_size = call->control.paramsSize;
		memcpy(desk->params, call->params, answer->params_size);
	}
	if (good && call->buffer.bytes && desk) {
		answer->buffer_address = call->buffer.address;
		answer->buffer_size = (uint32_t)call->buffer.size;
		memcpy(desk->buffer, call->buffer.bytes, answer->buffer_size);
	}
	atomic_store(&slot->phase, JOURNAL_ANSWER_READY);
	return 0;
}

/* Each write directly behind a look whether the target still waits. */
static int write_one(const struct listener *listener, const struct journal_slot *slot,
		     uint64_t address, const void *bytes, size_t size)
{
	if (!notify_id_valid(listener->fd, slot->notification.id))
		return -ESRCH;
	return memory_write((pid_t)slot->notification.pid, address, bytes, size);
}

/* Writes the answer back: what the params lead to, the params, then the status. A target that
 * unmapped its memory meanwhile gets what the driver gives then. Returns 0, or a negative errno of
 * the last write. */
static int write_back(const struct listener *listener, struct journal_slot *slot)
{
	const struct journal_answer *answer = &slot->answer;
	const struct journal_desk *desk =
	    slot->desk ? journal_desk(listener->engine->journal, slot) : NULL;
	struct nvos54_parameters control = slot->control;
	int result = 0;

	if (answer->buffer_size && desk)
		result = write_one(listener, slot, answer->buffer_address, desk->buffer,
				   answer->buffer_size);
	if (!result && answer->params_size && desk)
		result = write_one(listener, slot, answer->params_address, desk->params,
				   answer->params_size);
	if (result && result != -EFAULT)
		return result;
	control.status = result ? NV_ERR_INVALID_ADDRESS : answer->status;
	return write_one(listener, slot, slot->control_address, &control, sizeof(control));
}

static void release_call(struct call *call)
{
	free(call->params);
	free(call->buffer.bytes);
	cleanup_close_fd(&call->fd);
	target_release(&call->target);
}

/* What carries no PIDs is executed for a trace, as it is. */
static int answer_by_driver(struct call *call)
{
	if (!call->layout)
		return call_execute_own(call);
	return call->params && size_is_known(call) ? handlers[call->layout->call](call)
						   : refuse_by_driver(call);
}

/* What became of a handled call. */
enum outcome { ANSWER, PASS, TROUBLE };

/* 1. Who calls. 2. On which open file. 3. Is it the control device? 4. Is the call ours for this
 * target? 5. The params. 6. Was all that the trapped thread's? 7. The driver, and the PIDs.
 * 8. The answer into the journal. */
static enum outcome find_answer(struct engine *engine, struct listener *listener,
				struct journal_slot *slot, struct call *call)
{
	const struct engine_options *options = &engine->options;
	cleanup_free uint8_t *before = NULL;
	enum driver_device device;
	int result;
	bool in_init_ns;

	shortage_forget();
	result = target_identify((pid_t)slot->notification.pid, &call->target);
	if (result)
		return TROUBLE;
	call->fd = pidfd_duplicate(call->target.tid, call->target.tgid,
				   (int)slot->notification.data.args[0], options->use_pidfd_thread);
	if (call->fd == -EBADF)
		return PASS;
	if (call->fd < 0)
		return TROUBLE;
	device = driver_device(call->driver, call->fd);
	if (device != DRIVER_DEVICE_CONTROL)
		return device == DRIVER_DEVICE_UNKNOWN ? TROUBLE : PASS;
	in_init_ns = call->target.pid_ns_id == NSFS_INIT_PID;
	if (call->layout &&
	    !policy_handles(call->pids, &listener->entry->settings, call->layout, in_init_ns))
		return PASS;
	call->view =
	    (struct pid_view){.method = options->pid_lookup,
			      .host = in_init_ns || listener->entry->settings.view == MPU_VIEW_HOST,
			      .ns = call->target.pid_ns,
			      .ns_id = call->target.pid_ns_id};
	if (copy_params(call, &before))
		return TROUBLE;
	if (!notify_id_valid(listener->fd, slot->notification.id))
		return TROUBLE;
	atomic_store(&slot->phase, JOURNAL_IN_DRIVER);
	result = answer_by_driver(call);
	/* Who could not be looked up would be missing from the answer. */
	if (result == -EAGAIN || result == -ENOMEM || shortage_was_noted())
		return TROUBLE;
	return put_down_answer(engine->journal, slot, call, result) ? TROUBLE : ANSWER;
}

void call_retry(struct listener *listener, struct journal_slot *slot)
{
	atomic_fetch_add(&listener->engine->counters->retried, 1);
	listener_answer(listener, slot->notification.id,
			(struct seccomp_notif_resp){.error = -EAGAIN});
}

/* NVIDIA's own libraries call again after EAGAIN, so trouble that passes is never seen. Trouble
 * that stays must not become a loop without end. */
static bool is_tried_again(struct listener *listener, struct journal_slot *slot)
{
	bool again = atomic_fetch_add(&listener->container->trouble, 1) < TROUBLE_MAX;

	if (again)
		call_retry(listener, slot);
	else
		atomic_fetch_add(&listener->engine->counters->refused, 1);
	return again;
}

void call_trouble(struct listener *listener, struct journal_slot *slot, int errnum)
{
	if (is_tried_again(listener, slot))
		return;
	log_error("a GPU call could not be made and fails", "container=%s pid=%u error=\"%s\"",
		  listener->container->label, slot->notification.pid, strerror(-errnum));
	listener_answer(listener, slot->notification.id,
			(struct seccomp_notif_resp){.error = errnum});
}

static void answer_trouble(struct listener *listener, struct journal_slot *slot)
{
	struct nvos54_parameters control = slot->control;
	int result;

	if (!notify_id_valid(listener->fd, slot->notification.id) || is_tried_again(listener, slot))
		return;
	log_error("a GPU call could not be answered and fails", "container=%s pid=%u cmd=0x%08x",
		  listener->container->label, slot->notification.pid, control.cmd);
	control.status = NV_ERR_OPERATING_SYSTEM;
	result = write_one(listener, slot, slot->control_address, &control, sizeof(control));
	/* Success without a status would be taken for an answer. */
	listener_answer(listener, slot->notification.id,
			(struct seccomp_notif_resp){.error = result ? -EFAULT : 0});
}

void call_deliver(struct listener *listener, struct journal_slot *slot)
{
	struct engine *engine = listener->engine;
	const struct nvabi_pid_control *layout =
	    nvabi_pids_find(&engine->options.pids, slot->control.cmd);
	uint64_t took = engine_now_ns() - slot->received_ns;
	int errnum = slot->answer.errnum, written = 0;
	size_t index;

	atomic_store(&slot->phase, JOURNAL_WRITING);
	if (!errnum)
		written = write_back(listener, slot);
	if (written && written != -EFAULT) {
		answer_trouble(listener, slot);
		return;
	}
	errnum = errnum ? errnum : written;
	/* Counted before the target goes on, so that its last call is in the sum. */
	atomic_store(&listener->container->trouble, 0);
	atomic_fetch_add(&engine->counters->handled, 1);
	if (layout) {
		index = (size_t)(layout - engine->options.pids.control);
		atomic_fetch_add(&engine->counters->control[index].count, 1);
		atomic_fetch_add(&engine->counters->control[index].nanoseconds, took);
		atomic_fetch_add(&engine->counters->control[index].took[latency_range(took)], 1);
	}
	listener_answer(listener, slot->notification.id,
			(struct seccomp_notif_resp){.error = errnum});
}

static void execute_and_deliver(struct executor *executor, struct listener *listener,
				struct journal_slot *slot)
{
	struct engine *engine = listener->engine;
	struct call call __attribute__((cleanup(release_call))) = {
	    .pids = &engine->options.pids,
	    .driver = &engine->options.driver,
	    .roster = engine->roster,
	    .journal = engine->journal,
	    .label = listener->container->label,
	    .target = TARGET_NONE,
	    .fd = -1,
	    .control = slot->control,
	    .layout = nvabi_pids_find(&engine->options.pids, slot->control.cmd)};

	switch (find_answer(engine, listener, slot, &call)) {
	case ANSWER:
		call_deliver(listener, slot);
		break;
	case PASS:
		/* A confined container's was looked at before: the file has changed meanwhile. */
		if (listener->confined && !(listener->entry->settings.confine & MPU_CONFINE_LOG))
			listener_answer(listener, slot->notification.id,
					(struct seccomp_notif_resp){.error = -EBADF});
		else
			call_pass(executor, listener, slot);
		break;
	case TROUBLE:
		answer_trouble(listener, slot);
		break;
	}
}

void call_handle(struct executor *executor, struct listener *listener, struct journal_slot *slot)
{
	if (atomic_load(&listener->entry->quarantined))
		answer_trouble(listener, slot);
	else
		execute_and_deliver(executor, listener, slot);
}
