/* attack BEHAVIOUR --dev-root=DIR [--socket=PATH]: one of the behaviours of attack.h, until
 * SIGTERM, or --list. Prints "attacking", and counts as JSON at the end. */
#include "tests/survival/attack.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

_Noreturn void attack_die(const char *what)
{
	fprintf(stderr, "attack: %s: %s\n", what, strerror(errno));
	_exit(3);
}

void attack_wrong(const struct attack *attack, const char *what, long long got)
{
	if (atomic_fetch_add(&attack->tally->wrong, 1) < 5)
		fprintf(stderr, "attack %d: wrong: %s (%lld)\n", getpid(), what, got);
}

struct nvos54_parameters attack_call(const struct attack *attack, uint32_t cmd, const void *params,
				     uint32_t size)
{
	const struct holder *holder = &attack->holder;

	return (struct nvos54_parameters){.hClient = holder->client.handle,
					  .hObject = cmd >> 16 == 0x2080 ? holder->gpu.subdevice
									 : holder->client.handle,
					  .cmd = cmd,
					  .params = (uintptr_t)params,
					  .paramsSize = size,
					  .status = UINT32_MAX};
}

int attack_ioctl(const struct attack *attack, int fd, unsigned long request, void *argument)
{
	int result = ioctl(fd, request, argument) < 0 ? -errno : 0;

	atomic_fetch_add_explicit(&attack->tally->calls, 1, memory_order_relaxed);
	return result;
}

/* EINTR and EAGAIN are tried again, as NVIDIA's libraries do. */
void attack_ask_pids(const struct attack *attack, int fd)
{
	struct get_pids_params params = {.id = TURING_COMPUTE_A};
	struct nvos54_parameters call =
	    attack_call(attack, NV2080_CTRL_CMD_GPU_GET_PIDS, &params, sizeof(params));
	int result;

	do
		result = attack_ioctl(attack, fd, RM_CONTROL, &call);
	while (result == -EINTR || result == -EAGAIN);
	if (result || call.status)
		attack_wrong(attack, "GET_PIDS fails", result ? result : (int)call.status);
	else if (params.pidTblCount != 1)
		attack_wrong(attack, "GET_PIDS lists another number than one", params.pidTblCount);
	else if (params.pidTbl[0] != attack->holder_pid)
		attack_wrong(attack, "GET_PIDS lists another process", params.pidTbl[0]);
}

void attack_pass(const struct attack *attack)
{
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS] = {0};
	struct nvos54_parameters call =
	    attack_call(attack, NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS, ids, sizeof(ids));

	attack_ioctl(attack, attack->holder.rm.ctl, RM_CONTROL, &call);
}

void attack_thread(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
#ifndef __SANITIZE_ADDRESS__
	pthread_attr_setstacksize(&attributes, 64 << 10);
#endif
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	errno = pthread_create(&thread, &attributes, run, argument);
	if (errno)
		attack_die("cannot start a thread");
	pthread_attr_destroy(&attributes);
}

pid_t attack_fork(const struct attack *attack, void (*run)(const struct attack *))
{
	pid_t child = fork();

	if (child < 0)
		attack_die("fork");
	if (child == 0) {
		run(attack);
		_exit(0);
	}
	return child;
}

void *attack_pages(size_t count)
{
	void *pages =
	    mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		attack_die("mmap");
	return pages;
}

static const struct {
	const char *name;
	attack_function *begin;
} behaviours[] = {
    {"flood", attack_flood},
    {"flood-passed", attack_flood_passed},
    {"changing-params", attack_changing_params},
    {"changing-fds", attack_changing_fds},
    {"own-fd-tables", attack_own_fd_tables},
    {"stopped", attack_stopped},
    {"fork-bomb", attack_fork_bomb},
    {"threads", attack_threads},
    {"dead-leaders", attack_dead_leaders},
    {"no-proc", attack_no_proc},
    {"pid-reuse", attack_pid_reuse},
    {"uffd-envelope", attack_uffd_envelope},
    {"uffd-control", attack_uffd_control},
    {"uffd-params", attack_uffd_params},
    {"uffd-list", attack_uffd_list},
    {"uffd-control-write", attack_uffd_control_write},
    {"uffd-params-write", attack_uffd_params_write},
    {"uffd-list-write", attack_uffd_list_write},
    {"fuse-control", attack_fuse_control},
    {"fuse-params", attack_fuse_params},
    {"fake-nodes", attack_fake_nodes},
    {"peer", attack_peer},
};

enum { BEHAVIOURS = sizeof(behaviours) / sizeof(behaviours[0]) };

static attack_function *find(const char *name)
{
	for (size_t i = 0; i < BEHAVIOURS; i++)
		if (strcmp(behaviours[i].name, name) == 0)
			return behaviours[i].begin;
	fprintf(stderr, "attack: no behaviour %s\n", name);
	exit(2);
}

static int list(void)
{
	for (size_t i = 0; i < BEHAVIOURS; i++)
		puts(behaviours[i].name);
	return 0;
}

static const char *parse(int argc, char **argv, struct attack *attack)
{
	static const struct option table[] = {{"dev-root", required_argument, NULL, 'd'},
					      {"socket", required_argument, NULL, 's'},
					      {"list", no_argument, NULL, 'l'},
					      {0}};
	const char *root = "/dev";
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (option == 'd')
			root = optarg;
		else if (option == 's')
			attack->socket = optarg;
		else
			exit(option == 'l' ? list() : 2);
	}
	return root;
}

int main(int argc, char **argv)
{
	struct attack attack = {.holder_pid = (uint32_t)getpid()};
	const char *root = parse(argc, argv, &attack);
	attack_function *begin = find(optind < argc ? argv[optind] : "");
	sigset_t ends;
	int number;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGCHLD, SIG_IGN);
	attack.tally = mmap(NULL, sizeof(*attack.tally), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (attack.tally == MAP_FAILED)
		attack_die("mmap");
	holder_start(&attack.holder, root, ATTACK_MIB);
	begin(&attack);
	puts("attacking");
	fflush(stdout);
	sigwait(&ends, &number);
	printf("{\"calls\":%llu,\"wrong\":%llu}\n", (unsigned long long)attack.tally->calls,
	       (unsigned long long)attack.tally->wrong);
	fflush(stdout);
	attack_end_files();
	_exit(0);
}
