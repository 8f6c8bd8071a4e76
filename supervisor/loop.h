/* Waiting for many descriptors: io_uring multishot polls, or epoll where io_uring is forbidden. Used
 * by one thread, the one that called loop_init(). */
#ifndef SUPERVISOR_LOOP_H
#define SUPERVISOR_LOOP_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop {
	bool uring;
	struct io_uring ring;
	int epoll;
};

struct loop_event {
	uint64_t tag;
	uint32_t events; /* POLLIN, POLLHUP, ... and LOOP_ENDED */
};

/* The poll has ended: loop_rearm() it, or loop_remove() the descriptor. */
enum { LOOP_ENDED = 1 << 30 };

/* Makes LOOP. WITH_URING false takes epoll. Returns 0 or -errno. */
int loop_init(struct loop *loop, bool with_uring);
void loop_close(struct loop *loop);

/* Waits for FD to become readable or hang up, again and again, until it is removed. TAG comes back
 * with each event; it is unique and never ~0. An event is a hint: several wake-ups may come as one,
 * and one may come late, after its tag was removed. Returns 0 or -errno. */
int loop_add(struct loop *loop, int fd, uint64_t tag);
void loop_remove(struct loop *loop, int fd, uint64_t tag);

/* Takes up to SIZE events. Waits for the first one, unless WAIT is false. Returns how many, 0 when
 * nothing is there or a signal came, or -errno. */
int loop_wait(struct loop *loop, struct loop_event *events, size_t size, bool wait);

/* Arms the poll of FD again after an event with LOOP_ENDED. Returns 0 or -errno. */
int loop_rearm(struct loop *loop, int fd, uint64_t tag);

#endif
