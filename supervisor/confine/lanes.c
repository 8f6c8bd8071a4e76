/* Calls on a lane. */
#include "supervisor/confine/proxies-private.h"

#include "base/cleanup.h"
#include "supervisor/confine/bell.h"
#include "supervisor/confine/post.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct proxy_lane *of(struct lane *lane)
{
	return (struct proxy_lane *)(void *)((char *)lane - offsetof(struct proxy_lane, lane));
}

void lane_begin(struct lane *lane, struct journal_slot *slot)
{
	struct lane_record *record = lane->record;

	of(lane)->slot = slot;
	record->slot = slot->index + 1;
	record->id = slot->notification.id;
	record->turn++;
	atomic_store_explicit(&record->phase, LANE_BUILDING, memory_order_release);
	slot->lane = lane->number + 1;
}

/* ---- Words with the proxy ---- */

static void close_all(int *fds, size_t count)
{
	while (count)
		close(fds[--count]);
}

/* Takes what is there until it is the answer to TURN and NONCE; others are to former questions. RETURNED is
 * the descriptor that came with it, or -1. Returns 0, -EAGAIN where nothing is there and FLAGS say not to
 * wait, or -EPIPE. */
static int take_answer(struct proxy_lane *lane, uint64_t turn, uint64_t nonce, int flags,
		       struct lane_answer *answer, int *returned)
{
	*returned = -1;
	for (;;) {
		int fds[POST_FDS];
		size_t count;
		int result =
		    post_receive(lane->socket, answer, sizeof(*answer), fds, &count, flags);

		if (result == -EPIPE || result == -EAGAIN)
			return result;
		if (result || answer->turn != turn || answer->nonce != nonce ||
		    answer->status == LANE_HELLO) {
			close_all(fds, count);
			continue;
		}
		if (count)
			*returned = fds[0];
		lane->returned = answer->returned;
		return 0;
	}
}

/* The same, for up to TIMEOUT_MS. */
static int try_await(struct proxy_lane *lane, uint64_t turn, uint64_t nonce, int timeout_ms,
		     struct lane_answer *answer, int *returned)
{
	struct pollfd answered = {.fd = lane->socket, .events = POLLIN};

	poll(&answered, 1, timeout_ms);
	return take_answer(lane, turn, nonce, MSG_DONTWAIT, answer, returned);
}

static uint64_t new_nonce(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) | 1;
}

static struct lane_word *word_of(const struct proxy_lane *lane)
{
	return &lane->owner->memory->word[lane - lane->owner->lane];
}

/* The bell that the proxy's thread has hung up, if we have not got it yet. */
static bool has_bell(struct proxy_lane *lane)
{
	int number = PROXY_BELLS + (int)(lane - lane->owner->lane);

	if (lane->bell >= 0)
		return true;
	if (lane->bell_refused || !atomic_load(&word_of(lane)->has_bell))
		return false;
	lane->bell = proxy_take_descriptor(lane->owner, number);
	if (lane->bell >= 0 && !bell_take(lane->bell))
		close(steal_fd(&lane->bell));
	lane->bell_refused = lane->bell < 0;
	return lane->bell >= 0;
}

/* Of a thread that may be at its bell, may have been seen there by a former worker, or may be on its way
 * there. Returns -EPIPE where it can never be reached again. */
static int rouse(struct proxy_lane *lane)
{
	struct seccomp_notif *visit = &lane->lane.record->visit;
	struct pollfd there = {.events = POLLIN};

	if (!atomic_load(&word_of(lane)->waits))
		return 0;
	if (!has_bell(lane))
		return -EPIPE;
	bell_ring(lane->bell, visit);
	there.fd = lane->bell;
	if (poll(&there, 1, 0) == 1 && bell_await(lane->bell, lane->socket, visit) == 0)
		bell_ring(lane->bell, visit);
	return 0;
}

