/* Lines on their way to somebody who may be slow. */
#include "supervisor/mpud/lines.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lines lines;

static void put(const char *text)
{
	lines_put(&lines, '=', text, strlen(text), false);
}

static void expect_taken(const char *wanted)
{
	char *bytes = NULL;
	size_t length = lines_take(&lines, &bytes);

	cr_expect_eq(length, strlen(wanted));
	cr_expect_eq(memcmp(bytes ? bytes : "", wanted, length), 0, "%.*s", (int)length, bytes);
	free(bytes);
}

Test(lines, come_out_in_order_each_with_its_mark)
{
	cr_assert_eq(lines_begin(&lines, 100), 0);
	expect_taken("");
	put("one\n");
	put("two\nthree\n");
	lines_put(&lines, '!', "{}\n", 3, false);
	expect_taken("=one\n=two\n=three\n!{}\n");
	expect_taken("");
	put("four\n");
	expect_taken("=four\n");
	lines_end(&lines);
}

Test(lines, what_has_no_room_is_counted_where_it_is_missing)
{
	cr_assert_eq(lines_begin(&lines, 10), 0);
	cr_expect(lines_have_room(&lines));
	put("12345678\n");
	cr_expect(lines_have_room(&lines));
	put("a\nb\n");
	cr_expect_not(lines_have_room(&lines));
	lines_drop(&lines);
	expect_taken("=12345678\n!{\"dropped\":3}\n");
	cr_expect(lines_have_room(&lines));
	put("c\n");
	expect_taken("=c\n");
	lines_end(&lines);
}

Test(lines, none_comes_behind_a_gap_before_the_gap_is_told)
{
	cr_assert_eq(lines_begin(&lines, 10), 0);
	put("12345\n");
	put("123456789\n");
	put("1\n");
	expect_taken("=12345\n!{\"dropped\":2}\n");
	lines_end(&lines);
}

Test(lines, what_is_kept_finds_room_behind_the_gap)
{
	cr_assert_eq(lines_begin(&lines, 4), 0);
	put("1\n");
	put("two\n");
	lines_put(&lines, '=', "a table\nof two lines\n", 21, true);
	lines_put(&lines, '!', "{}\n", 3, true);
	expect_taken("=1\n!{\"dropped\":1}\n=a table\n=of two lines\n!{}\n");
	lines_end(&lines);
}

/* ---- From several threads at once ---- */

enum { THREADS = 4, EACH = 50000 };

static _Atomic unsigned int running;

static void *write_lines(void *argument)
{
	char text[32];

	for (int i = 0; i < EACH; i++) {
		snprintf(text, sizeof(text), "%d %d\n", *(int *)argument, i);
		if (lines_have_room(&lines))
			put(text);
		else
			lines_drop(&lines);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* Counts the lines and what is missing; each writer's stand in their order. */
static void look_at(char *bytes, size_t length, int last[THREADS], unsigned long *seen)
{
	for (char *line = bytes, *end; (end = memchr(line, '\n', length)); line = end + 1) {
		unsigned long missing;
		int thread, number;

		length -= (size_t)(end - line) + 1;
		*end = '\0';
		if (sscanf(line, "!{\"dropped\":%lu}", &missing) == 1) {
			*seen += missing;
			continue;
		}
		cr_assert_eq(sscanf(line, "=%d %d", &thread, &number), 2, "%s", line);
		cr_assert_gt(number, last[thread]);
		last[thread] = number;
		++*seen;
	}
}

Test(lines, of_many_writers_are_all_there_or_counted)
{
	pthread_t thread[THREADS];
	int number[THREADS], last[THREADS];
	unsigned long seen = 0;
	bool goes_on = true;

	cr_assert_eq(lines_begin(&lines, 4096), 0);
	running = THREADS;
	for (int i = 0; i < THREADS; i++) {
		number[i] = i;
		last[i] = -1;
		pthread_create(&thread[i], NULL, write_lines, &number[i]);
	}
	while (goes_on) {
		char *bytes = NULL;
		size_t length;

		goes_on = atomic_load(&running);
		length = lines_take(&lines, &bytes);
		if (length)
			look_at(bytes, length, last, &seen);
		free(bytes);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	cr_expect_eq(seen, (unsigned long)THREADS * EACH);
	lines_end(&lines);
}
