/* The life of one ioctl of a confined container, from top to bottom. Nothing that lies in the
 * target's memory is let through: what decides is copied once, and the copy is what the driver
 * gets. */
#include "supervisor/confine/confine.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/call.h"
#include "supervisor/confine/escape.h"
#include "supervisor/confine/refuse.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/pidfd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* ---- Answers ---- */

static void answer(struct confined *call, int64_t result)
{
	listener_answer(call->listener, call->slot->notification.id,
			(struct seccomp_notif_resp){.val = result < 0 ? 0 : result,
						    .error = result < 0 ? (int32_t)result : 0});
}

/* Where an unknown call is told by a status, in the ioctl's own parameters. */
static int write_status(const struct confined *call, uint32_t status)
{
	if (!notify_id_valid(call->listener->fd, call->slot->notification.id))
		return -ESRCH;
	return memory_write((pid_t)call->slot->notification.pid,
			    call->address + escape_status_offset(call), &status, sizeof(status));
}

static void let_continue(struct confined *call)
{
	atomic_fetch_add_explicit(&call->executor->counters->continued, 1, memory_order_relaxed);
	listener_answer(call->listener, call->slot->notification.id,
			(struct seccomp_notif_resp){.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

static bool only_logs(const struct confined *call)
{
	return call->confine & MPU_CONFINE_LOG;
}

static void refuse(struct confined *call)
{
	struct nvabi_answer unknown;

	refused_count(call->listener->engine->journal, call->listener->container->label,
		      call->confine, &call->listener->engine->options.pids.running, &call->refused);
	if (only_logs(call)) {
		let_continue(call);
		return;
	}
	unknown = nvabi_policy_unknown(call->listener->engine->policy, call->refused.kind);
	answer(call, unknown.errnum ? unknown.errnum : write_status(call, unknown.status));
}

/* ---- Execution ---- */

static void let_go(int *fd)
{
	cleanup_close_fd(fd);
	*fd = -1;
}

/* The driver knows the target by its proxy's number, and so does its accounting after the end of
 * both. */
static void remember_proxy(struct confined *call, pid_t proxy)
{
	if (roster_due(&call->executor->recent, proxy, engine_coarse_ms()))
		roster_note_proxy(call->listener->engine->roster, call->target.tid, proxy);
}

/* The descriptor that the driver has made becomes the target's. */
static int give_descriptor(struct confined *call, struct record *record)
{
	int number;

	if (call->request.out_fd < 0 || record->installed >= 0)
		return 0;
	number =
	    notify_give_fd(call->listener->fd, call->slot->notification.id, call->request.out_fd);
	close(steal_fd(&call->request.out_fd));
	if (number < 0)
		return number;
	record->installed = number;
	return 0;
}

static void warn_unwritten(const struct confined *call, int error)
{
	log_warning("the answer to a driver call could not be written to its caller",
		    "container=%s pid=%u error=\"%s\"", call->listener->container->label,
		    call->slot->notification.pid, strerror(-error));
}

/* The driver has answered RESULT: its answer to the target, then the lane for the next. What we
 * hold of the target's files is closed before, so that its close() is the last. */
static void finish(struct confined *call, struct lane *lane, int result)
{
	struct record *record = (struct record *)(void *)lane->area;
	int written = result ? 0 : give_descriptor(call, record);

	translation_end(&call->request);
	let_go(&call->fd);
	atomic_store(&call->slot->phase, JOURNAL_WRITING);
	translation_restore(lane->area);
	if (!written && result != -EFAULT)
		written = translation_scatter(call->listener->fd,
					      (pid_t)call->slot->notification.pid, lane->area);
	if (written && written != -EFAULT && written != -ESRCH && written != -ENOENT)
		warn_unwritten(call, written);
	atomic_store(&call->listener->container->trouble, 0);
	answer(call, result < 0 || !written ? result : written);
	lane_give(lane);
}

/* Never EINTR or EAGAIN: NVIDIA's libraries would make a call again that was made perhaps. */
static void lose(struct confined *call, struct lane *lane)
{
	log_error("a driver call fails: the proxy that made it for its caller has ended",
		  "container=%s pid=%u", call->listener->container->label,
		  call->slot->notification.pid);
	answer(call, -EIO);
	if (lane)
		lane_give(lane);
}

/* What lane_call() and lane_finish() return. */
static void conclude(struct confined *call, struct lane *lane, int error, int result)
{
	if (!error) {
		finish(call, lane, result);
	} else if (error == -EMFILE) {
		/* It was made, and what it has returned cannot be had. */
		finish(call, lane, -EMFILE);
	} else if (error == -EAGAIN) {
		lane_give(lane);
		call_trouble(call->listener, call->slot, -EIO);
	} else {
		lose(call, lane);
	}
}

static void no_lane(struct confined *call, int error)
{
	if (error == -EPERM)
		answer(call, -EPERM);
	else if (error != -ESRCH)
		call_trouble(call->listener, call->slot, -EIO);
}

/* 1. Who stands for the target. 2. All that the driver will see, as it will see it. 3. Was it the
 * trapped thread's? 4. The driver. */
static void execute(struct confined *call)
{
	struct engine *engine = call->listener->engine;
	struct translation *translation = &call->translation;
	int error = 0, result = 0;
	struct lane *lane =
	    proxies_lane(engine->proxies, &call->target, call->listener->container->label, &error);
	uint64_t before;

	if (!lane) {
		no_lane(call, error);
		return;
	}
	remember_proxy(call, lane->proxy);
	lane_begin(lane, call->slot);
	escape_translate(call, lane->address);
	if (translation->error ||
	    !notify_id_valid(call->listener->fd, call->slot->notification.id)) {
		lane_give(lane);
		if (translation->error != -ESRCH)
			call_trouble(call->listener, call->slot, -EIO);
		return;
	}
	memcpy(lane->area, translation->area, translation->used);
	lane->used = translation->used;
	atomic_store(&call->slot->phase, JOURNAL_IN_DRIVER);
	before = traced_now ? engine_now_ns() : 0;
	error = lane_call(lane, &call->request, &result);
	if (traced_now)
		traced_executed(engine_now_ns() - before);
	atomic_fetch_add_explicit(&call->executor->counters->executed, 1, memory_order_relaxed);
	conclude(call, lane, error, result);
}

/* ---- The decision ---- */

static void act(struct confined *call, enum verdict verdict)
{
	if (only_logs(call) && verdict != VERDICT_REFUSE && verdict != VERDICT_HANDLE)
		verdict = VERDICT_CONTINUE;
	switch (verdict) {
	case VERDICT_EXECUTE:
		execute(call);
		break;
	case VERDICT_HANDLE:
		call_handle(call->executor, call->listener, call->slot);
		break;
	case VERDICT_CONTINUE:
		let_continue(call);
		break;
	case VERDICT_REFUSE:
		refuse(call);
		break;
	case VERDICT_ANSWER:
		answer(call, call->answer);
		break;
	case VERDICT_NOTHING:
		answer(call, write_status(call, NV_OK));
		break;
	case VERDICT_TROUBLE:
		call_trouble(call->listener, call->slot, -EIO);
		break;
	}
}

/* nvidia-modeset looks at number and size alone, and its commands are in no policy. */
static enum verdict decide_modeset(struct confined *call)
{
	const struct seccomp_data *data = &call->slot->notification.data;
	struct nv_ioctl_xfer params; /* the same shape: command, size, address */
	int result;

	if (_IOC_NR(data->args[1]) != 0 || _IOC_SIZE(data->args[1]) != sizeof(params))
		return escape_answer(call, -ENOTTY);
	result = memory_read((pid_t)call->slot->notification.pid, data->args[2], &params,
			     sizeof(params));
	if (result)
		return escape_answer(call, result);
	call->refused = (struct refused_call){.kind = NVABI_MODESET, .number = params.cmd};
	return VERDICT_REFUSE;
}

/* By the open file, not by the request: RM looks at nothing but number and size of that. */
static enum verdict decide(struct confined *call)
{
	const struct driver *driver = &call->listener->engine->options.driver;

	switch (driver_device(driver, call->fd)) {
	case DRIVER_DEVICE_CONTROL:
	case DRIVER_DEVICE_OTHER:
		return escape_decide(call);
	case DRIVER_DEVICE_MODESET:
		return decide_modeset(call);
	case DRIVER_DEVICE_UNKNOWN:
		return VERDICT_TROUBLE;
	case DRIVER_DEVICE_NONE:
		break;
	}
	return driver_is_uvm(driver, call->fd) ? escape_decide_uvm(call) : escape_answer(call, -ENOTTY);
}

/* Who calls, and on which open file. Returns false with the target answered. */
static bool identify(struct confined *call)
{
	const struct engine_options *options = &call->listener->engine->options;
	const struct caller *caller;
	int result = callers_identify(&call->executor->callers, (pid_t)call->slot->notification.pid,
				      &call->target, &caller);

	if (!result) {
		call->fd = caller_duplicate(caller, &call->target,
					    (int)call->slot->notification.data.args[0],
					    options->use_pidfd_thread);
		if (call->fd >= 0)
			return true;
		result = call->fd;
	}
	if (result == -EBADF)
		answer(call, -EBADF);
	else if (notify_id_valid(call->listener->fd, call->slot->notification.id))
		call_trouble(call->listener, call->slot, -EIO);
	return false;
}

/* What cannot be confined is not taken; but another mpud or worker may have taken it before. */
static const char *why_unserved(const struct engine *engine, bool logs)
{
	if (logs)
		return engine->policy ? NULL
				      : "which calls a confined container would be refused cannot be "
					"told: of this driver release no calls are known (take another "
					"driver)";
	if (!engine->policy || !engine->knows_branch)
		return "a confined container cannot make driver calls: of this driver's branch none "
		       "are known (take another driver or a newer mpu, or leave --confine out)";
	return engine->options.nursery >= 0
		   ? NULL
		   : "a confined container cannot make driver calls: mpu has no process to make them "
		     "with (restart it)";
}

/* Without a table, or without a way to make calls, nothing can be allowed. */
static bool can_be_served(struct listener *listener)
{
	const char *why =
	    why_unserved(listener->engine, listener->entry->settings.confine & MPU_CONFINE_LOG);

	if (why && !atomic_exchange(&listener->container->warned_unserved, true))
		log_error(why, "container=%s", listener->container->label);
	return !why;
}

static struct confined begin(struct executor *executor, struct listener *listener,
			     struct journal_slot *slot)
{
	return (struct confined){.executor = executor,
				 .listener = listener,
				 .slot = slot,
				 .confine = listener->entry->settings.confine,
				 .target = TARGET_NONE,
				 .request = {.fd = -1, .out_fd = -1},
				 .fd = -1};
}

static void release(struct confined *call)
{
	translation_end(&call->request);
	let_go(&call->fd);
	target_release(&call->target);
}

static bool has_memory(struct executor *executor)
{
	if (!executor->gather)
		executor->gather = malloc(LANE_AREA);
	return executor->gather;
}

void confine_received(struct executor *executor, struct listener *listener,
		      struct journal_slot *slot)
{
	struct confined call __attribute__((cleanup(release))) = begin(executor, listener, slot);

	if (!can_be_served(listener)) {
		if (only_logs(&call))
			let_continue(&call);
		else
			answer(&call, -EINVAL);
		return;
	}
	if (!has_memory(executor) || atomic_load(&listener->entry->quarantined)) {
		call_trouble(listener, slot, -EIO);
		return;
	}
	slot->received_ns = engine_now_ns();
	translation_begin(&call.translation, &call.target,
			  listener->engine->options.use_pidfd_thread, executor->gather, LANE_AREA,
			  slot->notification.id, &call.request);
	if (identify(&call))
		act(&call, decide(&call));
}

/* ---- A former worker's ---- */

/* The call was sent: its answer is waited for. Returns false where it never reached the proxy. */
static bool finish_sent(struct confined *call, struct lane *lane)
{
	int result = 0;
	int error = lane_finish(lane, &call->request, &result);

	if (error == -ENOENT)
		return false;
	if (!error && !translation_is_sound(lane->area, LANE_AREA, call->slot->notification.id))
		error = -EPIPE;
	conclude(call, lane, error, result);
	return true;
}

/* Nobody waits for the answer any more; the proxy may be at it still. */
static void drop(struct confined *call, struct lane *lane)
{
	int result;

	if (atomic_load(&lane->record->phase) >= LANE_SENT)
		lane_finish(lane, &call->request, &result);
	lane_give(lane);
}

void confine_taken_up(struct executor *executor, struct listener *listener,
		      struct journal_slot *slot)
{
	struct confined call __attribute__((cleanup(release))) = begin(executor, listener, slot);
	bool was_sent = slot->lane && atomic_load(&slot->phase) >= JOURNAL_IN_DRIVER;
	struct lane *lane = slot->lane ? proxies_resume(listener->engine->proxies, slot) : NULL;

	if (!succession_wait(listener, slot)) {
		if (lane)
			drop(&call, lane);
		return;
	}
	if (lane && atomic_load(&lane->record->phase) >= LANE_SENT && finish_sent(&call, lane))
		return;
	if (lane)
		lane_give(lane);
	else if (was_sent) {
		lose(&call, NULL);
		return;
	}
	slot->lane = 0;
	atomic_store(&slot->phase, JOURNAL_RECEIVED);
	confine_received(executor, listener, slot);
}
