/* Calls without end, and calls that change while they are looked at. */
#include "tests/survival/attack.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FLOODERS = 48, CHANGERS = 4 };

static void *ask_forever(void *argument)
{
	const struct attack *attack = argument;

	for (;;)
		attack_ask_pids(attack, attack->holder.rm.ctl);
	return NULL;
}

static void *pass_forever(void *argument)
{
	const struct attack *attack = argument;

	for (;;)
		attack_pass(attack);
	return NULL;
}

void attack_flood(struct attack *attack)
{
	for (int i = 0; i < FLOODERS; i++)
		attack_thread(ask_forever, attack);
}

void attack_flood_passed(struct attack *attack)
{
	for (int i = 0; i < FLOODERS; i++)
		attack_thread(pass_forever, attack);
}

/* ---- Every field of a call, changed by another thread ---- */

struct pid_info_params {
	uint32_t count, pad;
	struct pid_info entry[NV2080_CTRL_GPU_GET_PID_INFO_MAX_COUNT];
};

struct changing {
	struct attack *attack;
	struct nvos54_parameters call, good;
	struct pid_info_params params, other;
};

/* Only fields that leave the call one of mpu's: what passes is no boundary. */
static void *change_forever(void *argument)
{
	struct changing *changing = argument;
	volatile struct nvos54_parameters *call = &changing->call;
	volatile struct pid_info *entry = changing->params.entry;
	const struct nvos54_parameters good = changing->good;

	for (uint32_t turn = 1;; turn++) {
		call->params = turn % 3 ? good.params : turn % 2 ? (uintptr_t)&changing->other : 16;
		call->paramsSize = turn % 5 ? good.paramsSize : turn % 2 ? 0x7fffffff : 4;
		call->hObject = turn % 7 ? good.hObject : turn;
		call->hClient = turn % 11 ? good.hClient : turn;
		changing->params.count = turn % 4 ? 2 : turn % 8 ? UINT32_MAX : 0;
		/* PIDs of the host: the other containers' are among them. */
		entry[0].pid = entry[1].pid =
		    turn & 1 ? changing->attack->holder_pid : turn % 32768;
	}
	return NULL;
}

/* Whatever changed in between: memory that an answer tells of is our own. */
static void *call_while_changing(void *argument)
{
	struct changing *changing = argument;
	const struct attack *attack = changing->attack;
	const uint64_t own = (uint64_t)ATTACK_MIB << 20;

	for (;;) {
		int result =
		    attack_ioctl(attack, attack->holder.rm.ctl, RM_CONTROL, &changing->call);

		if (result && result != -EFAULT && result != -EAGAIN && result != -EINTR &&
		    result != -EINVAL)
			attack_wrong(attack, "changing: ioctl", result);
		for (int i = 0; i < 2; i++)
			if (changing->params.entry[i].memPrivate &&
			    changing->params.entry[i].memPrivate != own)
				attack_wrong(attack, "changing: learned another's memory",
					     (long long)changing->params.entry[i].memPrivate);
	}
	return NULL;
}

void attack_changing_params(struct attack *attack)
{
	static struct changing all[CHANGERS];

	for (int i = 0; i < CHANGERS; i++) {
		struct changing *one = &all[i];

		one->attack = attack;
		one->good = attack_call(attack, NV2080_CTRL_CMD_GPU_GET_PID_INFO, &one->params,
					sizeof(one->params));
		one->call = one->good;
		attack_thread(change_forever, one);
		attack_thread(call_while_changing, one);
	}
}

/* ---- Descriptors ---- */

static int swapped = 300;

static void *swap_forever(void *argument)
{
	const struct attack *attack = argument;
	const int fds[] = {attack->holder.rm.ctl, open("/dev/null", O_RDWR | O_CLOEXEC),
			   attack->holder.gpu.fd};

	for (unsigned int i = 0;; i++)
		if (i % 4 == 3)
			close(swapped);
		else
			dup3(fds[i % 4], swapped, O_CLOEXEC);
	return NULL;
}

/* Any file may be meant, but nothing hangs, and an answer is the driver's. */
static void *ask_by_swapped(void *argument)
{
	const struct attack *attack = argument;

	for (;;) {
		struct get_pids_params params = {.id = TURING_COMPUTE_A};
		struct nvos54_parameters call =
		    attack_call(attack, NV2080_CTRL_CMD_GPU_GET_PIDS, &params, sizeof(params));
		int result = attack_ioctl(attack, swapped, RM_CONTROL, &call);

		if (result && result != -EBADF && result != -ENOTTY && result != -EINVAL &&
		    result != -EAGAIN && result != -EINTR)
			attack_wrong(attack, "changing fds: ioctl", result);
	}
	return NULL;
}

void attack_changing_fds(struct attack *attack)
{
	attack_thread(swap_forever, attack);
	for (int i = 0; i < CHANGERS; i++)
		attack_thread(ask_by_swapped, attack);
}

/* The number is another file in each thread's own table, and /dev/null in the leader's. */
static void *ask_by_own_table(void *argument)
{
	const struct attack *attack = argument;

	if (unshare(CLONE_FILES))
		attack_die("unshare");
	for (;;) {
		if (dup2(attack->holder.rm.ctl, swapped) != swapped)
			attack_die("dup2");
		attack_ask_pids(attack, swapped);
		usleep(1000);
	}
	return NULL;
}

void attack_own_fd_tables(struct attack *attack)
{
	int other = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (other < 0 || dup2(other, swapped) != swapped)
		attack_die("/dev/null");
	for (int i = 0; i < CHANGERS; i++)
		attack_thread(ask_by_own_table, attack);
}
