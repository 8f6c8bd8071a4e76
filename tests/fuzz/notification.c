/* A trapped ioctl of any content, from the notification to the answer, with every PID control of
 * every release. The target is this process, the driver answers what the input says; the container
 * and its processes are real. */
#include "tests/fuzz/notification.h"

#include "base/cleanup.h"
#include "supervisor/call.h"
#include "supervisor/execute.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum {
	GUARD = 64,
	GUARD_BYTE = 0xa7,
	LIST_REST = 4096,
	PARAMS_MAX = 1 << 17,
	UTIL_BUFFER_MAX = 1 << 20
};

static struct world world;
static void *unmapped;
static struct journal *journal;
static struct run *current;

/* ---- In place of what needs a container's thread and a driver ---- */

int __wrap_target_identify(pid_t tid, struct target *target);
int __wrap_pidfd_duplicate(pid_t tid, pid_t tgid, int fd, bool use_thread);
bool __wrap_notify_id_valid(int listener, uint64_t id);
void __wrap_listener_answer(struct listener *listener, uint64_t id,
			    struct seccomp_notif_resp response);
int __wrap_execute_control(int fd, const struct target *target, struct nvos54_parameters *control);

int __wrap_target_identify(pid_t tid, struct target *target)
{
	*target = (struct target){
	    .tid = tid,
	    .tgid = getpid(),
	    .pid_ns = fcntl(world.ns, F_DUPFD_CLOEXEC, 0),
	    .pid_ns_id = current->script.caller & CALLER_ON_HOST ? NSFS_INIT_PID : world.ns_id};
	return 0;
}

int __wrap_pidfd_duplicate(pid_t tid, pid_t tgid, int fd, bool use_thread)
{
	(void)tid, (void)tgid, (void)fd, (void)use_thread;
	if (current->script.driver & DRIVER_FD_CLOSED)
		return -EBADF;
	return fcntl(world.device, F_DUPFD_CLOEXEC, 0);
}

bool __wrap_notify_id_valid(int listener, uint64_t id)
{
	(void)listener, (void)id;
	if (!(current->script.driver & DRIVER_TARGET_GOES) || current->valid_left--)
		return true;
	current->valid_left = 0;
	current->went_away = true;
	return false;
}

void __wrap_listener_answer(struct listener *listener, uint64_t id,
			    struct seccomp_notif_resp response)
{
	(void)listener, (void)id;
	if (response.flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE) {
		fuzz_check(!response.val && !response.error, "CONTINUE with an answer");
		current->continued++;
		return;
	}
	fuzz_check(response.val == 0 && response.error <= 0 && response.error > -4096,
		   "value %lld, errno %d", (long long)response.val, -response.error);
	current->answered++;
	current->errnum = -response.error;
}

/* ---- The driver ---- */

static uint32_t anyone(const struct run *run, struct fuzz_stream *stream)
{
	return run->world->anyone[fuzz_byte(stream) % run->world->anyone_count];
}

/* Mostly short lists: long ones cost a question to the kernel for each entry. */
static uint32_t list_length(const struct run *run, const struct nvabi_pid_control *layout,
			    struct fuzz_stream *stream)
{
	switch (run->script.driver & (DRIVER_COUNTS_FULL | DRIVER_COUNTS_MORE)) {
	case DRIVER_COUNTS_FULL | DRIVER_COUNTS_MORE:
		return fuzz_u32(stream);
	case DRIVER_COUNTS_FULL:
		return layout->list_capacity + (fuzz_byte(stream) & 1);
	case DRIVER_COUNTS_MORE:
		return fuzz_byte(stream);
	default:
		return fuzz_byte(stream) % 8;
	}
}

static void place_length(const struct run *run, const struct nvabi_pid_control *layout,
			 struct fuzz_stream *stream, uint8_t *params)
{
	if (layout->list_count != NVABI_NONE && layout->list_stride)
		put_u32(params, layout->list_count, list_length(run, layout, stream));
}

