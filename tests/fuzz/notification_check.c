/* What must hold whatever the target and the driver say. */
#include "tests/fuzz/notification.h"

#include "supervisor/call.h"
#include "supervisor/handlers/memory_query.h"

static const uint32_t NO_PROCESS = 0xffffffff;

/* In the container's numbers, or nobody's. */
static void check_pid(const struct run *run, uint32_t pid)
{
	fuzz_check(pid == 0 || world_has_number(run->world, pid), "%s tells of PID %u (0x%x)",
		   run->layout->name, pid, pid);
}

static void check_list(const struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;
	uint32_t count = get_u32(run->params, layout->list_count);

	fuzz_check(count <= layout->list_capacity, "%s: %u entries", layout->name, count);
	for (uint32_t i = 0; i < layout->list_capacity; i++) {
		size_t at = layout->list_first + (size_t)i * layout->list_stride;
		uint32_t pid = get_u32(run->params, at);

		if (i < count)
			check_pid(run, pid);
		else
			fuzz_check(pid == get_u32(run->params_before, at),
				   "%s: entry %u behind the list changed", layout->name, i);
	}
}

static void check_info(const struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;
	uint32_t stride = nvabi_pid_info_stride((uint32_t)run->params_size);
	uint32_t count = get_u32(run->params_before, layout->list_count);

	if (!count || count > layout->list_capacity)
		return; /* for the driver to refuse */
	for (uint32_t i = 0; i < layout->list_capacity; i++) {
		size_t at = layout->list_first + (size_t)i * stride + layout->entry_pid;

		fuzz_check(get_u32(run->params, at) == get_u32(run->params_before, at),
			   "%s: entry %u has another PID", layout->name, i);
	}
}

/* Whether the memory behind the embedded pointer has become the driver's. */
static bool was_written(const struct run *run)
{
	return get_u64(run->params, run->layout->list_pointer) == (uint64_t)(uintptr_t)run->list &&
	       memcmp(run->list, run->list_before, run->list_size) != 0;
}

static void check_samples(const struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;
	bool behind = layout->list_pointer != NVABI_NONE;
	const uint8_t *samples = behind ? run->list : run->params + layout->list_first;
	size_t size = behind ? get_u32(run->params_before, layout->buffer_size)
			     : (size_t)layout->list_capacity * layout->list_stride;

	if (behind && !was_written(run))
		return;
	fuzz_check(!behind || size <= run->list_size, "%zu bytes of %zu written", size,
		   run->list_size);
	for (size_t at = 0; at < size; at += layout->list_stride)
		for (uint8_t i = 0; i < layout->engine_count; i++) {
			const struct nvabi_engine_layout *engine = &layout->engine[i];
			size_t pid_at = at + engine->proc_id, pointer_at = at + engine->os_pid_info;
			uint32_t pid;

			if (engine->os_pid_info != NVABI_NONE && pointer_at + 8 <= size)
				fuzz_check(!get_u64(samples, pointer_at),
					   "%s tells of kernel address 0x%llx", layout->name,
					   (unsigned long long)get_u64(samples, pointer_at));
			if (pid_at + 4 > size)
				continue;
			pid = get_u32(samples, pid_at);
			/* The rest of a sample that does not fit is not the driver's. */
			if (at + layout->list_stride > size)
				fuzz_check(pid == get_u32(run->list_before, pid_at),
					   "%s: PID %u behind the samples", layout->name, pid);
			else if (run->in_container && pid != NO_PROCESS)
				check_pid(run, pid);
		}
}

