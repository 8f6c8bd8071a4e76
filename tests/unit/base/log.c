/* The log: what others can cause without end does not fill it. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, LINES = 500, PER_SECOND = 10 };

/* A file in which the log's lines arrive. */
static int catch_lines(void)
{
	FILE *file = tmpfile();
	int fd = dup(fileno(file));

	dup2(fd, STDERR_FILENO);
	fclose(file);
	return fd;
}

static void read_lines(int fd, char *text, size_t size)
{
	ssize_t length = pread(fd, text, size - 1, 0);

	text[length > 0 ? length : 0] = '\0';
}

static unsigned int count_of(const char *text, const char *what)
{
	unsigned int count = 0;

	while ((text = strstr(text, what))) {
		count++;
		text++;
	}
	return count;
}

static __attribute__((noinline)) void write_often(unsigned int times)
{
	for (unsigned int i = 0; i < times; i++)
		log_warning("often", "i=%u", i);
}

/* In the middle of a second, so that few lines fall into one and not into two. */
static void await_fresh_second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	usleep((useconds_t)(1050000 - now.tv_nsec / 1000));
}

Test(log, one_place_writes_ten_lines_a_second_and_tells_of_the_others)
{
	static char text[1 << 16];
	int fd = catch_lines();

	await_fresh_second();
	write_often(100);
	log_warning("another place", "%s", "only=once");
	read_lines(fd, text, sizeof(text));
	cr_assert_eq(count_of(text, "msg=\"often\""), PER_SECOND);
	cr_assert_eq(count_of(text, "only=once"), 1);
	await_fresh_second();
	write_often(1);
	read_lines(fd, text, sizeof(text));
	cr_assert_eq(count_of(text, "msg=\"often\""), PER_SECOND + 1);
	cr_assert_eq(count_of(text, "left out\" count=90\n"), 1, "%s", text);
}

Test(log, what_nobody_can_cause_is_all_written)
{
	static char text[1 << 16];
	int fd = catch_lines();

	log_set_level(LOG_LEVEL_INFO);
	for (int i = 0; i < 100; i++)
		log_info("event", "i=%d", i);
	read_lines(fd, text, sizeof(text));
	cr_assert_eq(count_of(text, "msg=\"event\""), 100);
}

static void *write_many(void *argument)
{
	(void)argument;
	write_often(LINES);
	return NULL;
}

Test(log, many_threads_lose_no_count)
{
	static char text[1 << 16];
	int fd = catch_lines();
	pthread_t thread[THREADS];
	unsigned int dropped;
	const char *told;

	await_fresh_second();
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, write_many, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	await_fresh_second();
	write_often(1);
	read_lines(fd, text, sizeof(text));
	cr_assert_eq(count_of(text, "msg=\"often\""), PER_SECOND + 1);
	told = strstr(text, "count=");
	cr_assert(told && sscanf(told, "count=%u", &dropped) == 1);
	cr_assert_eq(dropped, THREADS * LINES - PER_SECOND);
}