static void place_sample(const struct run *run, const struct nvabi_pid_control *layout,
			 struct fuzz_stream *stream, uint8_t *sample)
{
	for (uint8_t i = 0; i < layout->engine_count; i++) {
		const struct nvabi_engine_layout *engine = &layout->engine[i];

		put_u32(sample, engine->proc_id, anyone(run, stream));
		if (engine->os_pid_info != NVABI_NONE)
			put_u64(sample, engine->os_pid_info,
				UINT64_C(0xffff888100000000) | fuzz_byte(stream));
	}
}

static void place_entry(const struct run *run, const struct nvabi_pid_control *layout,
			struct fuzz_stream *stream, uint8_t *entry)
{
	if (layout->call == NVABI_UTIL_SAMPLES)
		place_sample(run, layout, stream, entry);
	else if (layout->entry_pid != NVABI_NONE)
		put_u32(entry, layout->entry_pid, anyone(run, stream));
}

/* Puts PIDs of all kinds where LAYOUT has them: into PARAMS, and LIST (LIST_SIZE bytes) behind its
 * pointer. */
static void place_pids(const struct run *run, const struct nvabi_pid_control *layout,
		       struct fuzz_stream *stream, uint8_t *params, uint8_t *list, size_t list_size)
{
	bool behind = layout->list_pointer != NVABI_NONE;
	uint8_t *first = behind ? list : params + layout->list_first;

	if (layout->pid != NVABI_NONE)
		put_u32(params, layout->pid, anyone(run, stream));
	if (layout->call == NVABI_ACCT_PROC_INFO && fuzz_byte(stream) & 1)
		put_u64(params, layout->acct_start_time, task_clock_us());
	if (layout->list_stride && first)
		for (uint32_t i = 0; i < layout->list_capacity; i++) {
			if (behind && (i + 1) * (size_t)layout->list_stride > list_size)
				break;
			place_entry(run, layout, stream, first + i * (size_t)layout->list_stride);
		}
}

static uint32_t params_size_of(const struct nvabi_pid_control *layout)
{
	return layout->size ? layout->size : layout->assumed_size;
}

/* How much of the memory behind an embedded pointer the driver fills. */
static size_t filled_behind(const struct nvabi_pid_control *layout, const uint8_t *params)
{
	size_t count = layout->call == NVABI_UTIL_SAMPLES ? get_u32(params, layout->buffer_size)
							  : get_u32(params, layout->list_count);

	return layout->call == NVABI_UTIL_SAMPLES ? count : count * layout->list_stride;
}

static void fill_answer(struct run *run, const struct nvos54_parameters *control)
{
	const struct nvabi_pid_control *layout = nvabi_pids_find(run->pids, control->cmd);
	uint8_t *params = (uint8_t *)(uintptr_t)control->params, *list = NULL;
	uint64_t pointer = 0;
	size_t list_size = 0;

	if (layout && control->paramsSize != params_size_of(layout))
		layout = NULL;
	if (layout && layout->list_pointer != NVABI_NONE) {
		pointer = get_u64(params, layout->list_pointer);
		if (pointer && pointer != execute_bad_address()) {
			list = (uint8_t *)(uintptr_t)pointer;
			list_size = filled_behind(layout, params);
		}
	}
	fuzz_fill(&run->driver, params, control->paramsSize);
	fuzz_fill(&run->driver, list, list_size);
	if (layout)
		place_length(run, layout, &run->driver, params);
	if (layout && run->script.driver & DRIVER_PLACES_PIDS)
		place_pids(run, layout, &run->driver, params, list, list_size);
	if (layout && layout->list_pointer != NVABI_NONE)
		put_u64(params, layout->list_pointer, pointer);
}

int __wrap_execute_control(int fd, const struct target *target, struct nvos54_parameters *control)
{
	const struct run *run = current;

	fuzz_check(fd >= 0 && target->tgid == getpid(), "another target");
	fuzz_check(control->hClient == run->control_before.hClient &&
		       control->hObject == run->control_before.hObject &&
		       control->flags == run->control_before.flags,
		   "another client, object or flags");
	if (run->script.driver & DRIVER_FAILS)
		return -(int)(1 + run->script.status % 133);
	control->status = run->script.driver & DRIVER_REFUSES ? run->script.status : NV_OK;
	if ((control->cmd & 0xffff) == 0x7fff && !(run->script.driver & DRIVER_KNOWS_ALL))
		control->status = NV_ERR_NOT_SUPPORTED;
	if (control->params == execute_bad_address())
		control->status = NV_ERR_INVALID_ADDRESS;
	if (control->status != NV_OK || !control->params)
		return 0;
	fuzz_check(control->params != run->control_before.params, "the target's own pointer");
	run_check_question(run, control);
	fill_answer(current, control);
	return 0;
}

