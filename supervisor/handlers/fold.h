/* From the numbers that a driver gives to processes: threads to their process, each process once. */
#ifndef SUPERVISOR_HANDLERS_FOLD_H
#define SUPERVISOR_HANDLERS_FOLD_H

#include "supervisor/call.h"

#include <stdbool.h>

/* A set of process ids that keeps the order in which they came. Zero to begin with. */
enum { PID_SET_MAX = 4096, PID_SET_SLOTS = 8192 };
struct pid_set {
	uint32_t count;
	pid_t pid[PID_SET_MAX];
	uint16_t slot[PID_SET_SLOTS]; /* index + 1 */
};

/* Adds PID. Returns true when it is new; false also when the set is full. */
bool pid_set_add(struct pid_set *set, pid_t pid);
bool pid_set_has(const struct pid_set *set, pid_t pid);

/* The process for which PROCESS stands at the driver, or PROCESS itself. */
pid_t fold_proxy(const struct call *call, pid_t process);

/* Whether PROCESS is one that stands for another: nobody is to see it. */
bool fold_is_proxy(const struct call *call, pid_t process);

/* The process by which the driver knows TARGET: its proxy, or TARGET itself. */
pid_t fold_at_driver(const struct call *call, pid_t target);

enum { FOLD_MAX = 8 };

/* The live processes of the initial namespace for which NUMBER, given by the driver to a caller in
 * the initial namespace, may stand. Releases that record thread ids (semantics.kind) may give the id
 * of a thread that has ended, which may belong to another task by now: the roster knows whose it was.
 * Stores up to FOLD_MAX in PROCESSES, returns how many; 0 for a number of no process that lives. */
size_t fold_number(const struct call *call, pid_t number, pid_t processes[FOLD_MAX]);

/* The number in the call's view for NUMBER, or 0 when it names nothing that the view shows. Where it
 * may stand for several processes, the first one that the view shows. */
pid_t fold_to_view(const struct call *call, pid_t number);

#endif
