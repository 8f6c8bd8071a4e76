/* What happens to a notification: let through, handled (call.c), or that of a confined container.
 */
#include "base/log.h"
#include "supervisor/confine/confine.h"
#include "supervisor/engine-private.h"
#include "supervisor/kernel/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

void call_pass(struct executor *executor, struct listener *listener, struct journal_slot *slot)
{
	atomic_fetch_add_explicit(&executor->counters->passed, 1, memory_order_relaxed);
	listener_answer(listener, slot->notification.id,
			(struct seccomp_notif_resp){.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

/* Finds and reads the call's NVOS54_PARAMETERS. Never straight into the journal: a read can outlive
 * this process. Returns 0, 1 when it is no RM control after all, or -errno of the read. */
static int read_control(const struct journal_slot *slot, struct nvos54_parameters *control,
			uint64_t *address)
{
	const struct seccomp_data *data = &slot->notification.data;
	pid_t tid = (pid_t)slot->notification.pid;
	struct nv_ioctl_xfer xfer;
	int result;

	*address = data->args[2];
	if (_IOC_NR(data->args[1]) == NV_ESC_IOCTL_XFER_CMD) {
		result = memory_read(tid, data->args[2], &xfer, sizeof(xfer));
		if (result)
			return result;
		if (xfer.cmd != NV_ESC_RM_CONTROL || xfer.size != sizeof(*control))
			return 1;
		*address = xfer.ptr;
	}
	return memory_read(tid, *address, control, sizeof(*control));
}

/* Memory that cannot be read at all (not a bad pointer): the target is beyond our reach. */
static void warn_unreadable(struct executor *executor, struct listener *listener,
			    struct journal_slot *slot, int error)
{
	atomic_fetch_add_explicit(&executor->counters->unreadable, 1, memory_order_relaxed);
	if (error == -ESRCH || atomic_exchange(&listener->warned_unreadable, true))
		return;
	log_warning("cannot read a process's memory: its GPU calls go to the driver unchanged "
		    "(run as root, or give CAP_SYS_PTRACE)",
		    "container=%s pid=%u error=\"%s\"", listener->container->label,
		    slot->notification.pid, strerror(-error));
}

static inline void remember(struct executor *executor, struct listener *listener, pid_t tid)
{
	const struct engine *engine = listener->engine;
	const struct mpu_settings *settings = &listener->entry->settings;

	if (settings->policy != MPU_POLICY_OFF &&
	    (settings->view == MPU_VIEW_CONTAINER || engine->remembers_threads) &&
	    roster_due(&executor->recent, tid, engine_coarse_ms()))
		roster_note(engine->roster, tid, engine->remembers_threads);
}

/* Lets SLOT pass, or puts down what is known of a call that is to be handled. */
static bool is_ours(struct executor *executor, struct listener *listener, struct journal_slot *slot)
{
	struct nvos54_parameters control;
	uint64_t address;
	int result = read_control(slot, &control, &address);

	/* Let through, it could be one of ours. */
	if (result == -ENOMEM) {
		call_trouble(listener, slot, result);
		return false;
	}
	if (result < 0 && result != -EFAULT)
		warn_unreadable(executor, listener, slot, result);
	if (result || !watch_table_has(&listener->watch, control.cmd)) {
		call_pass(executor, listener, slot);
		return false;
	}
	slot->control = control;
	slot->control_address = address;
	slot->received_ns = engine_now_ns();
	return true;
}

/* A trace's filter catches more. */
static bool is_looked_at(const struct journal_slot *slot)
{
	const uint64_t request = slot->notification.data.args[1];
	uint32_t count;
	const struct nvabi_ioctl *watched = nvabi_watched_ioctls(&count);

	for (uint32_t i = 0; i < count; i++)
		if ((request & watched[i].mask) == watched[i].value)
			return true;
	return false;
}

/* A control that is nothing to us, but whose end the trace wants to see. */
static bool is_the_traces(struct listener *listener, struct journal_slot *slot)
{
	struct nvos54_parameters control;
	uint64_t address;

	if (read_control(slot, &control, &address) ||
	    watch_table_has(&listener->watch, control.cmd) ||
	    control.paramsSize > JOURNAL_DESK_PARAMS || !traced_executes(&control))
		return false;
	slot->control = control;
	slot->control_address = address;
	slot->received_ns = engine_now_ns();
	return true;
}

static inline void look_at(struct executor *executor, struct listener *listener,
			   struct journal_slot *slot)
{
	remember(executor, listener, (pid_t)slot->notification.pid);
	if (__builtin_expect(listener->confined, false))
		confine_received(executor, listener, slot);
	else if (is_ours(executor, listener, slot))
		call_handle(executor, listener, slot);
}

__attribute__((cold)) void call_received_traced(struct executor *executor,
						struct listener *listener,
						struct journal_slot *slot)
{
	if (listener->confined) {
		look_at(executor, listener, slot);
	} else if (!is_looked_at(slot)) {
		call_pass(executor, listener, slot);
	} else if (is_the_traces(listener, slot)) {
		remember(executor, listener, (pid_t)slot->notification.pid);
		call_handle(executor, listener, slot);
	} else {
		look_at(executor, listener, slot);
	}
}

void call_received(struct executor *executor, struct listener *listener, struct journal_slot *slot)
{
	if (atomic_load_explicit(&listener->container->tracer, memory_order_relaxed))
		tracer_call(executor, listener, slot);
	else
		look_at(executor, listener, slot);
}

/* A finished answer is written; where it stood in the driver, or before, all is done again. */
void call_taken_up(struct executor *executor, struct listener *listener, struct journal_slot *slot)
{
	bool has_answer = atomic_load(&slot->phase) >= JOURNAL_ANSWER_READY && !slot->lane;

	if (listener->confined && !has_answer) {
		confine_taken_up(executor, listener, slot);
		return;
	}
	if (!succession_wait(listener, slot))
		return;
	if (atomic_load(&slot->phase) >= JOURNAL_ANSWER_READY) {
		call_deliver(listener, slot);
		return;
	}
	atomic_store(&slot->phase, JOURNAL_RECEIVED);
	if (is_ours(executor, listener, slot))
		call_handle(executor, listener, slot);
}
