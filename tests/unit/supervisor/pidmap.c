#include "supervisor/pidmap.h"

#include "spaces.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/target.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pid_view view_of(pid_t pid, enum pidmap_method method)
{
	struct pid_view view = {.method = method, .ns = nsfs_open_pid(pid)};

	cr_assert_geq(view.ns, 0);
	view.ns_id = nsfs_id(view.ns);
	return view;
}

ParameterizedTestParameters(pidmap, each_level_sees_itself_and_what_is_deeper)
{
	static enum pidmap_method methods[] = {PIDMAP_NSFS, PIDMAP_NSPID};

	return cr_make_param_array(enum pidmap_method, methods, 2);
}

ParameterizedTest(enum pidmap_method *method, pidmap, each_level_sees_itself_and_what_is_deeper)
{
	struct spaces spaces = spaces_make();

	for (int viewer = 0; viewer < SPACES_DEEP; viewer++) {
		struct pid_view view = view_of(spaces.process[viewer], *method);

		for (int seen = 0; seen < SPACES_DEEP; seen++) {
			pid_t number = pidmap_to_view(&view, spaces.process[seen]);
			pid_t back = 0;

			/* Each is PID 1 at home and PID 2 or so a level higher. */
			if (seen < viewer)
				cr_assert_eq(number, 0, "level %d sees level %d", viewer, seen);
			else if (seen == viewer)
				cr_assert_eq(number, 1);
			else
				cr_assert_gt(number, 1, "level %d, level %d", viewer, seen);
			if (!number)
				continue;
			pidmap_from_view(&view, &number, &back, 1);
			cr_assert_eq(back, spaces.process[seen]);
		}
		cr_assert_eq(pidmap_to_view(&view, spaces.beside), 0, "a sibling is seen");
		cr_assert_eq(pidmap_to_view(&view, getpid()), 0, "the outside is seen");
		close(view.ns);
	}
	spaces_end(&spaces);
}

ParameterizedTestParameters(pidmap, what_names_nobody_stays_untranslated)
{
	static enum pidmap_method methods[] = {PIDMAP_NSFS, PIDMAP_NSPID};

	return cr_make_param_array(enum pidmap_method, methods, 2);
}

ParameterizedTest(enum pidmap_method *method, pidmap, what_names_nobody_stays_untranslated)
{
	static const pid_t nobody[] = {0, -1, -7, 0x7fffffff, 0x400000, 31000};
	enum { COUNT = sizeof(nobody) / sizeof(nobody[0]) };
	struct spaces spaces = spaces_make();
	struct pid_view view = view_of(spaces.process[0], *method);
	const struct pid_view host = {.method = *method, .host = true};
	pid_t out[COUNT];

	pidmap_from_view(&view, nobody, out, COUNT);
	for (int i = 0; i < COUNT; i++)
		cr_assert_eq(out[i], 0, "%d became %d", nobody[i], out[i]);
	pidmap_from_view(&host, nobody, out, 5);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(out[i], 0);
		cr_assert_eq(pidmap_to_view(&host, nobody[i]), 0);
		cr_assert_eq(pidmap_to_view(&view, nobody[i]), 0);
	}
	close(view.ns);
	spaces_end(&spaces);
}

static pthread_barrier_t started, done;

static void *other_thread(void *tid)
{
	*(pid_t *)tid = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&started);
	pthread_barrier_wait(&done);
	return NULL;
}

Test(pidmap, a_thread_folds_to_its_process_and_names_none)
{
	static const enum pidmap_method methods[] = {PIDMAP_NSFS, PIDMAP_NSPID};
	pthread_t thread;
	pid_t tid, out;

	pthread_barrier_init(&started, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	cr_assert_eq(pthread_create(&thread, NULL, other_thread, &tid), 0);
	pthread_barrier_wait(&started);
	for (int i = 0; i < 2; i++) {
		const struct pid_view view = {.method = methods[i], .host = true};

		cr_assert_eq(pidmap_process(methods[i], tid), getpid());
		cr_assert_eq(pidmap_to_view(&view, tid), getpid());
		pidmap_from_view(&view, &tid, &out, 1);
		cr_assert_eq(out, 0, "a thread's number named process %d", out);
	}
	pthread_barrier_wait(&done);
	pthread_join(thread, NULL);
}

Test(pidmap, dead_processes_are_gone_by_both_methods)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	cr_assert_eq(pidmap_process(PIDMAP_NSFS, child), 0);
	cr_assert_eq(pidmap_process(PIDMAP_NSPID, child), 0);
}

Test(pidmap, namespaces_are_listed_from_the_inside_out_without_the_initial_one)
{
	struct spaces spaces = spaces_make();
	uint64_t ids[8];
	pid_t numbers[8];
	int count = pidmap_namespaces(spaces.process[2], ids, numbers, 8);

	cr_assert_eq(count, 3);
	cr_assert_eq(numbers[0], 1);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ids[i], nsfs_id_of(spaces.process[2 - i], "pid"));
	cr_assert_eq(pidmap_namespaces(getpid(), ids, numbers, 8), 0);
	spaces_end(&spaces);
}

Test(target, identity_is_what_the_kernel_says)
{
	cleanup_target struct target target = TARGET_NONE;

	cr_assert_eq(target_identify(getpid(), &target), 0);
	cr_assert_eq(target.tgid, getpid());
	cr_assert_eq(target.euid, geteuid());
	cr_assert_eq(target.egid, getegid());
	cr_assert_eq(target.pid_ns_id, nsfs_id_of(getpid(), "pid"));
	cr_assert_eq(target_identify(0x3fffff, &target), -ESRCH);
}
