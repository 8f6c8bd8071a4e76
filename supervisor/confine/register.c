#include "supervisor/confine/register.h"

#include "supervisor/confine/proxies.h"
#include "supervisor/kernel/pidfd.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

bool register_is_there(const struct journal_process *process)
{
	return process->pid > 0 && task_may_be_there(process->pid, process->start);
}

/* Free ones first, then by how little they are worth, then by age. */
static bool is_better(const struct journal_proxy *one, const struct journal_proxy *other)
{
	uint32_t state = atomic_load(&one->state), others = atomic_load(&other->state);

	return state != others ? state < others : one->turn < other->turn;
}

uint32_t register_place(struct journal *journal, bool (*is_taken)(void *context, uint32_t index),
			void *context)
{
	uint32_t best = JOURNAL_PROXIES;

	for (uint32_t i = 0; i < JOURNAL_PROXIES; i++) {
		const struct journal_proxy *one = journal_proxy(journal, i);
		uint32_t state = atomic_load(&one->state);

		if (is_taken(context, i) || state >= JOURNAL_PROXY_LIVE)
			continue;
		if (best == JOURNAL_PROXIES || is_better(one, journal_proxy(journal, best)))
			best = i;
		if (state == JOURNAL_PROXY_FREE)
			break;
	}
	return best;
}

void register_enter(struct journal *journal, uint32_t index, const struct journal_proxy *entry)
{
	struct journal_header *header = journal_header(journal);
	struct journal_proxy *place = journal_proxy(journal, index);

	atomic_store(&place->state, JOURNAL_PROXY_FREE);
	place->proxy = entry->proxy;
	place->target = entry->target;
	place->uid = entry->uid;
	place->gid = entry->gid;
	place->capabilities = entry->capabilities;
	place->turn = ++header->proxies_turn;
	if (atomic_load(&header->proxies_top) <= index)
		atomic_store(&header->proxies_top, index + 1);
	atomic_store(&place->state, JOURNAL_PROXY_LIVE);
	atomic_fetch_add(&header->proxies_started, 1);
}

void register_leave(struct journal *journal, uint32_t index, enum journal_proxy_state state)
{
	struct journal_header *header = journal_header(journal);
	struct journal_proxy *place = journal_proxy(journal, index);

	if (atomic_load(&place->state) != JOURNAL_PROXY_LIVE)
		return;
	place->turn = ++header->proxies_turn;
	atomic_store(&place->state, state);
	if (state == JOURNAL_PROXY_LOST)
		atomic_fetch_add(&header->proxies_lost, 1);
}

/* A former worker may have written anything. */
static uint32_t top(struct journal *journal)
{
	uint32_t top = atomic_load(&journal_header(journal)->proxies_top);

	return top < JOURNAL_PROXIES ? top : JOURNAL_PROXIES;
}

/* The newest entry, of STATE or better, with PID for its proxy or for its target. */
static const struct journal_proxy *find(struct journal *journal, pid_t pid, bool by_target,
					enum journal_proxy_state least)
{
	const struct journal_proxy *found = NULL;

	for (uint32_t i = 0; i < top(journal); i++) {
		const struct journal_proxy *one = journal_proxy(journal, i);

		if (atomic_load(&one->state) < least ||
		    (by_target ? one->target.pid : one->proxy.pid) != pid)
			continue;
		if (!found || one->turn > found->turn)
			found = one;
	}
	return found;
}

/* A number that was given to another process since is that process's. */
pid_t proxies_target_of(struct journal *journal, pid_t proxy)
{
	const struct journal_proxy *found = find(journal, proxy, false, JOURNAL_PROXY_ENDED);

	if (!found)
		return 0;
	if (register_is_there(&found->proxy) || !task_start_ticks(proxy))
		return found->target.pid;
	return 0;
}

pid_t proxies_proxy_of(struct journal *journal, pid_t target)
{
	const struct journal_proxy *found = find(journal, target, true, JOURNAL_PROXY_LIVE);

	return found && register_is_there(&found->target) && register_is_there(&found->proxy)
		   ? found->proxy.pid
		   : 0;
}

void proxies_await_end(struct journal *journal, int timeout_ms)
{
	for (uint32_t i = 0; i < top(journal); i++) {
		const struct journal_proxy *one = journal_proxy(journal, i);
		struct pollfd end = {.events = POLLIN};

		if (atomic_load(&one->state) == JOURNAL_PROXY_FREE)
			continue;
		end.fd = pidfd_of_process(one->proxy.pid);
		if (end.fd < 0)
			continue;
		if (register_is_there(&one->proxy))
			poll(&end, 1, timeout_ms);
		close(end.fd);
	}
}

void proxies_stats(struct journal *journal, struct proxies_stats *stats)
{
	const struct journal_header *header = journal_header(journal);

	*stats = (struct proxies_stats){.started = atomic_load(&header->proxies_started),
					.lost = atomic_load(&header->proxies_lost)};
	for (uint32_t i = 0; i < top(journal); i++)
		stats->live += atomic_load(&journal_proxy(journal, i)->state) == JOURNAL_PROXY_LIVE;
}
