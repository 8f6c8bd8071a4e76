/* Who has a proxy, and who has which lane of it. */
#include "supervisor/confine/proxies-private.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/confine/register.h"
#include "supervisor/kernel/pidfd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 64 };

/* ---- The table; all under the lock ---- */

static bool is_taken(void *context, uint32_t index)
{
	const struct proxies *proxies = context;

	return proxies->table[index] != NULL;
}

/* Its memory is given back with its last lane. */
static void bury(struct proxy *proxy)
{
	struct proxies *proxies = proxy->proxies;

	if (proxy->state == PROXY_DEAD)
		return;
	register_leave(proxies->journal, proxy->index,
		       pidfd_has_ended(proxy->target) ? JOURNAL_PROXY_ENDED : JOURNAL_PROXY_LOST);
	epoll_ctl(proxies->epoll, EPOLL_CTL_DEL, proxy->target, NULL);
	proxies->table[proxy->index] = NULL;
	proxy->state = PROXY_DEAD;
	pthread_cond_broadcast(&proxies->changed);
	if (!proxy->busy)
		proxy_free(proxy);
}

static bool stands_for(const struct proxy *proxy, const struct target *target)
{
	const struct journal_proxy *entry = &proxy->entry;

	return entry->target.pid == target->tgid && entry->uid == target->euid &&
	       entry->gid == target->egid && entry->capabilities == target->capabilities;
}

static struct proxy *find(struct proxies *proxies, const struct target *target)
{
	for (uint32_t i = 0; i < proxies->top; i++)
		if (proxies->table[i] && stands_for(proxies->table[i], target))
			return proxies->table[i];
	return NULL;
}

static struct proxy *add(struct proxies *proxies, uint32_t index, int target)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));

	if (!proxy)
		return NULL;
	proxy->proxies = proxies;
	proxy->index = index;
	proxy->target = target;
	for (int i = 0; i < PROXY_LANES; i++)
		proxy->lane[i].socket = proxy->lane[i].bell = -1;
	proxies->table[index] = proxy;
	if (proxies->top <= index)
		proxies->top = index + 1;
	return proxy;
}

static void watch_target(struct proxy *proxy)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = proxy->index};

	epoll_ctl(proxy->proxies->epoll, EPOLL_CTL_ADD, proxy->target, &event);
}

/* ---- The end of targets ---- */

static void heed_end(struct proxies *proxies, uint32_t index)
{
	pthread_mutex_lock(&proxies->lock);
	if (proxies->table[index] && proxies->table[index]->state == PROXY_LIVE &&
	    pidfd_has_ended(proxies->table[index]->target))
		bury(proxies->table[index]);
	pthread_mutex_unlock(&proxies->lock);
}

int proxies_ends(const struct proxies *proxies)
{
	return proxies->epoll;
}

void proxies_heed_ends(struct proxies *proxies)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(proxies->epoll, events, EVENTS, 0);

	for (int i = 0; i < count; i++)
		heed_end(proxies, events[i].data.u32);
}

/* ---- Start and stop ---- */

/* A former worker's, where both it and its target are there still. */
static void adopt(struct proxies *proxies, uint32_t index)
{
	const struct journal_proxy *entry = journal_proxy(proxies->journal, index);
	struct proxy *proxy = NULL;
	int target;

	if (atomic_load(&entry->state) != JOURNAL_PROXY_LIVE)
		return;
	target = pidfd_of_process(entry->target.pid);
	if (target < 0 || !register_is_there(&entry->target)) {
		register_leave(proxies->journal, index, JOURNAL_PROXY_ENDED);
	} else if (!register_is_there(&entry->proxy)) {
		register_leave(proxies->journal, index, JOURNAL_PROXY_LOST);
	} else {
		proxy = add(proxies, index, target);
	}
	if (!proxy) {
		if (target >= 0)
			close(target);
		return;
	}
	memcpy(&proxy->entry, entry, sizeof(*entry));
	proxy->state = PROXY_LIVE;
	watch_target(proxy);
}

struct proxies *proxies_new(struct journal *journal, int nursery)
{
	struct proxies *proxies = calloc(1, sizeof(*proxies));
	struct timespec now;

