#include "nvabi/pids.h"
#include "nvabi/rm.h"
#include "nvabi/tables.h"

#include <errno.h>

/* How many steps below the root-ward walk met RELEASE first: -1 where it is no ancestor. */
static int distance(const struct nvabi_release *release, int from, int to)
{
	for (int steps = 0; from >= 0; steps++, from = release[from].parent)
		if (from == to)
			return steps;
	return -1;
}

static void store_semantics(struct nvabi_pid_semantics *semantics, uint32_t field, uint8_t value)
{
	switch ((enum nvabi_semantics_field)field) {
	case NVABI_FIELD_GET_PIDS:
		semantics->get_pids = value;
		break;
	case NVABI_FIELD_GET_PID_INFO:
		semantics->get_pid_info = value;
		break;
	case NVABI_FIELD_UTIL_SAMPLES:
		semantics->util_samples = value;
		break;
	case NVABI_FIELD_ACCOUNTING:
		semantics->accounting = value;
		break;
	case NVABI_FIELD_KIND:
		semantics->kind = value;
		break;
	case NVABI_FIELD_UTIL_RAW_FOR_INIT_NS:
		semantics->util_raw_for_init_ns = value;
		break;
	case NVABI_SEMANTICS_FIELDS:
		break;
	}
}

/* For each field the change nearest to the release counts. */
static void compose_semantics(const struct nvabi_pid_tables *tables, int release,
			      struct nvabi_pid_semantics *semantics)
{
	int nearest[NVABI_SEMANTICS_FIELDS];

	for (uint32_t field = 0; field < NVABI_SEMANTICS_FIELDS; field++)
		nearest[field] = INT32_MAX;
	for (uint32_t i = 0; i < tables->semantics_count; i++) {
		const struct nvabi_semantics_change *change = &tables->semantics[i];
		int steps = distance(tables->release, release, change->release);

		for (uint32_t field = 0; steps >= 0 && field < NVABI_SEMANTICS_FIELDS; field++) {
			if (!(change->set & 1U << field) || steps >= nearest[field])
				continue;
			nearest[field] = steps;
			store_semantics(semantics, field, change->value[field]);
		}
	}
}

static bool control_gone(const struct nvabi_pid_control *control)
{
	return !control->size && !control->assumed_size;
}

/* The changes of one control stand together in the table, which is ordered by cmd. */
static void compose_controls(const struct nvabi_pid_tables *tables, int release,
			     struct nvabi_pids *pids)
{
	uint32_t i = 0;

	pids->control_count = 0;
	while (i < tables->control_count) {
		const struct nvabi_pid_control *best = NULL;
		uint32_t cmd = tables->control[i].control.cmd;
		int nearest = INT32_MAX;

		for (; i < tables->control_count && tables->control[i].control.cmd == cmd; i++) {
			int steps = distance(tables->release, release, tables->control[i].release);

			if (steps >= 0 && steps < nearest) {
				nearest = steps;
				best = &tables->control[i].control;
			}
		}
		if (best && !control_gone(best) && pids->control_count < NVABI_PID_CONTROLS)
			pids->control[pids->control_count++] = *best;
	}
}

int nvabi_pids_compose_from(const struct nvabi_pid_tables *tables,
			    const struct nvabi_version *running, struct nvabi_pids *pids)
{
	enum nvabi_match match;
	int release = nvabi_tree_find(tables->release, tables->release_count, running, &match);

	if (release < 0)
		return release;
	*pids = (struct nvabi_pids){
	    .running = *running, .release = tables->release[release].version, .match = match};
	compose_semantics(tables, release, &pids->semantics);
	compose_controls(tables, release, pids);
	return 0;
}

int nvabi_pids_compose(const struct nvabi_version *running, struct nvabi_pids *pids)
{
	return nvabi_pids_compose_from(&nvabi_pid_tables, running, pids);
}

const struct nvabi_pid_control *nvabi_pids_find(const struct nvabi_pids *pids, uint32_t cmd)
{
	uint32_t low = 0, high = pids->control_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (pids->control[middle].cmd < cmd)
			low = middle + 1;
		else
			high = middle;
	}
	return low < pids->control_count && pids->control[low].cmd == cmd ? &pids->control[low]
									  : NULL;
}

uint32_t nvabi_pid_info_stride(uint32_t params_size)
{
	static const uint32_t strides[] = {40, 48, 72};
	const uint32_t header = 8;

	for (size_t i = 0; i < sizeof(strides) / sizeof(*strides); i++)
		if (params_size == header + strides[i] * NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT)
			return strides[i];
	return 0;
}

const struct nvabi_ioctl *nvabi_watched_ioctls(uint32_t *count)
{
	/* _IOC_NR and _IOC_SIZE of each: 32 bytes for RM control, 16 for the envelope. */
	static const struct nvabi_ioctl watched[] = {
	    {"NV_ESC_RM_CONTROL", 0x3fff00ff,
	     sizeof(struct nvos54_parameters) << 16 | NV_ESC_RM_CONTROL},
	    {"NV_ESC_IOCTL_XFER_CMD", 0x3fff00ff,
	     sizeof(struct nv_ioctl_xfer) << 16 | NV_ESC_IOCTL_XFER_CMD},
	};

	*count = sizeof(watched) / sizeof(*watched);
	return watched;
}

const struct nvabi_ioctl *nvabi_traced_ioctls(uint32_t *count)
{
	static const struct nvabi_ioctl traced[] = {
	    {"NV_ESC_*", 0x0000ff00, NV_IOCTL_MAGIC << 8},
	    {"UVM_*", 0xfffff800, 0},
	    {"UVM_INITIALIZE", 0xfffffffc, 0x30000000},
	};

	*count = sizeof(traced) / sizeof(*traced);
	return traced;
}

uint32_t nvabi_release_count(void)
{
	return nvabi_pid_tables.release_count;
}

const struct nvabi_version *nvabi_release_version(uint32_t index)
{
	return index < nvabi_pid_tables.release_count ? &nvabi_pid_tables.release[index].version
						      : NULL;
}

int nvabi_release_parent(uint32_t index)
{
	return index < nvabi_pid_tables.release_count ? nvabi_pid_tables.release[index].parent : -1;
}
