/* Listeners on which nothing happens lie in one epoll, thousands of them at no cost. So do the ends of
 * confined targets. */
#include "supervisor/engine-private.h"

#include "base/log.h"
#include "base/signals.h"
#include "supervisor/confine/proxies.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { EVENTS = 64, AGAIN_MS = 100 };

/* Says nothing more after one event, until the listener is put here again. */
static bool put(struct engine *engine, struct listener *listener)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = listener};

	return epoll_ctl(engine->idle.epoll, EPOLL_CTL_MOD, listener->fd, &event) == 0 ||
	       (errno == ENOENT &&
		epoll_ctl(engine->idle.epoll, EPOLL_CTL_ADD, listener->fd, &event) == 0);
}

static void put_off(struct engine *engine, struct listener *listener)
{
	struct work *work = &listener->work;

	work->next = atomic_load(&engine->idle.refused);
	while (!atomic_compare_exchange_weak(&engine->idle.refused, &work->next, work))
		;
}

/* There may be memory for it in a moment. */
void idle_put(struct engine *engine, struct listener *listener)
{
	if (put(engine, listener))
		return;
	log_error("cannot wait for a container's calls yet", "container=%s error=\"%s\"",
		  listener->container->label, strerror(errno));
	put_off(engine, listener);
	idle_wake(engine);
}

/* Returns after how long to come again, in milliseconds, or -1. */
static int put_refused(struct engine *engine)
{
	struct work *work = atomic_exchange(&engine->idle.refused, NULL);

	while (work) {
		struct listener *listener = work->listener;

		work = work->next;
		if (!put(engine, listener))
			put_off(engine, listener);
	}
	return atomic_load(&engine->idle.refused) ? AGAIN_MS : -1;
}

/* A listener that has closed says so together with its last notification, or alone. */
static void heed_listener(struct engine *engine, const struct epoll_event *event)
{
	struct listener *listener = event->data.ptr;

	if (atomic_load(&engine->draining))
		return;
	if (event->events & EPOLLIN) {
		listener_reference(listener);
		executors_submit(engine, &listener->work);
	} else if (event->events & EPOLLHUP) {
		epoll_ctl(engine->idle.epoll, EPOLL_CTL_DEL, listener->fd, NULL);
		listener_end(listener);
	} else {
		idle_put(engine, listener);
	}
}

static void heed(struct engine *engine, const struct epoll_event *event)
{
	uint64_t count;

	if (!event->data.ptr)
		(void)!read(engine->idle.wake, &count, sizeof(count));
	else if (event->data.ptr == engine->proxies)
		proxies_heed_ends(engine->proxies);
	else
		heed_listener(engine, event);
}

static void *idle_thread(void *argument)
{
	struct engine *engine = argument;
	struct epoll_event events[EVENTS];

	prctl(PR_SET_NAME, "mpu-idle");
	sandbox_enter_thread(engine->options.sandbox, SANDBOX_ENGINE);
	while (!atomic_load(&engine->stopping)) {
		int ready =
			epoll_wait(engine->idle.epoll, events, EVENTS, put_refused(engine));

		atomic_fetch_add(&engine->idle.turns, 1);
		if (ready < 0 && errno != EINTR) {
			log_error("cannot wait for calls", "error=\"%s\"", strerror(errno));
			usleep(10000);
		}
		for (int i = 0; i < ready; i++)
			heed(engine, &events[i]);
	}
	return NULL;
}

static int add(struct idle *idle, int fd, void *which)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = which};

	return epoll_ctl(idle->epoll, EPOLL_CTL_ADD, fd, &event);
}

int idle_start(struct engine *engine, struct mpu_error *error)
{
	struct idle *idle = &engine->idle;
	sigset_t all, before;
	int result;

	idle->epoll = epoll_create1(EPOLL_CLOEXEC);
	idle->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (idle->epoll < 0 || idle->wake < 0 || add(idle, idle->wake, NULL) ||
	    (engine->proxies && add(idle, proxies_ends(engine->proxies), engine->proxies)))
		return mpu_fail(error, errno, "cannot wait for calls: %s", strerror(errno));
	signals_of_others(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&idle->thread, NULL, idle_thread, engine);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	idle->started = !result;
	return result ? mpu_fail(error, result, "cannot start a thread: %s", strerror(result)) : 0;
}

void idle_wake(struct engine *engine)
{
	uint64_t one = 1;

	(void)!write(engine->idle.wake, &one, sizeof(one));
}

void idle_stop(struct engine *engine)
{
	if (!engine->idle.started)
		return;
	idle_wake(engine);
	pthread_join(engine->idle.thread, NULL);
	engine->idle.started = false;
}

void idle_close(struct engine *engine)
{
	if (engine->idle.epoll >= 0)
		close(engine->idle.epoll);
	if (engine->idle.wake >= 0)
		close(engine->idle.wake);
	engine->idle.epoll = engine->idle.wake = -1;
}