/* ---- The target ---- */

static const struct nvabi_pids *pids_of(uint32_t index)
{
	static struct nvabi_pids **composed;

	if (!composed)
		composed = calloc(nvabi_release_count(), sizeof(struct nvabi_pids *));
	if (!composed[index]) {
		composed[index] = malloc(sizeof(struct nvabi_pids));
		fuzz_check(!nvabi_pids_compose(nvabi_release_version(index), composed[index]),
			   "release %u", index);
	}
	return composed[index];
}

/* SIZE bytes between guards. */
static uint8_t *guarded(size_t size)
{
	uint8_t *memory = malloc(GUARD + size + GUARD);

	memset(memory, GUARD_BYTE, GUARD + size + GUARD);
	return memory + GUARD;
}

static void free_guarded(uint8_t *memory, size_t size)
{
	for (size_t i = 0; i < GUARD; i++)
		fuzz_check(memory[-1 - (ssize_t)i] == GUARD_BYTE && memory[size + i] == GUARD_BYTE,
			   "written beside the target's memory, %zu bytes of it", size);
	free(memory - GUARD);
}

static uint64_t pointer_of(struct run *run, unsigned int how, const void *valid)
{
	switch (how & 3) {
	case POINTER_NULL:
		return 0;
	case POINTER_UNMAPPED:
		return (uint64_t)(uintptr_t)unmapped;
	case POINTER_WILD: /* no address of this process: else it would be written to */
		return UINT64_C(1) << 63 | fuzz_u32(&run->caller);
	default:
		return (uint64_t)(uintptr_t)valid;
	}
}

static void fill_target(struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;

	fuzz_fill(&run->caller, run->params, run->params_size);
	fuzz_fill(&run->caller, run->list, run->list_size);
	if (!layout || run->params_size < params_size_of(layout))
		return;
	if (run->script.caller & CALLER_PLACES_PIDS) {
		place_length(run, layout, &run->caller, run->params);
		place_pids(run, layout, &run->caller, run->params, run->list, run->list_size);
	}
	/* A target that lies about its memory has only itself to blame; here that would be us. */
	if (layout->buffer_size != NVABI_NONE && layout->list_pointer != NVABI_NONE &&
	    get_u32(run->params, layout->buffer_size) <= UTIL_BUFFER_MAX)
		put_u32(run->params, layout->buffer_size,
			get_u32(run->params, layout->buffer_size) % ((uint32_t)run->list_size + 1));
	if (layout->list_pointer != NVABI_NONE)
		put_u64(run->params, layout->list_pointer,
			pointer_of(run, run->script.pointer >> 2, run->list));
}

static void make_target(struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;
	uint32_t size = layout ? params_size_of(layout) : run->script.size % 4096;

	if (run->script.caller & CALLER_ODD_SIZE)
		size = run->script.size;
	run->params_size = size < PARAMS_MAX ? size : PARAMS_MAX;
	if (layout && layout->list_pointer != NVABI_NONE)
		run->list_size = (size_t)layout->list_capacity * layout->list_stride + LIST_REST;
	run->params = guarded(run->params_size);
	run->list = guarded(run->list_size);
	fill_target(run);
	run->params_before = malloc(run->params_size + 1);
	run->list_before = malloc(run->list_size + 1);
	memcpy(run->params_before, run->params, run->params_size);
	memcpy(run->list_before, run->list, run->list_size);
	run->control =
	    (struct nvos54_parameters){.hClient = fuzz_u32(&run->caller),
				       .hObject = fuzz_u32(&run->caller),
				       .cmd = layout ? layout->cmd : run->script.status,
				       .flags = fuzz_u32(&run->caller),
				       .params = pointer_of(run, run->script.pointer, run->params),
				       .paramsSize = size,
				       .status = fuzz_u32(&run->caller)};
	/* More than there is would be read and written beyond it. */
	if (size > run->params_size && !(run->script.pointer & POINTER_PARAMS))
		run->control.params = (uint64_t)(uintptr_t)unmapped;
	run->control_before = run->control;
}

