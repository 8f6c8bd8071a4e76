/* What the engine remembers of the processes it has seen: the numbers of processes that have ended
 * (accounting lists them), and the processes of threads that have ended (drivers that record thread
 * ids list them). Fixed in size and without pointers, so that it can lie in shared memory and
 * outlive a worker. All functions may be called from any thread. */
#ifndef SUPERVISOR_ROSTER_H
#define SUPERVISOR_ROSTER_H

#include "supervisor/pidmap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct roster;

/* Makes an empty roster in MEMORY, which is zero, aligned to a page and of SIZE bytes. It is the
 * same roster in every process that shares the memory, at whatever address, and ends with it.
 * Returns it, or NULL when SIZE is too small. */
struct roster *roster_make(void *memory, size_t size);

/* Makes an empty roster in memory of its own. Returns it, or NULL with errno. */
struct roster *roster_new(void);

/* To be called in the process that uses ROSTER from now on, by the last one's leave or after its end:
 * what that left must be sound, or is forgotten. */
void roster_begin(struct roster *roster);
void roster_free(struct roster *roster);

/* A caller's own note of threads it has reported lately, so that a thread costs a look at /proc only
 * every ROSTER_FRESH_MS at first, and less often the longer it is known. One an executor; zero to
 * begin with. */
enum { ROSTER_RECENT = 256, ROSTER_FRESH_MS = 50, ROSTER_STALE_MS = 800 };
struct roster_recent {
	struct {
		pid_t tid;
		uint32_t interval_ms;
		uint64_t until_ms;
	} entry[ROSTER_RECENT];
};

/* Whether TID is due for roster_note() at NOW_MS (any steady clock), and marks it as done. Costs a
 * few instructions. */
static inline bool roster_due(struct roster_recent *recent, pid_t tid, uint64_t now_ms)
{
	__typeof__(recent->entry[0]) *entry = &recent->entry[(unsigned int)tid % ROSTER_RECENT];

	if (entry->tid == tid && now_ms < entry->until_ms)
		return false;
	if (entry->tid != tid || now_ms > entry->until_ms + ROSTER_STALE_MS)
		entry->interval_ms = ROSTER_FRESH_MS;
	else if (entry->interval_ms < ROSTER_STALE_MS)
		entry->interval_ms *= 2;
	entry->tid = tid;
	entry->until_ms = now_ms + entry->interval_ms;
	return true;
}

/* Remembers thread TID, which must be alive (it waits in a notification), and its process in every
 * namespace but the initial one. WITH_THREAD: its thread id too. */
void roster_note(struct roster *roster, pid_t tid, bool with_thread);

/* Remembers PROXY, which stands for the process of thread TID at the driver, under that process's
 * numbers. Both must be alive. */
void roster_note_proxy(struct roster *roster, pid_t tid, pid_t proxy);

/* The number of process HOST in the namespace NS_ID as it was remembered, when that process lived at
 * AT_US (microseconds since 1970). BORN_TICKS is the start of the namespace's first process
 * (task_start_ticks()): inode numbers of namespaces are used again, and what began before belongs to
 * another one. Returns it or 0. */
pid_t roster_number_of(struct roster *roster, uint64_t ns_id, uint64_t born_ticks, pid_t host,
		       uint64_t at_us);

/* Whether any process HOST of that namespace is remembered. */
bool roster_knows(struct roster *roster, uint64_t ns_id, uint64_t born_ticks, pid_t host);

/* The ids in the initial namespace of the remembered processes that were NUMBER in NS_ID, the latest
 * first. Stores up to SIZE of them, returns how many. */
size_t roster_hosts_of(struct roster *roster, uint64_t ns_id, uint64_t born_ticks, pid_t number,
		       pid_t *hosts, size_t size);

/* The live processes whose thread TID once was. Stores up to SIZE of them, returns how many. */
size_t roster_processes_of_thread(struct roster *roster, pid_t tid, pid_t *processes, size_t size);

/* The remembered thread ids of process TGID. Stores up to SIZE of them, returns how many. */
size_t roster_threads_of(struct roster *roster, pid_t tgid, pid_t *threads, size_t size);

#endif
