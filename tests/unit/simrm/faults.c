/* What simrm is told to do wrong. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "tests/unit/simrm/world.h"

static unsigned elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned)((now.tv_sec - since->tv_sec) * 1000 +
			  (now.tv_nsec - since->tv_nsec) / 1000000);
}

static pid_t ask_in_child(const struct world *world)
{
	struct get_pids_params params;
	pid_t child = fork();

	if (!child)
		_exit(world_pids(&world->client, &world->gpu, &params) ? 1 : 0);
	return child;
}

static bool wait_for_blocked(const struct world *world, const char *text)
{
	for (unsigned i = 0; i < 500; i++) {
		cleanup_free char *calls = sim_read(&world->sim, "simrm-calls");

		if (calls && strstr(calls, text))
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return false;
}

Test(simrm_faults, fails_the_next_calls_with_an_errno_or_a_status)
{
	struct get_pids_params params;
	struct world world;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "fail cmd=0x2080018d errno=%d count=2", EAGAIN), 0);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), -EAGAIN);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), -EAGAIN);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(sim_command(&world.sim, "fail cmd=controls status=0x62 count=1"), 0);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0x62);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	world_close(&world);
}

Test(simrm_faults, fails_a_share_of_the_calls)
{
	struct get_pids_params params;
	struct world world;
	unsigned failed = 0;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "fail cmd=any errno=%d per_mille=300", EINTR), 0);
	for (unsigned i = 0; i < 1000; i++)
		failed += world_pids(&world.client, &world.gpu, &params) == -EINTR;
	cr_assert(failed > 200 && failed < 400, "%u of 1000", failed);
	cr_assert_eq(sim_command(&world.sim, "clear"), 0);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	world_close(&world);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

Test(simrm_faults, a_call_gets_its_caller_a_signal_and_goes_on)
{
	struct sigaction action = {.sa_handler = count_signal};
	struct get_pids_params params;
	struct world world;

	sigaction(SIGUSR1, &action, NULL);
	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "kill cmd=0x2080018d signal=%d count=1", SIGUSR1), 0);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(signals, 1);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_eq(signals, 1);
	world_close(&world);
}

Test(simrm_faults, delays_a_call_and_no_other)
{
	struct get_pids_params params;
	struct timespec start;
	struct world world;
	uint32_t id;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "delay cmd=0x2080018d ms=200 count=1"), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_ID, &id,
				sizeof(id)),
		     0);
	cr_assert_lt(elapsed_ms(&start), 150);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	cr_assert_geq(elapsed_ms(&start), 195);
	world_close(&world);
}

Test(simrm_faults, a_blocked_call_goes_on_when_it_is_released)
{
	struct world world;
	pid_t child;
	int status;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "block cmd=0x2080018d"), 0);
	child = ask_in_child(&world);
	cr_assert(wait_for_blocked(&world, "\"blocked\":1"));
	cr_assert_eq(waitpid(child, &status, WNOHANG), 0);
	cr_assert_eq(sim_command(&world.sim, "clear"), 0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	world_close(&world);
}

static void on_alarm(int number)
{
	(void)number;
}

Test(simrm_faults, an_interruptible_block_ends_with_a_signal)
{
	struct itimerspec in_100_ms = {.it_value.tv_nsec = 100000000};
	struct sigaction action = {.sa_handler = on_alarm};
	struct get_pids_params params;
	struct world world;
	timer_t timer;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "block cmd=0x2080018d count=1 interruptible=1"), 0);
	sigaction(SIGALRM, &action, NULL);
	timer_create(CLOCK_MONOTONIC, NULL, &timer);
	timer_settime(timer, 0, &in_100_ms, NULL);
	cr_assert_eq(world_pids(&world.client, &world.gpu, &params), -EINTR);
	timer_delete(timer);
	world_close(&world);
}

Test(simrm_faults, many_calls_may_be_blocked_and_others_go_on)
{
	enum { CHILDREN = 200 };
	struct world world;
	uint32_t id;
	int status;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "block cmd=0x2080018d"), 0);
	for (unsigned i = 0; i < CHILDREN; i++)
		ask_in_child(&world);
	cr_assert(wait_for_blocked(&world, "\"blocked\":200"));
	cr_assert_eq(rm_control(&world.client, world.gpu.subdevice, NV2080_CTRL_CMD_GPU_GET_ID, &id,
				sizeof(id)),
		     0);
	cr_assert_eq(sim_command(&world.sim, "clear"), 0);
	for (unsigned i = 0; i < CHILDREN; i++) {
		cr_assert_gt(wait(&status), 0);
		cr_assert_eq(status, 0);
	}
	world_close(&world);
}

Test(simrm_faults, ends_while_calls_are_blocked)
{
	struct world world;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "block cmd=0x2080018d"), 0);
	ask_in_child(&world);
	cr_assert(wait_for_blocked(&world, "\"blocked\":1"));
	world_close(&world);
	wait(NULL);
}

Test(simrm_faults, records_who_made_which_call)
{
	struct get_pids_params params;
	char expected[128];
	cleanup_free char *calls = NULL;
	struct world world;

	world_open(&world, "580.142");
	cr_assert_eq(sim_command(&world.sim, "record on=1"), 0);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(world_pids(&world.client, &world.gpu, &params), 0);
	calls = sim_read(&world.sim, "simrm-calls");
	snprintf(expected, sizeof(expected),
		 "{\"control\":\"0x2080018d\",\"tgid\":%d,\"tid\":%d,\"euid\":%u,\"admin\":%s,"
		 "\"count\":3}",
		 getpid(), gettid(), geteuid(), geteuid() ? "false" : "true");
	cr_assert(strstr(calls, expected), "%s", calls);
	world_close(&world);
}

Test(simrm_faults, a_command_that_is_none_is_refused)
{
	static const char *const lines[] = {"dance",
					    "delay cmd=0x2080018d",
					    "delay ms=5",
					    "fail cmd=any errno=five",
					    "fail cmd=any",
					    "block cmd=",
					    "dead memory=1",
					    "dead pid=1 gpu=7",
					    "session pid=1 kind=radio",
					    "work pid"};
	struct world world;

	world_open(&world, "580.142");
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_eq(sim_command(&world.sim, "%s", lines[i]), -EINVAL, "%s", lines[i]);
	cr_assert_eq(sim_command(&world.sim, "work pid=1 gr=5"), -ESRCH);
	world_close(&world);
}
