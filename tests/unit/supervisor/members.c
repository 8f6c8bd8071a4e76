#include "supervisor/members.h"

#include "spaces.h"
#include "supervisor/kernel/nsfs.h"

#include <criterion/criterion.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const enum pidmap_method methods[] = {PIDMAP_NSFS, PIDMAP_NSPID};
enum { METHODS = 2 };

static struct pid_view view_of(pid_t pid, enum pidmap_method method)
{
	struct pid_view view = {.method = method, .ns = nsfs_open_pid(pid)};

	cr_assert_geq(view.ns, 0);
	view.ns_id = nsfs_id(view.ns);
	return view;
}

/* A process that waits for its end; with SPACE in a PID namespace of its own, with WANTED as that very
 * process id, of the initial namespace. */
static pid_t make(bool space, pid_t wanted)
{
	pid_t ids[] = {1, wanted};
	struct clone_args args = {.flags = space ? CLONE_NEWPID : 0,
				  .exit_signal = SIGCHLD,
				  .set_tid = wanted ? (uintptr_t)&ids[space ? 0 : 1] : 0,
				  .set_tid_size = wanted ? (space ? 2 : 1) : 0};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	cr_assert_gt(pid, 0, "no process %d", wanted);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

struct sought {
	const struct pid_view *view;
	pid_t host, number;
	unsigned int times;
};

static void compare(void *context, pid_t host, pid_t number)
{
	struct sought *sought = context;

	if (host != sought->host || pidmap_to_view(sought->view, host) != number)
		return;
	sought->number = number;
	sought->times++;
}

static struct sought seek(const struct pid_view *view, pid_t host)
{
	struct sought sought = {.view = view, .host = host};

	members_each(view, compare, &sought);
	return sought;
}

static struct pid_view everything(enum pidmap_method method)
{
	return (struct pid_view){.method = method, .host = true};
}

Test(members, who_comes_is_there_at_the_next_look_and_who_ended_is_not)
{
	for (int i = 0; i < METHODS; i++) {
		const struct pid_view view = everything(methods[i]);

		for (int turn = 0; turn < 200; turn++) {
			pid_t pid = make(false, 0);
			struct sought sought = seek(&view, pid);

			cr_assert_eq(sought.times, 1, "turn %d: seen %u times", turn, sought.times);
			cr_assert_eq(sought.number, pid);
			end(pid);
			cr_assert_eq(seek(&view, pid).times, 0, "turn %d: who ended is seen", turn);
		}
	}
}

Test(members, each_view_has_its_own)
{
	struct spaces spaces = spaces_make();

	for (int i = 0; i < METHODS; i++)
		for (int viewer = 0; viewer < SPACES_DEEP; viewer++) {
			struct pid_view view = view_of(spaces.process[viewer], methods[i]);

			for (int turn = 0; turn < 2; turn++) {
				for (int seen = 0; seen < SPACES_DEEP; seen++)
					cr_assert_eq(seek(&view, spaces.process[seen]).times,
						     seen >= viewer);
				cr_assert_eq(seek(&view, spaces.beside).times, 0);
				cr_assert_eq(seek(&view, getpid()).times, 0);
			}
			close(view.ns);
		}
	spaces_end(&spaces);
}

/* A process id that is given out again, by the will of who may, without the circle of ids moving on: it
 * is another namespace's now. */
Test(members, a_process_id_given_out_again_is_not_taken_for_its_former_process)
{
	for (int i = 0; i < METHODS; i++) {
		pid_t first = make(true, 0), number = 1, host, again;
		struct pid_view view = view_of(first, methods[i]);
		struct pid_view all = everything(methods[i]);

		cr_assert_eq(pidmap_to_view(&view, first), 1);
		cr_assert_eq(seek(&view, first).times, 1);
		pidmap_from_view(&view, &number, &host, 1);
		cr_assert_eq(host, first);
		end(first);

		again = make(false, first);
		cr_assert_eq(again, first);
		cr_assert_eq(pidmap_process(methods[i], again), again);
		cr_assert_eq(pidmap_to_view(&view, again), 0, "another's process is shown");
		cr_assert_eq(seek(&view, again).times, 0);
		pidmap_from_view(&view, &number, &host, 1);
		cr_assert_eq(host, 0, "number 1 still names %d", host);
		end(again);

		again = make(true, first);
		cr_assert_eq(pidmap_to_view(&view, again), 0, "a sibling's process is shown");
		cr_assert_eq(pidmap_to_view(&all, again), again);
		close(view.ns);
		view = view_of(again, methods[i]);
		cr_assert_eq(pidmap_to_view(&view, again), 1);
		cr_assert_eq(seek(&view, again).times, 1);
		close(view.ns);
		end(again);
	}
}

Test(members, more_new_ids_than_are_looked_at_one_by_one_lose_nobody)
{
	const struct pid_view view = everything(PIDMAP_NSFS);
	pid_t pid;

	seek(&view, 1);
	pid = make(false, 0);
	for (int i = 0; i < 4200; i++) {
		pid_t short_lived = vfork();

		if (short_lived == 0)
			_exit(0);
		waitpid(short_lived, NULL, 0);
	}
	cr_assert_eq(seek(&view, pid).times, 1);
	end(pid);
}