static void check_sessions(const struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;
	bool behind = layout->list_pointer != NVABI_NONE;
	const uint8_t *entries = behind ? run->list : run->params + layout->list_first;
	uint32_t count = get_u32(run->params, layout->list_count);

	if (behind && !was_written(run))
		return;
	fuzz_check(count <= layout->list_capacity, "%s: %u entries", layout->name, count);
	for (uint32_t i = 0; i < layout->list_capacity; i++) {
		size_t at = (size_t)i * layout->list_stride + layout->entry_pid;
		const uint8_t *before =
		    behind ? run->list_before : run->params_before + layout->list_first;
		uint32_t pid = get_u32(entries, at);

		if (pid != get_u32(before, at))
			check_pid(run, pid);
	}
}

static void check_pids(const struct run *run)
{
	const struct nvabi_pid_control *layout = run->layout;

	switch (layout->call) {
	case NVABI_GET_PIDS:
	case NVABI_ACCT_PIDS:
		check_list(run);
		break;
	case NVABI_GET_PID_INFO:
		check_info(run);
		break;
	case NVABI_SESSIONS:
		check_sessions(run);
		break;
	case NVABI_ACCT_PROC_INFO:
		fuzz_check(
		    get_u32(run->params, layout->pid) == get_u32(run->params_before, layout->pid),
		    "%s: asked about %u, told of %u", layout->name,
		    get_u32(run->params_before, layout->pid), get_u32(run->params, layout->pid));
		break;
	case NVABI_RCERR_REPORT:
		check_pid(run, get_u32(run->params, layout->pid));
		break;
	default:
		break;
	}
}

static void check_unchanged(const struct run *run)
{
	fuzz_check(!memcmp(run->params, run->params_before, run->params_size),
		   "params written without success");
	fuzz_check(!memcmp(run->list, run->list_before, run->list_size),
		   "list written without success");
}

void run_check(const struct run *run)
{
	struct nvos54_parameters expected = run->control_before;

	if (run->went_away)
		return;
	fuzz_check(run->answered + run->continued == 1, "answered %u times, continued %u times",
		   run->answered, run->continued);
	expected.status = run->control.status;
	fuzz_check(!memcmp(&run->control, &expected, sizeof(expected)),
		   "NVOS54 has more changed than its status");
	if (run->continued || run->errnum || run->control.status != NV_OK || !run->layout) {
		check_unchanged(run);
		return;
	}
	if (run->layout->list_pointer != NVABI_NONE)
		fuzz_check(get_u64(run->params, run->layout->list_pointer) ==
			       get_u64(run->params_before, run->layout->list_pointer),
			   "the embedded pointer is 0x%llx now",
			   (unsigned long long)get_u64(run->params, run->layout->list_pointer));
	if (run->layout->call == NVABI_UTIL_SAMPLES)
		check_samples(run);
	else if (run->in_container)
		check_pids(run);
}

void run_check_question(const struct run *run, const struct nvos54_parameters *control)
{
	const struct nvabi_pid_control *layout = run->layout;
	const uint8_t *params = (const uint8_t *)(uintptr_t)control->params;
	uint32_t stride, count;

	/* Only the target's own question: to tell processes apart the engine asks others. */
	if (!layout || !run->in_container || layout->cmd != control->cmd)
		return;
	/* A size that the release does not have is for the driver to refuse. */
	if (control->paramsSize != (layout->size ? layout->size : layout->assumed_size))
		return;
	if (layout->call == NVABI_ACCT_PROC_INFO) {
		uint32_t pid = get_u32(params, layout->pid);

		fuzz_check(pid == 0 || pid == NOBODY || world_has_inside(run->world, pid),
			   "asks the driver for the account of %u", pid);
	}
	if (layout->call != NVABI_GET_PID_INFO)
		return;
	stride = nvabi_pid_info_stride(control->paramsSize);
	count = get_u32(params, layout->list_count);
	for (uint32_t i = 0; i < count && count <= layout->list_capacity; i++) {
		uint32_t pid = get_u32(params, layout->list_first + i * stride + layout->entry_pid);

		fuzz_check(pid == 0 || pid == NOBODY || world_has_inside(run->world, pid),
			   "asks the driver for the memory of %u", pid);
	}
}