/* Afterwards it is known where the proxy's thread waits: at the socket. */
static int ask(struct proxy_lane *lane, struct lane_answer *answer, int *returned)
{
	const struct lane_message message = {
	    .turn = lane->lane.record->turn, .nonce = new_nonce(), .order = LANE_ASK};
	int result = post_send(lane->socket, &message, sizeof(message), NULL, 0);

	int pause_ms = 1;

	*returned = -1;
	while (!result) {
		result = rouse(lane);
		if (!result)
			result = try_await(lane, message.turn, message.nonce, pause_ms, answer,
					   returned);
		if (result != -EAGAIN)
			break;
		result = 0;
		pause_ms = pause_ms < 64 ? 2 * pause_ms : pause_ms;
	}
	lane->unsure = result != 0;
	lane->lane.record->visit.id = 0;
	return result;
}

/* Where it waits it goes on waiting. */
static void let_forget(struct proxy_lane *lane)
{
	struct seccomp_notif *visit = &lane->lane.record->visit;
	const struct lane_message message = {.turn = lane->lane.record->turn,
					     .order = LANE_FORGET,
					     .rings = visit->id != 0};

	if (!lane->returned)
		return;
	post_send(lane->socket, &message, sizeof(message), NULL, 0);
	if (message.rings)
		bell_ring(lane->bell, visit);
	lane->returned = false;
}

/* Nothing of former calls is with the proxy any more. */
static int quiet(struct proxy_lane *lane)
{
	struct lane_answer answer;
	int returned = -1;
	int result = ask(lane, &answer, &returned);

	if (returned >= 0)
		close(returned);
	if (result)
		return -EPIPE;
	let_forget(lane);
	return 0;
}

int lane_settle(struct proxy_lane *lane)
{
	int result = quiet(lane);

	if (!result)
		atomic_store(&lane->lane.record->phase, LANE_FREE);
	return result;
}

/* ---- Calls ---- */

static bool fits(uint32_t offset, uint32_t width)
{
	return offset <= LANE_AREA && width <= LANE_AREA - offset;
}

static bool is_width(uint32_t width)
{
	return width == 0 || width == sizeof(int32_t) || width == sizeof(int64_t);
}

static bool is_sound(const struct lane_request *request)
{
	if (request->in_count > LANE_DESCRIPTORS || !fits(request->offset, 0))
		return false;
	for (uint32_t i = 0; i < request->in_count; i++)
		if (!is_width(request->in[i].width) ||
		    !fits(request->in[i].offset, request->in[i].width))
			return false;
	return is_width(request->out_width) && fits(request->out_offset, request->out_width);
}

static void put_down(struct lane_record *record, const struct lane_request *request)
{
	record->id = request->id;
	record->request = request->request;
	record->offset = request->offset;
	record->in_count = request->in_count;
	for (uint32_t i = 0; i < request->in_count; i++) {
		record->in[i].offset = request->in[i].offset;
		record->in[i].width = request->in[i].width;
	}
	record->out_offset = request->out_offset;
	record->out_width = request->out_width;
}

/* A descriptor that was returned and has not arrived, for want of a free number, is with the proxy
 * still. */
static int finish(struct proxy_lane *lane, const struct lane_answer *answer,
		  struct lane_request *request, int returned, int *result)
{
	struct lane_record *record = lane->lane.record;

	record->result = *result = answer->result;
	atomic_store_explicit(&record->phase, LANE_DONE, memory_order_release);
	request->out_fd = returned;
	return answer->returned && returned < 0 ? -EMFILE : 0;
}

/* Where the proxy's thread is at its bell: what it has put down for TURN, or said by message. Returns
 * -EAGAIN where it came there before it saw the call. */
static int look_for_answer(struct proxy_lane *lane, uint64_t turn, struct lane_answer *answer,
			   int *returned)
{
	const struct lane_word *word = word_of(lane);

	*returned = -1;
	if (atomic_load_explicit(&word->done, memory_order_acquire) != turn)
		return take_answer(lane, turn, 0, MSG_DONTWAIT, answer, returned);
	*answer = (struct lane_answer){.turn = turn, .result = word->result};
	lane->returned = false;
	return 0;
}

/* The call was sent. The thread is at its bell, or on its way there; when it is there again it has seen
 * what was sent before it was let go. */
