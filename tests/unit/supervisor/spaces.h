/* Processes in PID namespaces, for tests. */
#ifndef TESTS_UNIT_SUPERVISOR_SPACES_H
#define TESTS_UNIT_SUPERVISOR_SPACES_H

#include <sys/types.h>

enum { SPACES_DEEP = 3 };

/* A chain of PID namespaces, each inside the one before: process[i] is PID 1 of level i + 1. beside
 * is PID 1 of a sibling of the first. All sleep until spaces_end(). */
struct spaces {
	pid_t process[SPACES_DEEP]; /* numbers in the caller's namespace */
	pid_t beside;
};

/* Makes them. Ends the test where that is not allowed. */
struct spaces spaces_make(void);
void spaces_end(struct spaces *spaces);

#endif
