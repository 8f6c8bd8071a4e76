/* Which container a process is in: one that mpud serves, or any other by its cgroup or its PID
 * namespace. */
#ifndef SUPERVISOR_GPUS_WHOSE_H
#define SUPERVISOR_GPUS_WHOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WHOSE_TEXT = 72, WHOSE_ENGINE = 16 };

/* A container that mpud serves. */
struct known_container {
	char id[WHOSE_TEXT], name[WHOSE_TEXT], pod[WHOSE_TEXT], namespace[WHOSE_TEXT];
	pid_t pid;	  /* its first process, as its runtime has said it */
	uint64_t ns_id;	  /* that process's PID namespace; 0: not its own, or not to be told */
	bool shares_pids; /* it is known that it has no PID namespace of its own */
};

/* Where a process is. Texts are empty where nothing is known. */
struct whose {
	const struct known_container *known; /* mpud serves it; or NULL */
	char engine[WHOSE_ENGINE];	     /* by the cgroup: docker, podman, ... */
	char id[WHOSE_TEXT];		     /* of the container; empty on the host */
	char pod[WHOSE_TEXT];		     /* its uid, as the cgroup has it */
	pid_t inside; /* the process's number there; 0: not to be told, or on the host */
};

/* Finds the container in TEXT, what /proc/PID/cgroup says, into ENGINE, ID and POD of WHOSE.
 * Returns false where it names none. */
bool whose_parse_cgroup(const char *text, struct whose *whose);

/* Fills NS_ID and SHARES_PIDS of CONTAINER by its PID. */
void whose_look_up(struct known_container *container);

/* Puts into CONTAINER what ABOUT says: lines of "name=value" with the names name, pod, namespace.
 */
void whose_read_about(struct known_container *container, const char *about);

/* Where process PID is, a process of the initial namespace; COUNT containers are KNOWN. */
void whose_find(pid_t pid, const struct known_container *known, size_t count, struct whose *whose);

/* The name of process PID, with what is not printable ASCII replaced by '?'; "?" where it is gone.
 */
void whose_process_name(pid_t pid, char name[WHOSE_ENGINE]);

#endif
