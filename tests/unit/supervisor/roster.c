#include "supervisor/roster.h"

#include "spaces.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/target.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

Test(roster, remembers_numbers_of_the_dead_in_their_own_namespaces_only)
{
	struct roster *roster = roster_new();
	struct spaces spaces = spaces_make();
	uint64_t own = nsfs_id_of(spaces.process[0], "pid");
	uint64_t beside = nsfs_id_of(spaces.beside, "pid");
	uint64_t born = task_start_ticks(spaces.process[0]);
	uint64_t now = task_clock_us();
	pid_t dead = spaces.process[1], hosts[4];

	cr_assert_not_null(roster);
	roster_note(roster, dead, false);
	spaces_end(&spaces);
	cr_assert_gt(roster_number_of(roster, own, born, dead, now), 1);
	cr_assert(roster_knows(roster, own, born, dead));
	cr_assert_eq(roster_number_of(roster, beside, born, dead, now), 0);
	cr_assert_eq(roster_hosts_of(roster, own, born,
				     roster_number_of(roster, own, born, dead, now), hosts, 4),
		     1);
	cr_assert_eq(hosts[0], dead);
	roster_free(roster);
}

Test(roster, a_record_of_another_time_is_somebody_else_s)
{
	struct roster *roster = roster_new();
	struct spaces spaces = spaces_make();
	uint64_t own = nsfs_id_of(spaces.process[0], "pid");
	uint64_t born = task_start_ticks(spaces.process[0]);
	uint64_t now = task_clock_us();
	pid_t process = spaces.process[0];

	roster_note(roster, process, false);
	cr_assert_eq(roster_number_of(roster, own, born, process, now), 1);
	cr_assert_eq(roster_number_of(roster, own, born, process, now - 100000000), 0);
	cr_assert_eq(roster_number_of(roster, own, born, process, now + 100000000), 0);
	spaces_end(&spaces);
	roster_free(roster);
}

/* Inode numbers of namespaces are used again: what began before the namespace did is not its own. */
Test(roster, a_later_namespace_of_the_same_number_inherits_nothing)
{
	struct roster *roster = roster_new();
	struct spaces spaces = spaces_make();
	uint64_t own = nsfs_id_of(spaces.process[0], "pid");
	uint64_t later = task_start_ticks(spaces.process[0]) + 1;
	pid_t hosts[4], process = spaces.process[0];

	roster_note(roster, process, false);
	cr_assert_eq(roster_number_of(roster, own, later, process, task_clock_us()), 0);
	cr_assert_not(roster_knows(roster, own, later, process));
	cr_assert_eq(roster_hosts_of(roster, own, later, 1, hosts, 4), 0);
	spaces_end(&spaces);
	roster_free(roster);
}

static void *note_itself(void *roster)
{
	pid_t *tid = malloc(sizeof(*tid));

	*tid = (pid_t)syscall(SYS_gettid);
	roster_note(roster, *tid, true);
	return tid;
}

Test(roster, knows_whose_an_ended_thread_was)
{
	struct roster *roster = roster_new();
	pthread_t thread;
	pid_t *tid, found[4];

	cr_assert_eq(pthread_create(&thread, NULL, note_itself, roster), 0);
	pthread_join(thread, (void **)&tid);
	cr_assert_eq(roster_processes_of_thread(roster, *tid, found, 4), 1);
	cr_assert_eq(found[0], getpid());
	cr_assert_eq(roster_threads_of(roster, getpid(), found, 4), 1);
	cr_assert_eq(found[0], *tid);
	cr_assert_eq(roster_processes_of_thread(roster, *tid + 1, found, 4), 0);
	free(tid);
	roster_free(roster);
}

Test(roster, a_thread_is_due_again_when_its_note_is_old)
{
	static struct roster_recent recent;

	cr_assert(roster_due(&recent, 77, 1000));
	cr_assert_not(roster_due(&recent, 77, 1000 + ROSTER_FRESH_MS - 1));
	cr_assert(roster_due(&recent, 77, 1000 + ROSTER_FRESH_MS));
	cr_assert(roster_due(&recent, 77 + ROSTER_RECENT, 1000)); /* the same slot */
	cr_assert(roster_due(&recent, 77, 1000));
}

/* The oldest make room, and what is left can be found. */
Test(roster, keeps_the_latest_threads_when_it_is_full)
{
	enum { MANY = 9000, LATEST = 8000 };
	static pid_t tids[MANY];
	struct roster *roster = roster_new();
	pid_t found[4];

	for (int i = 0; i < MANY; i++) {
		pthread_t thread;
		pid_t *tid;

		cr_assert_eq(pthread_create(&thread, NULL, note_itself, roster), 0);
		pthread_join(thread, (void **)&tid);
		tids[i] = *tid;
		free(tid);
	}
	for (int i = MANY - LATEST; i < MANY; i++)
		cr_assert_eq(roster_processes_of_thread(roster, tids[i], found, 4), 1, "%d", i);
	roster_free(roster);
}

enum { MANY = 9000 };

/* Processes that come and go in the namespace of LIKE, each noted. */
static void note_many(struct roster *roster, pid_t like)
{
	char path[40];
	int ns;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", like);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(setns(ns, CLONE_NEWPID), 0);
	close(ns);
	for (int i = 0; i < MANY; i++) {
		pid_t child = fork();

		if (child == 0) {
			pause();
			_exit(0);
		}
		roster_note(roster, child, true);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
}

Test(roster, a_container_of_many_processes_pushes_out_its_own, .timeout = 120)
{
	struct roster *roster = roster_new();
	struct spaces spaces = spaces_make();
	uint64_t own = nsfs_id_of(spaces.process[0], "pid");
	uint64_t born = task_start_ticks(spaces.process[0]);
	pid_t process = spaces.process[0], threads[4];

	roster_note(roster, process, true);
	note_many(roster, spaces.beside);
	cr_assert(roster_knows(roster, own, born, process));
	cr_assert_eq(roster_threads_of(roster, process, threads, 4), 1);
	spaces_end(&spaces);
	roster_free(roster);
}
