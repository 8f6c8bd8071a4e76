/* The RC error report, and the controls that bind or advertise memory in which the driver writes
 * process ids. */
#include <string.h>

#include "tests/simrm/control.h"

enum {
	RCDB_RCDIAG_DEFAULT_OWNER = 0,
	RPT_TYPE_RC_ERROR = 4,
	RPT_FLAGS_POS_FIRST = 1,
	RPT_FLAGS_POS_LAST = 2,
	RPT_FLAGS_RANGE_VALID = 4,
	RPT_FLAGS_DATA_VALID = 8,
	RUSD_FEATURE_NON_POLLING = 1,
	RUSD_FEATURE_POLLING = 2,
};
static const uint32_t any_owner = 0xffffffff;

uint32_t size_rcerr_report(const struct release *release)
{
	(void)release;
	return sizeof(struct rcerr_report);
}

/* The caller's own reports only, told by its process id, whatever it asks for. Records have the
 * default owner, which users may not name, so that only "any owner" finds them. */
uint32_t run_rcerr_report(struct control_call *call)
{
	struct rcerr_report *params = call->params;
	const struct xid_report *found = NULL;
	bool any = false;

	params->rptIdx = (uint16_t)~params->reqIdx;
	params->flags = 0;
	params->processId = (uint32_t)call->task->tgid;
	if (params->owner == RCDB_RCDIAG_DEFAULT_OWNER)
		return NV_ERR_INSUFFICIENT_PERMISSIONS;
	for (unsigned i = 0; params->owner == any_owner && i < call->driver->xids; i++) {
		if (call->driver->xid[i].proc_id != params->processId)
			continue;
		if (!any)
			params->startIdx = (uint16_t)i;
		any = true;
		params->endIdx = (uint16_t)i;
		if (params->reqIdx == i)
			found = &call->driver->xid[i];
	}
	if (!any)
		return NV_ERR_MISSING_TABLE_ENTRY;
	params->flags = RPT_FLAGS_RANGE_VALID;
	if (!found)
		return NV_OK;
	params->rptIdx = params->reqIdx;
	params->GPUTag = found->gpu_id;
	params->rptTime = found->time;
	params->rptType = RPT_TYPE_RC_ERROR;
	params->flags |= RPT_FLAGS_POS_FIRST | RPT_FLAGS_POS_LAST | RPT_FLAGS_DATA_VALID;
	params->rptCount = 1;
	memset(params->report, 0, sizeof(params->report));
	params->report[0].value = found->code;
	return NV_OK;
}

uint32_t size_fecs_bind(const struct release *release)
{
	(void)release;
	return sizeof(struct bind_event_buffer);
}

uint32_t size_fecs_bind_v2(const struct release *release)
{
	(void)release;
	return sizeof(struct bind_event_buffer) + sizeof(uint32_t);
}

uint32_t run_event_bind(struct control_call *call)
{
	const struct bind_event_buffer *params = call->params;
	const struct object *object = object_find(call->client, params->hEventBuffer);

	if (!object)
		return NV_ERR_OBJECT_NOT_FOUND;
	return object->kind == OBJECT_EVENT_BUFFER ? NV_OK : NV_ERR_INVALID_ARGUMENT;
}

uint32_t size_video_bind(const struct release *release)
{
	return release->video_bind ? sizeof(struct bind_event_buffer) : 0;
}

/* Traces of one user only are not supported. */
uint32_t run_video_bind(struct control_call *call)
{
	const struct bind_event_buffer *params = call->params;
	uint32_t status = run_event_bind(call);

	return !status && !params->bAllUsers ? NV_ERR_NOT_SUPPORTED : status;
}

uint32_t size_rusd_features(const struct release *release)
{
	return release->rusd_proc_util ? sizeof(uint32_t) : 0;
}

uint32_t run_rusd_features(struct control_call *call)
{
	*(uint32_t *)call->params = RUSD_FEATURE_NON_POLLING | RUSD_FEATURE_POLLING;
	return NV_OK;
}

uint32_t size_rusd_set(const struct release *release)
{
	return release->rusd_proc_util ? sizeof(uint64_t) : 0;
}

uint32_t size_rusd_interval(const struct release *release)
{
	return release->rusd_proc_util ? sizeof(uint32_t) : 0;
}

/* Accepted: nothing is polled here. */
uint32_t run_rusd_set(struct control_call *call)
{
	(void)call;
	return NV_OK;
}

uint32_t size_rusd_poll(const struct release *release)
{
	return release->rusd_params == sizeof(uint64_t) ? sizeof(uint64_t) : 0;
}

uint32_t run_rusd_poll(struct control_call *call)
{
	(void)call;
	return NV_OK;
}