static int ring_and_await(struct proxy_lane *lane, uint64_t turn, struct lane_answer *answer,
			  int *returned)
{
	struct seccomp_notif *visit = &lane->lane.record->visit;
	int result, seen;

	do {
		bell_ring(lane->bell, visit);
		do
			seen = bell_await(lane->bell, lane->socket, visit);
		while (seen == -EAGAIN);
		result = look_for_answer(lane, turn, answer, returned);
	} while (result == -EAGAIN && !seen);
	if (result != -EAGAIN)
		return result;
	atomic_store(&lane->owner->has_died, true);
	return -EPIPE;
}

int lane_call(struct lane *public, struct lane_request *request, int *result)
{
	struct proxy_lane *lane = of(public);
	struct lane_record *record = public->record;
	struct lane_message message = {.turn = record->turn, .order = LANE_CALL};
	struct lane_answer answer;
	int fds[POST_FDS] = {request->fd}, returned, failed;

	request->out_fd = -1;
	if (!is_sound(request))
		return -EINVAL;
	if (lane->unsure && quiet(lane))
		return -EPIPE;
	put_down(record, request);
	message.rings = has_bell(lane);
	for (uint32_t i = 0; i < request->in_count; i++)
		fds[1 + i] = request->in[i].fd;
	/* The proxy tells a successor whether it has come to be true. */
	atomic_store_explicit(&record->phase, LANE_SENT, memory_order_release);
	failed =
	    post_send(lane->socket, &message, sizeof(message), fds, 1 + (size_t)request->in_count);
	if (failed) {
		atomic_store(&record->phase, LANE_BUILDING);
		return failed == -EPIPE ? -EPIPE : -EAGAIN;
	}
	failed = message.rings
		     ? ring_and_await(lane, record->turn, &answer, &returned)
		     : take_answer(lane, record->turn, 0, 0, &answer, &returned);
	return failed ? failed : finish(lane, &answer, request, returned, result);
}

static void take_from(const struct lane_record *record, struct lane_request *request)
{
	*request = (struct lane_request){.id = record->id,
					 .request = record->request,
					 .offset = record->offset,
					 .fd = -1,
					 .out_offset = record->out_offset,
					 .out_width = (uint8_t)record->out_width,
					 .out_fd = -1};
	request->in_count =
	    record->in_count < LANE_DESCRIPTORS ? record->in_count : LANE_DESCRIPTORS;
	for (uint32_t i = 0; i < request->in_count; i++) {
		request->in[i].fd = -1;
		request->in[i].offset = record->in[i].offset;
		request->in[i].width = (uint8_t)record->in[i].width;
	}
}

int lane_finish(struct lane *public, struct lane_request *request, int *result)
{
	struct proxy_lane *lane = of(public);
	struct lane_answer answer;
	int returned, failed;

	take_from(public->record, request);
	failed = ask(lane, &answer, &returned);
	if (failed)
		return failed == -EPIPE ? -EPIPE : -EAGAIN;
	if (answer.status != LANE_UNKNOWN)
		return finish(lane, &answer, request, returned, result);
	atomic_store(&public->record->phase, LANE_BUILDING);
	return -ENOENT;
}

static void free_lane(struct proxy_lane *lane, enum lane_use use)
{
	struct proxy *proxy = lane->owner;
	struct proxies *proxies = proxy->proxies;
	bool last;

	pthread_mutex_lock(&proxies->lock);
	lane->use = use;
	proxy->busy--;
	last = proxy->state == PROXY_DEAD && !proxy->busy;
	pthread_cond_broadcast(&proxies->changed);
	pthread_mutex_unlock(&proxies->lock);
	if (last)
		proxy_free(proxy);
}

/* The slot lets go first: a lane that nobody names is nobody's. */
void lane_give(struct lane *public)
{
	struct proxy_lane *lane = of(public);
	struct lane_record *record = public->record;
	bool dirty = atomic_load(&record->phase) == LANE_SENT;

	if (lane->slot)
		lane->slot->lane = 0;
	lane->slot = NULL;
	let_forget(lane);
	if (public->used > LANE_KEPT)
		madvise(public->area + LANE_KEPT, LANE_AREA - LANE_KEPT, MADV_REMOVE);
	public->used = 0;
	if (!dirty)
		atomic_store_explicit(&record->phase, LANE_FREE, memory_order_release);
	free_lane(lane, dirty ? LANE_DIRTY : LANE_IDLE);
}
