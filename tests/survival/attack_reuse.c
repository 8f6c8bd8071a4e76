/* PID reuse: a process that waits for an answer is killed, and another one, which asked nothing,
 * gets its number at once. Whatever is written into that one was meant for the dead. */
#include "tests/survival/attack.h"

#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REUSERS = 4, NUMBER = 30000, HOST_NUMBER = 31000, PATTERN = 0x5a, WATCHED = 2 * PAGE };

struct reuser {
	struct attack *attack;
	pid_t number, host_number;
	/* The same address in both: NVOS54 and params in the one, a pattern in the other. */
	unsigned char *memory;
	unsigned int seed;
};

/* As fork(), with this number here and that one on the host. -1 where one of them is in use. */
static pid_t fork_as(const struct reuser *reuser)
{
	pid_t numbers[2] = {reuser->number, reuser->host_number};
	struct clone_args arguments = {
	    .exit_signal = SIGCHLD, .set_tid = (uintptr_t)numbers, .set_tid_size = 2};

	return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

static _Noreturn void ask_until_killed(const struct reuser *reuser)
{
	const struct attack *attack = reuser->attack;
	struct nvos54_parameters *call = (void *)reuser->memory;
	struct get_pids_params *params = (void *)(reuser->memory + PAGE);

	for (;;) {
		*params = (struct get_pids_params){.id = TURING_COMPUTE_A};
		*call = attack_call(attack, NV2080_CTRL_CMD_GPU_GET_PIDS, params, sizeof(*params));
		attack_ioctl(attack, attack->holder.rm.ctl, RM_CONTROL, call);
	}
}

static _Noreturn void watch_memory(const struct reuser *reuser)
{
	volatile const unsigned char *memory = reuser->memory;

	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < WATCHED; i += 4)
			if (memory[i] != PATTERN) {
				attack_wrong(reuser->attack,
					     "an answer for a dead process is in "
					     "the one that has its number",
					     memory[i]);
				_exit(1);
			}
		usleep(100);
	}
	_exit(0);
}

static void *reuse_forever(void *argument)
{
	struct reuser *reuser = argument;

	for (;;) {
		pid_t child = fork_as(reuser);

		if (child == 0)
			ask_until_killed(reuser);
		usleep(200 + (useconds_t)rand_r(&reuser->seed) % 2000);
		if (child > 0) {
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
		}
		child = fork_as(reuser);
		if (child == 0)
			watch_memory(reuser);
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	return NULL;
}

static void check_permission(struct reuser *reuser)
{
	pid_t child = fork_as(reuser);

	if (child == 0)
		_exit(0);
	if (child < 0)
		attack_die("clone3 with chosen numbers");
	waitpid(child, NULL, 0);
}

void attack_pid_reuse(struct attack *attack)
{
	static struct reuser all[REUSERS];

	for (int i = 0; i < REUSERS; i++) {
		struct reuser *one = &all[i];

		*one = (struct reuser){.attack = attack,
				       .number = NUMBER + i,
				       .host_number = HOST_NUMBER + i,
				       .memory = attack_pages(2),
				       .seed = (unsigned int)i};
		memset(one->memory, PATTERN, WATCHED);
		check_permission(one);
		attack_thread(reuse_forever, one);
	}
}