static void release_target(struct run *run)
{
	free_guarded(run->params, run->params_size);
	free_guarded(run->list, run->list_size);
	free(run->params_before);
	free(run->list_before);
}

static struct mpu_settings settings_of(const struct script *script)
{
	return (struct mpu_settings){
	    .view = script->caller & CALLER_VIEWS_HOST ? MPU_VIEW_HOST : MPU_VIEW_CONTAINER,
	    .policy = script->caller & CALLER_POLICY_ALWAYS ? MPU_POLICY_ALWAYS : MPU_POLICY_AUTO,
	    .deny_shared_pids = script->caller & CALLER_DENIES_SHARED};
}

/* The engine's own way, from where a notification was received. */
static void notify(struct run *run)
{
	static struct engine engine;
	static struct engine_counters counters;
	static struct executor executor = {.engine = &engine, .counters = &counters.thread[0]};
	struct container container = {.label = "fuzz", .trouble = run->script.trouble % 16};
	struct journal_listener entry = {.settings = settings_of(&run->script)};
	struct listener listener = {.fd = -1,
				    .engine = &engine,
				    .container = &container,
				    .entry = &entry};
	struct nv_ioctl_xfer xfer = {.cmd = NV_ESC_RM_CONTROL,
				     .size = sizeof(run->control),
				     .ptr = (uint64_t)(uintptr_t)&run->control};
	struct journal_slot *slot = journal_take(journal);

	fuzz_check(slot, "a record was not given back");
	engine.journal = journal;
	engine.counters = &counters;
	engine.options.pids = *run->pids;
	engine.options.driver =
	    (struct driver){.by_inode = true, .control = world_device_file(run->world)};
	engine.options.pid_lookup =
	    run->script.caller & CALLER_NSPID || !nsfs_translates() ? PIDMAP_NSPID : PIDMAP_NSFS;
	engine.roster = run->world->roster;
	engine.remembers_threads = run->pids->semantics.kind == NVABI_TID;
	watch_table_build(&listener.watch, run->pids, &entry.settings);
	slot->notification.id = 1;
	slot->notification.pid = (uint32_t)gettid();
	slot->notification.data.nr = SYS_ioctl;
	slot->notification.data.args[0] = 3;
	slot->notification.data.args[1] = NVABI_RM_CONTROL_REQUEST;
	slot->notification.data.args[2] = (uint64_t)(uintptr_t)&run->control;
	if (run->script.caller & CALLER_WRAPS) {
		slot->notification.data.args[1] = NVABI_XFER_REQUEST;
		slot->notification.data.args[2] = (uint64_t)(uintptr_t)&xfer;
	}
	call_received(&executor, &listener, slot);
	journal_give(journal, slot);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	unmapped = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fuzz_check(unmapped != MAP_FAILED, "%m");
	journal = journal_new(false);
	fuzz_check(journal, "%m");
	journal_begin(journal);
	world_make(&world);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = {.world = &world};
	uint32_t control;

	if (size < sizeof(run.script))
		return 0;
	memcpy(&run.script, data, sizeof(run.script));
	data += sizeof(run.script);
	size -= sizeof(run.script);
	run.caller = (struct fuzz_stream){.data = data, .size = size / 2};
	run.driver = (struct fuzz_stream){.data = data + size / 2, .size = size - size / 2};
	run.pids = pids_of(run.script.release % nvabi_release_count());
	control = run.script.control % (run.pids->control_count + 1);
	run.layout = control < run.pids->control_count ? &run.pids->control[control] : NULL;
	run.in_container = !(run.script.caller & (CALLER_ON_HOST | CALLER_VIEWS_HOST));
	run.valid_left = run.script.patience % 8;
	current = &run;
	make_target(&run);
	notify(&run);
	run_check(&run);
	release_target(&run);
	return 0;
}
