#include "supervisor/loop.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <poll.h>
#include <unistd.h>

#define BOTH_LOOPS(name)                                                                           \
	ParameterizedTestParameters(loop, name)                                                    \
	{                                                                                          \
		static int with_uring[] = {0, 1};                                                  \
                                                                                                   \
		return cr_make_param_array(int, with_uring, 2);                                    \
	}                                                                                          \
	ParameterizedTest(int *with_uring, loop, name)

static struct loop make(int with_uring)
{
	struct loop loop;

	cr_assert_eq(loop_init(&loop, with_uring), 0);
	return loop;
}

static void drain(int fd)
{
	char byte;

	cr_assert_eq(read(fd, &byte, 1), 1);
}

BOTH_LOOPS(tells_again_and_again_which_is_readable)
{
	struct loop loop = make(*with_uring);
	struct loop_event events[4];
	int a[2], b[2];

	cr_assert(pipe(a) == 0 && pipe(b) == 0);
	cr_assert_eq(loop_add(&loop, a[0], 1), 0);
	cr_assert_eq(loop_add(&loop, b[0], 2), 0);
	for (int i = 0; i < 1000; i++) {
		int *one = i % 3 ? a : b;

		cr_assert_eq(write(one[1], "x", 1), 1);
		cr_assert_eq(loop_wait(&loop, events, 4, true), 1);
		cr_assert_eq(events[0].tag, one == a ? 1 : 2);
		cr_assert(events[0].events & POLLIN);
		if (events[0].events & LOOP_ENDED)
			loop_rearm(&loop, one[0], events[0].tag);
		drain(one[0]);
	}
	loop_close(&loop);
}

BOTH_LOOPS(is_quiet_about_what_was_removed)
{
	struct loop loop = make(*with_uring);
	struct loop_event events[4];
	int a[2], b[2];

	cr_assert(pipe(a) == 0 && pipe(b) == 0);
	loop_add(&loop, a[0], 1);
	loop_add(&loop, b[0], 2);
	cr_assert_eq(loop_wait(&loop, events, 4, false), 0);
	loop_remove(&loop, a[0], 1);
	cr_assert_eq(loop_wait(&loop, events, 4, false), 0);
	cr_assert_eq(write(a[1], "x", 1), 1);
	cr_assert_eq(write(b[1], "x", 1), 1);
	cr_assert_eq(loop_wait(&loop, events, 4, true), 1);
	cr_assert_eq(events[0].tag, 2);
	/* Added again, it is readable at once. */
	drain(b[0]);
	loop_add(&loop, a[0], 1);
	cr_assert_eq(loop_wait(&loop, events, 4, true), 1);
	cr_assert_eq(events[0].tag, 1);
	loop_close(&loop);
}

BOTH_LOOPS(tells_of_the_hang_up)
{
	struct loop loop = make(*with_uring);
	struct loop_event event;
	int a[2];

	cr_assert_eq(pipe(a), 0);
	loop_add(&loop, a[0], 7);
	close(a[1]);
	cr_assert_eq(loop_wait(&loop, &event, 1, true), 1);
	cr_assert(event.events & POLLHUP);
	loop_close(&loop);
}

BOTH_LOOPS(holds_hundreds)
{
	enum { MANY = 400 };
	struct loop loop = make(*with_uring);
	struct loop_event events[64];
	int ends[MANY][2], seen = 0;

	for (int i = 0; i < MANY; i++) {
		cr_assert_eq(pipe(ends[i]), 0);
		cr_assert_eq(loop_add(&loop, ends[i][0], (uint64_t)i), 0);
	}
	for (int i = 0; i < MANY; i++)
		cr_assert_eq(write(ends[i][1], "x", 1), 1);
	while (seen < MANY) {
		int count = loop_wait(&loop, events, 64, true);

		cr_assert_geq(count, 0);
		for (int i = 0; i < count; i++)
			drain(ends[events[i].tag][0]);
		seen += count;
	}
	loop_close(&loop);
}
