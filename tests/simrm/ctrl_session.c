/* Encoder and capture sessions, whose process ids are always global (nvencsession.c,
 * nvfbc_session.c), and the sub-process id that a client may give itself. */
#include <string.h>

#include "tests/simrm/control.h"

/* One session of either kind and of a client or injected. */
struct session {
	uint32_t proc_id, sub_process_id;
	const uint32_t *session;
};

/* Calls VISIT for each session of KIND on the GPU, in the order of the clients, those without a
 * client last, until it says stop. */
static void for_each_session(struct control_call *call, enum object_kind kind,
			     bool (*visit)(const struct session *session, void *context),
			     void *context)
{
	for (struct client *client = call->driver->first_client; client; client = client->next) {
		for (struct object *object = client->objects; object; object = object->next) {
			struct session session = {client->proc_id, client->sub_process_id,
						  object->session};

			if (object->kind == kind && object->gpu == call->gpu_index &&
			    !visit(&session, context))
				return;
		}
	}
	for (struct injected_session *at = call->gpu->sessions; at; at = at->next) {
		struct session session = {at->proc_id, 0, at->session};

		if (at->kind == kind && !visit(&session, context))
			return;
	}
}

struct nvenc_list {
	struct nvenc_session *session; /* NULL: only count */
	uint32_t count;
};

static bool add_nvenc(const struct session *session, void *context)
{
	struct nvenc_list *list = context;
	struct nvenc_session *out = list->session ? &list->session[list->count] : NULL;

	if (out)
		*out = (struct nvenc_session){.processId = session->proc_id,
					      .subProcessId = session->sub_process_id,
					      .sessionId = session->session[0],
					      .codecType = session->session[1],
					      .hResolution = session->session[2],
					      .vResolution = session->session[3],
					      .averageEncodeFps = 30,
					      .averageEncodeLatency = 1000};
	list->count++;
	return !out || list->count < NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES;
}

/* The list proper: exactly 512 entries must be given where there is a session at all. */
static uint32_t list_nvenc(struct control_call *call, uint32_t *entries,
			   struct nvenc_session *session, bool only_count)
{
	struct nvenc_list list = {NULL, 0};

	for_each_session(call, OBJECT_NVENC, add_nvenc, &list);
	if (!only_count && list.count) {
		if (*entries != NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES)
			return NV_ERR_INVALID_ARGUMENT;
		memset(session, 0, NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES * sizeof(*session));
		list = (struct nvenc_list){session, 0};
		for_each_session(call, OBJECT_NVENC, add_nvenc, &list);
	}
	*entries = list.count;
	return NV_OK;
}

uint32_t size_nvenc(const struct release *release)
{
	(void)release;
	return sizeof(struct nvenc_sessions);
}

uint32_t prepare_nvenc(struct control_call *call)
{
	const struct nvenc_sessions *params = call->params;

	return control_embed(call, 0, params->sessionInfoTbl,
			     (uint64_t)params->sessionInfoTblEntry * sizeof(struct nvenc_session));
}

uint32_t run_nvenc(struct control_call *call)
{
	struct nvenc_sessions *params = call->params;

	return list_nvenc(call, &params->sessionInfoTblEntry, call->embedded[0].data,
			  !call->embedded[0].data);
}

uint32_t size_nvenc_v2(const struct release *release)
{
	return release->nvenc_v2 ? sizeof(struct nvenc_sessions_v2) : 0;
}

uint32_t run_nvenc_v2(struct control_call *call)
{
	struct nvenc_sessions_v2 *params = call->params;

	return list_nvenc(call, &params->sessionInfoTblEntry, params->sessionInfoTbl,
			  !params->sessionInfoTblEntry);
}

static bool add_nvfbc(const struct session *session, void *context)
{
	struct nvfbc_sessions *params = context;

	params->sessionInfoTbl[params->sessionInfoCount++] =
	    (struct nvfbc_session){.processId = session->proc_id,
				   .sessionId = session->session[0],
				   .sessionType = session->session[1],
				   .displayOrdinal = session->session[2],
				   .sessionFlags = session->session[3],
				   .hMaxResolution = session->session[4],
				   .vMaxResolution = session->session[5]};
	return params->sessionInfoCount < NV2080_GPU_NVFBC_MAX_SESSION_COUNT;
}

uint32_t size_nvfbc(const struct release *release)
{
	(void)release;
	return sizeof(struct nvfbc_sessions);
}

uint32_t run_nvfbc(struct control_call *call)
{
	memset(call->params, 0, sizeof(struct nvfbc_sessions));
	for_each_session(call, OBJECT_NVFBC, add_nvfbc, call->params);
	return NV_OK;
}

uint32_t size_sub_process_id(const struct release *release)
{
	(void)release;
	return sizeof(uint32_t) + NV_SUBPROC_NAME_MAX_LENGTH;
}

uint32_t run_sub_process_id(struct control_call *call)
{
	call->client->sub_process_id = *(const uint32_t *)call->params;
	return NV_OK;
}
