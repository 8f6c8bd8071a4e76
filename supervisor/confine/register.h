/* The journal's table of proxies: who stands for whom. */
#ifndef SUPERVISOR_CONFINE_REGISTER_H
#define SUPERVISOR_CONFINE_REGISTER_H

#include "supervisor/journal.h"
#include "supervisor/target.h"

/* Whether PROCESS is there still. */
bool register_is_there(const struct journal_process *process);

/* Finds a place for another proxy: one that is free, or that of the longest ended. IS_TAKEN says
 * for an index that it is in use, whatever stands there. Returns its index, or JOURNAL_PROXIES when
 * all are of live ones. One thread at a time; so with the next two. */
uint32_t register_place(struct journal *journal, bool (*is_taken)(void *context, uint32_t index),
			void *context);

/* ENTRY's values but state and turn come to stand at INDEX, live. */
void register_enter(struct journal *journal, uint32_t index, const struct journal_proxy *entry);

/* The proxy at INDEX has ended. */
void register_leave(struct journal *journal, uint32_t index, enum journal_proxy_state state);

#endif
