#include "spaces.h"

#include <criterion/criterion.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t clone_into_new(void)
{
	struct clone_args args = {.flags = CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0),
				  .exit_signal = SIGCHLD};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* One level in each process, and all of them stay; the pipe brings word when the innermost is
 * there. */
static _Noreturn void sleep_in_levels(int deep, int ready)
{
	pid_t inner = 0;

	for (; deep > 1 && inner == 0; deep--)
		inner = clone_into_new();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (inner < 0 || (inner == 0 && write(ready, "r", 1) != 1))
		_exit(1);
	for (;;)
		pause();
}

static pid_t start(int deep)
{
	int ready[2];
	char word;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = clone_into_new();
	cr_assert_geq(pid, 0, "PID namespaces cannot be made here: %m");
	if (pid == 0)
		sleep_in_levels(deep, ready[1]);
	close(ready[1]);
	cr_assert_eq(read(ready[0], &word, 1), 1);
	close(ready[0]);
	return pid;
}

static pid_t child_of(pid_t parent)
{
	char path[64];
	int child = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	file = fopen(path, "r");
	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%d", &child), 1);
	fclose(file);
	return child;
}

struct spaces spaces_make(void)
{
	struct spaces spaces = {.process = {start(SPACES_DEEP)}, .beside = start(1)};

	for (int i = 1; i < SPACES_DEEP; i++)
		spaces.process[i] = child_of(spaces.process[i - 1]);
	return spaces;
}

void spaces_end(struct spaces *spaces)
{
	kill(spaces->process[0], SIGKILL);
	kill(spaces->beside, SIGKILL);
	waitpid(spaces->process[0], NULL, 0);
	waitpid(spaces->beside, NULL, 0);
}
