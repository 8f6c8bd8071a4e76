/* Which signals the threads of a library take. */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include <signal.h>

/* Fills SET with what a thread of ours blocks: signals are the business of the program around it.
 * Not those by which the kernel says that the thread itself is at fault: blocked, they kill without
 * the handler that could say which thread it was. */
void signals_of_others(sigset_t *set);

#endif
