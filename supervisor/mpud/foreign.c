#include "supervisor/mpud/foreign.h"

#include "base/log.h"
#include "base/signals.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

enum { CLOSING_MAX = 64, STACK = 64 << 10 };

static _Atomic int closing;

static void *close_thread(void *argument)
{
	close((int)(intptr_t)argument);
	atomic_fetch_sub(&closing, 1);
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

void foreign_close(int fd)
{
	if (atomic_fetch_add(&closing, 1) < CLOSING_MAX && start_thread(fd) == 0)
		return;
	atomic_fetch_sub(&closing, 1);
	log_error("what came over the socket cannot be closed: its close does not come to an end",
		  "fd=%d stuck=%d", fd, atomic_load(&closing));
}
