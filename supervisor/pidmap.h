/* PID translation between the initial namespace ("host") and a container's. A number that does not
 * translate is never passed on. */
#ifndef SUPERVISOR_PIDMAP_H
#define SUPERVISOR_PIDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum pidmap_method {
	PIDMAP_NSFS,  /* ioctls on the namespace (6.11) */
	PIDMAP_NSPID, /* the NStgid line of /proc/PID/status, with proof of membership */
};

/* Whose numbers an answer speaks. */
struct pid_view {
	enum pidmap_method method;
	bool host; /* numbers stay as they are in the initial namespace */
	int ns;	   /* else: the PID namespace, borrowed from the target */
	uint64_t ns_id;
};

/* The process of which PID, a process or thread of the initial namespace, is part. Returns it, or 0
 * when no such task lives. */
pid_t pidmap_process(enum pidmap_method method, pid_t pid);

/* The number in the view of the process of which PID is part. Returns it, or 0 when it is gone or
 * not visible there. */
pid_t pidmap_to_view(const struct pid_view *view, pid_t pid);

/* Translates COUNT numbers of the view to processes of the initial namespace; OUT gets 0 where a
 * number names no process there (a thread's number names none). */
void pidmap_from_view(const struct pid_view *view, const pid_t *in, pid_t *out, size_t count);

/* The namespaces of thread TID from its own upwards, without the initial one: inode numbers into IDS
 * and the number of its process in each into NUMBERS. Returns how many, 0 for a thread of the
 * initial namespace, or -errno. */
int pidmap_namespaces(pid_t tid, uint64_t *ids, pid_t *numbers, size_t size);

#endif