	if (!proxies)
		return NULL;
	proxies->journal = journal;
	proxies->nursery = nursery;
	proxies->epoll = -1;
	pthread_mutex_init(&proxies->lock, NULL);
	pthread_mutex_init(&proxies->asking, NULL);
	pthread_cond_init(&proxies->changed, NULL);
	if (nursery < 0)
		return proxies;
	/* No worker takes another one's answers for its own. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	proxies->token = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	proxies->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (proxies->epoll < 0) {
		proxies_free(proxies);
		return NULL;
	}
	pthread_mutex_lock(&proxies->lock);
	for (uint32_t i = 0; i < JOURNAL_PROXIES; i++)
		adopt(proxies, i);
	pthread_mutex_unlock(&proxies->lock);
	return proxies;
}

void proxies_free(struct proxies *proxies)
{
	if (!proxies)
		return;
	for (uint32_t i = 0; i < proxies->top; i++)
		if (proxies->table[i])
			proxy_free(proxies->table[i]);
	if (proxies->epoll >= 0)
		close(proxies->epoll);
	pthread_cond_destroy(&proxies->changed);
	pthread_mutex_destroy(&proxies->asking);
	pthread_mutex_destroy(&proxies->lock);
	free(proxies);
}

/* ---- A proxy for a target; under the lock, but where it starts ---- */

static struct proxy *conceive(struct proxies *proxies, const struct target *target, int *error)
{
	int pidfd = pidfd_of_process(target->tgid);
	uint32_t index;
	struct proxy *proxy;

	if (pidfd < 0) {
		*error = pidfd == -ESRCH || pidfd == -EINVAL ? -ESRCH : -EAGAIN;
		return NULL;
	}
	index = register_place(proxies->journal, is_taken, proxies);
	if (index == JOURNAL_PROXIES)
		log_error(
		    "as many confined processes as there can be have proxies: another one's GPU "
		    "calls fail",
		    "pid=%d most=%d", target->tgid, JOURNAL_PROXIES);
	proxy = index == JOURNAL_PROXIES ? NULL : add(proxies, index, pidfd);
	if (!proxy) {
		close(pidfd);
		*error = -EAGAIN;
		return NULL;
	}
	proxy->state = PROXY_STARTING;
	proxy->entry = (struct journal_proxy){
	    .target = {.pid = target->tgid, .start = task_start_ticks(target->tgid)},
	    .uid = target->euid,
	    .gid = target->egid,
	    .capabilities = target->capabilities};
	return proxy;
}

static struct proxy *start(struct proxies *proxies, const struct target *target, const char *label,
			   int *error)
{
	struct proxy *proxy = conceive(proxies, target, error);

	if (!proxy)
		return NULL;
	pthread_mutex_unlock(&proxies->lock);
	*error = proxy_start(proxy, label);
	pthread_mutex_lock(&proxies->lock);
	pthread_cond_broadcast(&proxies->changed);
	if (*error) {
		proxies->table[proxy->index] = NULL;
		proxy_free(proxy);
		return NULL;
	}
	register_enter(proxies->journal, proxy->index, &proxy->entry);
	proxy->state = PROXY_LIVE;
	watch_target(proxy);
	return proxy;
}

/* ---- Lanes ---- */

/* Whether the journal's slot for which LANE was in use names it still. */
static bool is_named(struct journal *journal, const struct proxy_lane *lane)
{
	uint32_t number = lane->lane.record->slot;
	const struct journal_slot *slot;

	if (!number || number > JOURNAL_SLOTS)
		return false;
	slot = journal_slot(journal, number - 1);
	return slot->lane == lane->lane.number + 1 && atomic_load(&slot->phase) != JOURNAL_FREE;
}

/* What a former worker's calls on it have come to. */
static bool attach(struct proxy *proxy)
{
	int memory;

	if (proxy->memory)
		return true;
	memory = proxy_take_descriptor(proxy, PROXY_MEMORY);
	if (memory < 0 || proxy_map(proxy, memory)) {
		cleanup_close_fd(&memory);
		return false;
	}
	close(memory);
	for (int i = 0; i < PROXY_LANES; i++) {
		if (atomic_load(&proxy->lane[i].lane.record->phase) != LANE_FREE)
			proxy->lane[i].use = LANE_RESERVED;
		proxy->lane[i].unsure = true;
	}
	return true;
}

/* Idle ones first. A dirty one has to be waited for. */
static struct proxy_lane *pick(struct proxy *proxy)
{
	struct proxy_lane *dirty = NULL;

