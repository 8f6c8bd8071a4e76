/* Processes and threads: many of them, stopped ones, leaderless ones, ones without /proc. */
#include "tests/survival/attack.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STOPPED = 16, BOMB = 300, THREADS = 2000 };

static void ask_forever(const struct attack *attack)
{
	for (;;)
		attack_ask_pids(attack, attack->holder.rm.ctl);
}

/* One that stops in mid-call, goes on, stops; each third is killed. */
static void *stop_forever(void *argument)
{
	const struct attack *attack = argument;
	unsigned int seed = (unsigned int)(uintptr_t)&seed;

	for (;;) {
		pid_t child = attack_fork(attack, ask_forever);

		for (int i = 0; i < 20; i++) {
			usleep((useconds_t)rand_r(&seed) % 3000);
			kill(child, SIGSTOP);
			usleep((useconds_t)rand_r(&seed) % 50000);
			if (i % 3 != 2)
				kill(child, SIGCONT);
		}
		kill(child, SIGKILL);
	}
	return NULL;
}

void attack_stopped(struct attack *attack)
{
	for (int i = 0; i < STOPPED; i++)
		attack_thread(stop_forever, attack);
}

/* Each makes two more, asks, and ends: never more than BOMB at a time. */
static void explode(const struct attack *attack)
{
	for (int i = 0; i < 2; i++) {
		if (atomic_fetch_add(&attack->tally->alive, 1) < BOMB)
			attack_fork(attack, explode);
		else
			atomic_fetch_sub(&attack->tally->alive, 1);
	}
	attack_ask_pids(attack, attack->holder.rm.ctl);
	attack_pass(attack);
	atomic_fetch_sub(&attack->tally->alive, 1);
}

static void *bomb_forever(void *argument)
{
	const struct attack *attack = argument;

	for (;;) {
		if (atomic_fetch_add(&attack->tally->alive, 1) < BOMB)
			attack_fork(attack, explode);
		else
			atomic_fetch_sub(&attack->tally->alive, 1);
		usleep(1000);
	}
	return NULL;
}

void attack_fork_bomb(struct attack *attack)
{
	attack_thread(bomb_forever, attack);
}

static void *ask_now_and_then(void *argument)
{
	const struct attack *attack = argument;

	for (;;) {
		attack_ask_pids(attack, attack->holder.rm.ctl);
		usleep(2000000);
	}
	return NULL;
}

void attack_threads(struct attack *attack)
{
	for (int i = 0; i < THREADS; i++)
		attack_thread(ask_now_and_then, attack);
}

static void *ask_and_end(void *argument)
{
	const struct attack *attack = argument;

	usleep(5000);
	for (int i = 0; i < 20; i++)
		attack_ask_pids(attack, attack->holder.rm.ctl);
	_exit(0);
}

static void end_as_leader(const struct attack *attack)
{
	attack_thread(ask_and_end, (void *)(uintptr_t)attack);
	pthread_exit(NULL);
}

static void *lead_forever(void *argument)
{
	const struct attack *attack = argument;

	for (;;) {
		attack_fork(attack, end_as_leader);
		usleep(20000);
	}
	return NULL;
}

void attack_dead_leaders(struct attack *attack)
{
	attack_thread(lead_forever, attack);
}

/* In a mount namespace of its own, where /proc is no more. */
static void ask_without_proc(const struct attack *attack)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		attack_die("unshare");
	while (umount2("/proc", MNT_DETACH) == 0)
		;
	if (access("/proc/self", F_OK) == 0)
		attack_die("/proc is there still");
	for (;;) {
		attack_ask_pids(attack, attack->holder.rm.ctl);
		usleep(1000);
	}
}

void attack_no_proc(struct attack *attack)
{
	for (int i = 0; i < 4; i++)
		attack_fork(attack, ask_without_proc);
}
