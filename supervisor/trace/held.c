#include "supervisor/trace/held.h"

#include "base/cleanup.h"
#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* How often those are looked at that are held back, and how long. */
enum { TICK_NS = 20000000, LONGEST_MS = 1000 };

/* One a thread that calls, some hundred bytes to some hundred KiB each: a program that goes to such
 * lengths is told less of. */
enum { HELD_BYTES = 16 << 20 };

static size_t size_of(const struct trace_call *call)
{
	return sizeof(*call) + call->argument.size + call->entered.room;
}

enum activity {
	IN_CALL,   /* the thread waits in this very call */
	BUSY,	   /* it runs, here or there */
	ELSEWHERE, /* it waits in another one */
	GONE,
};

static enum activity activity_of(const struct trace_call *call)
{
	char path[48], text[256];
	cleanup_close int fd = -1;
	uint64_t descriptor, request, argument;
	ssize_t length;
	long number;

	snprintf(path, sizeof(path), "/proc/%d/syscall", call->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return errno == ENOENT || errno == ESRCH ? GONE : BUSY;
	text[length] = '\0';
	if (sscanf(text, "%ld 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64, &number, &descriptor,
		   &request, &argument) != 4)
		return BUSY;
	return number == SYS_ioctl && (int)descriptor == call->fd &&
		       (uint32_t)request == call->request
		   ? IN_CALL
		   : ELSEWHERE;
}

static uint64_t age_ms(const struct trace_call *call)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - call->began_ns) /
	       1000000;
}

/* Sets the call's end where something can be said of it by now. */
static bool has_ended(struct trace_call *call)
{
	enum activity activity = activity_of(call);

	if (activity == ELSEWHERE) {
		trace_call_read_status(call, 0, 0);
		return true;
	}
	if (activity != GONE && age_ms(call) < LONGEST_MS)
		return false;
	call->end = activity == IN_CALL ? TRACE_UNFINISHED : TRACE_UNSEEN;
	return true;
}

/* All of it under the lock, so that no thread's next call can come between. */
static void look(struct held *held)
{
	struct trace_call **link = &held->first;

	while (*link) {
		struct trace_call *call = *link;

		if (!has_ended(call)) {
			link = &call->next;
			continue;
		}
		*link = call->next;
		held->bytes -= size_of(call);
		held->finish(held->context, call);
	}
}

/* All that is left is told as it stands. */
static void let_go(struct held *held)
{
	while (held->first) {
		struct trace_call *call = held->first;

		held->first = call->next;
		held->bytes -= size_of(call);
		if (!has_ended(call))
			call->end = TRACE_UNSEEN;
		held->finish(held->context, call);
	}
}

/* Under the lock, which is not held meanwhile. */
static void wait_a_tick(struct held *held)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TICK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (!held->stopping && pthread_cond_timedwait(&held->wake, &held->lock, &until) == 0)
		;
}

static void *held_thread(void *argument)
{
	struct held *held = argument;

	prctl(PR_SET_NAME, "mpu-trace");
	pthread_mutex_lock(&held->lock);
	while (!held->stopping) {
		if (!held->first) {
			pthread_cond_wait(&held->wake, &held->lock);
			continue;
		}
		wait_a_tick(held);
		look(held);
	}
	let_go(held);
	pthread_mutex_unlock(&held->lock);
	return NULL;
}

void held_begin(struct held *held, void (*finish)(void *context, struct trace_call *call),
		void *context)
{
	*held = (struct held){.finish = finish, .context = context};
	pthread_mutex_init(&held->lock, NULL);
	pthread_cond_init(&held->wake, NULL);
}

static void start(struct held *held)
{
	sigset_t all, before;

	signals_of_others(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	held->stopping = false;
	held->started = !pthread_create(&held->thread, NULL, held_thread, held);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void held_put(struct held *held, struct trace_call *call)
{
	pthread_mutex_lock(&held->lock);
	if (!held->started)
		start(held);
	if (held->bytes + size_of(call) > HELD_BYTES) {
		held->finish(held->context, call);
	} else {
		call->next = held->first;
		held->first = call;
		held->bytes += size_of(call);
		if (!call->next)
			pthread_cond_signal(&held->wake);
	}
	pthread_mutex_unlock(&held->lock);
}

void held_settle(struct held *held, pid_t tid, uint64_t address, uint32_t size)
{
	pthread_mutex_lock(&held->lock);
	for (struct trace_call **link = &held->first; *link; link = &(*link)->next) {
		struct trace_call *call = *link;

		if (call->tid != tid)
			continue;
		*link = call->next;
		held->bytes -= size_of(call);
		trace_call_read_status(call, address, size);
		held->finish(held->context, call);
		break;
	}
	pthread_mutex_unlock(&held->lock);
}

void held_stop(struct held *held)
{
	pthread_mutex_lock(&held->lock);
	held->stopping = true;
	pthread_cond_signal(&held->wake);
	pthread_mutex_unlock(&held->lock);
	if (held->started)
		pthread_join(held->thread, NULL);
	held->started = false;
	pthread_mutex_lock(&held->lock);
	let_go(held);
	pthread_mutex_unlock(&held->lock);
}

void held_end(struct held *held)
{
	held_stop(held);
	pthread_cond_destroy(&held->wake);
	pthread_mutex_destroy(&held->lock);
}
