#include "supervisor/mpud/foreign.h"

#include "base/log.h"
#include "base/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

enum { CLOSING_MAX = 64, WAITING_MAX = 4096, STACK = 64 << 10 };

/* Nobody holds the lock for long. A worker that is forked meanwhile has nothing to close here. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int closing; /* threads */
static int waiting[WAITING_MAX], waiting_count;

/* Returns -1, and the thread counts no longer, when nothing waits. */
static int next(void)
{
	int fd = -1;

	pthread_mutex_lock(&lock);
	if (waiting_count)
		fd = waiting[--waiting_count];
	else
		closing--;
	pthread_mutex_unlock(&lock);
	return fd;
}

static void *close_thread(void *argument)
{
	int fd = (int)(intptr_t)argument;

	do
		close(fd);
	while ((fd = next()) >= 0);
	return NULL;
}

/* Signals are the business of who called. */
static int start_thread(int fd)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int result;

	signals_of_others(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
#ifndef __SANITIZE_ADDRESS__
	pthread_attr_setstacksize(&attributes, STACK);
#endif
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, &attributes, close_thread, (void *)(intptr_t)fd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return result;
}

/* A thread of its own; where there are enough, the next that is done with another one. */
static bool hand_on(int fd)
{
	if (closing < CLOSING_MAX && start_thread(fd) == 0) {
		closing++;
		return true;
	}
	if (!closing || waiting_count == WAITING_MAX)
		return false;
	waiting[waiting_count++] = fd;
	return true;
}

void foreign_close(int fd)
{
	bool taken;
	int stuck;

	pthread_mutex_lock(&lock);
	taken = hand_on(fd);
	stuck = closing + waiting_count;
	pthread_mutex_unlock(&lock);
	if (!taken)
		log_error("what came over the socket cannot be closed: its close does not come to an "
			  "end",
			  "fd=%d stuck=%d", fd, stuck);
}