	for (int i = 0; i < PROXY_LANES; i++) {
		struct proxy_lane *lane = &proxy->lane[i];

		if (lane->use == LANE_RESERVED && !is_named(proxy->proxies->journal, lane))
			lane->use = LANE_DIRTY;
		if (lane->use == LANE_IDLE)
			return lane;
		if (lane->use == LANE_DIRTY && !dirty)
			dirty = lane;
	}
	return dirty;
}

static bool has_socket(struct proxy_lane *lane)
{
	if (lane->socket < 0)
		lane->socket = proxy_take_descriptor(
		    lane->owner, PROXY_WORKERS_ENDS + (int)(lane - lane->owner->lane));
	return lane->socket >= 0;
}

/* Both ends are there as long as the proxy lives. */
static bool is_alive(const struct proxy_lane *lane)
{
	struct pollfd polls[] = {{.fd = lane->socket},
				 {.fd = lane->owner->target, .events = POLLIN}};

	return poll(polls, 2, 0) == 0 && !atomic_load(&lane->owner->has_died);
}

/* Of a lane that is the caller's: outside of the lock, since it may wait. */
static bool make_ready(struct proxy_lane *lane, bool dirty)
{
	return has_socket(lane) && is_alive(lane) && (!dirty || !lane_settle(lane));
}

static void give_up(struct proxies *proxies, struct proxy_lane *lane)
{
	struct proxy *proxy = lane->owner;

	lane->use = LANE_IDLE;
	proxy->busy--;
	if (proxy->state != PROXY_DEAD)
		bury(proxy);
	else if (!proxy->busy)
		proxy_free(proxy);
	pthread_cond_broadcast(&proxies->changed);
}

static struct proxy *find_or_start(struct proxies *proxies, const struct target *target,
				   const char *label, int *error)
{
	struct proxy *proxy;

	while ((proxy = find(proxies, target)) && proxy->state == PROXY_STARTING)
		pthread_cond_wait(&proxies->changed, &proxies->lock);
	return proxy ? proxy : start(proxies, target, label, error);
}

/* 1. A proxy. 2. A lane of it that nobody has. 3. Both must be of use: a proxy that was killed is
 * replaced here. */
struct lane *proxies_lane(struct proxies *proxies, const struct target *target, const char *label,
			  int *error)
{
	struct proxy_lane *lane = NULL;

	*error = -EAGAIN;
	if (proxies->nursery < 0)
		return NULL;
	pthread_mutex_lock(&proxies->lock);
	while (!lane) {
		struct proxy *proxy = find_or_start(proxies, target, label, error);
		bool ready, dirty;

		if (!proxy)
			break;
		if (!attach(proxy)) {
			bury(proxy);
			continue;
		}
		lane = pick(proxy);
		if (!lane) {
			pthread_cond_wait(&proxies->changed, &proxies->lock);
			continue;
		}
		dirty = lane->use == LANE_DIRTY;
		lane->use = LANE_BUSY;
		proxy->busy++;
		pthread_mutex_unlock(&proxies->lock);
		ready = make_ready(lane, dirty);
		pthread_mutex_lock(&proxies->lock);
		if (!ready) {
			give_up(proxies, lane);
			lane = NULL;
		}
	}
	pthread_mutex_unlock(&proxies->lock);
	return lane ? &lane->lane : NULL;
}

/* The lane's own word counts, not only the slot's: it may have gone on to another call. */
static struct proxy_lane *find_reserved(struct proxies *proxies, const struct journal_slot *slot)
{
	uint32_t number = slot->lane - 1;
	struct proxy *proxy;
	struct proxy_lane *lane;

	if (!slot->lane || number >= JOURNAL_PROXIES * PROXY_LANES)
		return NULL;
	proxy = proxies->table[number / PROXY_LANES];
	if (!proxy || proxy->state != PROXY_LIVE || !attach(proxy))
		return NULL;
	lane = &proxy->lane[number % PROXY_LANES];
	return lane->use == LANE_RESERVED && lane->lane.record->slot == slot->index + 1 &&
		       lane->lane.record->id == slot->notification.id
		   ? lane
		   : NULL;
}

struct lane *proxies_resume(struct proxies *proxies, struct journal_slot *slot)
{
	struct proxy_lane *lane;

	pthread_mutex_lock(&proxies->lock);
	lane = find_reserved(proxies, slot);
	if (lane && !has_socket(lane))
		lane = NULL;
	if (lane) {
		lane->use = LANE_BUSY;
		lane->slot = slot;
		lane->owner->busy++;
	} else {
		slot->lane = 0;
	}
	pthread_mutex_unlock(&proxies->lock);
	return lane ? &lane->lane : NULL;
}
