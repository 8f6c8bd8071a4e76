#include "supervisor/handlers/memory_query.h"

#include "supervisor/handlers/fold.h"

#include "base/cleanup.h"
#include "supervisor/kernel/shortage.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

enum {
	BATCH = NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT,
	THREADS_MAX = 1 << 16,
	CMD_GET_PID_INFO = 0x2080018e,
	SMC_NONE = -1, /* PARTITIONID_INVALID */
};

/* One number to ask for, and the query that it belongs to. */
struct question {
	pid_t number;
	size_t query;
};

struct questions {
	struct question *list;
	size_t count, size;
};

static int add_question(struct questions *questions, pid_t number, size_t query)
{
	struct question *list = questions->list;

	if (questions->count == THREADS_MAX)
		return 0;
	if (questions->count == questions->size) {
		size_t size = questions->size ? questions->size * 2 : 256;

		list = realloc(list, size * sizeof(*list));
		if (!list)
			return -ENOMEM;
		questions->list = list;
		questions->size = size;
	}
	list[questions->count++] = (struct question){.number = number, .query = query};
	return 0;
}

static bool matches_threads(const struct nvabi_pids *pids)
{
	return pids->semantics.get_pid_info != NVABI_GLOBAL && pids->semantics.kind == NVABI_TID;
}

/* Every thread that lives, then those that have ended and were seen. */
static int add_threads(const struct call *call, struct questions *questions, pid_t host,
		       size_t query)
{
	pid_t ended[256];
	char path[48];
	cleanup_dir DIR *dir = NULL;
	struct dirent *entry;
	size_t count = roster_threads_of(call->roster, host, ended, 256);
	int result = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", host);
	dir = opendir(path);
	while (!result && dir && (errno = 0, entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0)
			result = add_question(questions, tid, query);
	}
	shortage_note(errno);
	for (size_t i = 0; !result && i < count; i++) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d", host, ended[i]);
		if (access(path, F_OK) == 0)
			continue;
		shortage_note(errno);
		result = add_question(questions, ended[i], query);
	}
	return result;
}

static int make_questions(const struct call *call, const struct memory_query *queries,
			  size_t count, struct questions *questions)
{
	int result = 0;

	for (size_t i = 0; !result && i < count; i++) {
		size_t before = questions->count;
		bool is_process = queries[i].host > 0 && queries[i].host != NOBODY;
		pid_t host = is_process ? fold_at_driver(call, queries[i].host) : queries[i].host;

		if (is_process && matches_threads(call->pids))
			result = add_threads(call, questions, host, i);
		if (!result && questions->count == before)
			result = add_question(questions, host, i);
	}
	return result;
}

/* The driver's answer to one number joins the answer about its process. */
static void merge(const struct nvabi_pid_control *layout, uint8_t *entry, const uint8_t *answer,
		  uint32_t stride, bool first)
{
	pid_t pid = (pid_t)get_u32(entry, layout->entry_pid);

	if (first) {
		memcpy(entry, answer, stride);
		put_u32(entry, layout->entry_pid, (uint32_t)pid);
		return;
	}
	if (get_u32(answer, layout->entry_result) != NV_OK)
		return;
	for (size_t at = layout->entry_data; at + 8 <= stride; at += 8) {
		if (layout->entry_smc != NVABI_NONE && at >= layout->entry_smc)
			break;
		put_u64(entry, at, get_u64(entry, at) + get_u64(answer, at));
	}
	if (layout->entry_smc != NVABI_NONE && layout->entry_smc + 8U <= stride &&
	    get_u32(entry, layout->entry_smc) == (uint32_t)SMC_NONE)
		memcpy(entry + layout->entry_smc, answer + layout->entry_smc, 8);
}

static int ask_batch(const struct call *call, const struct nvabi_pid_control *layout,
		     uint32_t size, uint32_t stride, struct memory_query *queries,
		     const struct question *batch, size_t count, bool *asked, uint32_t *status)
{
	cleanup_free uint8_t *params = calloc(1, size);
	int result;

	if (!params)
		return -ENOMEM;
	put_u32(params, layout->list_count, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		uint8_t *entry = params + layout->list_first + i * stride;

		memcpy(entry, queries[batch[i].query].entry, stride);
		put_u32(entry, layout->entry_pid, (uint32_t)batch[i].number);
	}
	result = call_execute(call, layout->cmd, params, size, status);
	if (result || *status != NV_OK)
		return result;
	for (size_t i = 0; i < count; i++) {
		size_t query = batch[i].query;

		merge(layout, queries[query].entry, params + layout->list_first + i * stride,
		      stride, !asked[query]);
		asked[query] = true;
	}
	return 0;
}

int memory_query(const struct call *call, const struct nvabi_pid_control *layout, uint32_t size,
		 uint32_t stride, struct memory_query *queries, size_t count, uint32_t *status)
{
	struct questions questions = {0};
	cleanup_free bool *asked = calloc(count, sizeof(*asked));
	int result = asked ? make_questions(call, queries, count, &questions) : -ENOMEM;

	*status = NV_OK;
	for (size_t at = 0; !result && *status == NV_OK && at < questions.count; at += BATCH) {
		size_t left = questions.count - at;

		result = ask_batch(call, layout, size, stride, queries, questions.list + at,
				   left < BATCH ? left : BATCH, asked, status);
	}
	free(questions.list);
	return result;
}

static bool uses_memory(const struct nvabi_pid_control *layout, const uint8_t *entry,
			uint32_t stride)
{
	for (size_t at = layout->entry_data; at + 8 <= stride; at += 8) {
		if (layout->entry_smc != NVABI_NONE && at >= layout->entry_smc)
			break;
		if (get_u64(entry, at))
			return true;
	}
	return false;
}

void memory_find_users(const struct call *call, const pid_t *hosts, size_t count, bool *uses)
{
	const struct nvabi_pid_control *layout = nvabi_pids_find(call->pids, CMD_GET_PID_INFO);
	struct memory_query queries[MEMORY_USERS_MAX];
	uint32_t status, stride = layout ? layout->list_stride : 0;
	cleanup_free uint8_t *entries = calloc(count + 1, stride + 1);
	int result;

	memset(uses, 0, count * sizeof(*uses));
	if (!layout || !layout->size)
		return;
	for (size_t i = 0; entries && i < count; i++)
		queries[i] = (struct memory_query){hosts[i], entries + i * stride};
	result = entries ? memory_query(call, layout, layout->size, stride, queries, count, &status)
			 : -ENOMEM;
	shortage_note(-result);
	if (result || status != NV_OK)
		return;
	for (size_t i = 0; i < count; i++)
		uses[i] = uses_memory(layout, queries[i].entry, stride);
}

bool memory_is_used_by(const struct call *call, pid_t host)
{
	bool uses;

	memory_find_users(call, &host, 1, &uses);
	return uses;
}
