/* Ownership by scope: a resource belongs to the local that is marked with its cleanup attribute,
 * and moves on by steal_fd() or steal_ptr(). */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free_ptr(void *ptr)
{
	free(*(void **)ptr);
}

static inline void cleanup_close_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void cleanup_close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* An int that holds a file descriptor or -1; closed at the end of the scope. */
#define cleanup_close __attribute__((cleanup(cleanup_close_fd)))
/* A pointer from malloc() or NULL; freed at the end of the scope. */
#define cleanup_free __attribute__((cleanup(cleanup_free_ptr)))
/* A FILE * or NULL. */
#define cleanup_file __attribute__((cleanup(cleanup_close_file)))
/* A DIR * or NULL. */
#define cleanup_dir __attribute__((cleanup(cleanup_close_dir)))

/* Takes a file descriptor out of its owner, which is left with -1. */
static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Takes a pointer out of its owner, which is left with NULL. */
#define steal_ptr(owner)                                                                           \
	({                                                                                         \
		__typeof__(owner) taken_ = (owner);                                                \
		(owner) = NULL;                                                                    \
		taken_;                                                                            \
	})

#endif
