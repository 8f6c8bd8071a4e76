/* A container that means harm: what it does to the supervisor that answers its calls, a function
 * for each behaviour. They begin it, in threads and processes, and return; it ends with the
 * program. */
#ifndef SURVIVAL_ATTACK_H
#define SURVIVAL_ATTACK_H

#include "tests/survival/holder.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { ATTACK_MIB = 16, PAGE = 4096 };

/* The requests as every NVIDIA library writes them. */
#define RM_CONTROL 0xc020462aUL
#define XFER	   0xc01046d3UL

/* Counts of all processes of the attack. */
struct tally {
	_Atomic uint64_t calls; /* that came back */
	_Atomic uint64_t wrong; /* of them: an answer that mpu may not give */
	_Atomic uint32_t alive; /* processes of the fork bomb */
};

struct attack {
	struct holder holder;
	struct tally *tally;
	uint32_t holder_pid; /* the only GPU process of this namespace */
	const char *socket;  /* of mpud; for attack_peer() */
};

/* A call of CMD, filled as a library does. */
struct nvos54_parameters attack_call(const struct attack *attack, uint32_t cmd, const void *params,
				     uint32_t size);
/* ioctl(), counted. Returns 0 or -errno. */
int attack_ioctl(const struct attack *attack, int fd, unsigned long request, void *argument);
/* Asks for the processes of the GPU by FD, and counts a wrong answer. */
void attack_ask_pids(const struct attack *attack, int fd);
/* A call that passes. */
void attack_pass(const struct attack *attack);
void attack_wrong(const struct attack *attack, const char *what, long long got);

/* Starts a thread that is never joined. */
void attack_thread(void *(*run)(void *), void *argument);
/* Forks; in the child runs RUN, which never returns. */
pid_t attack_fork(const struct attack *attack, void (*run)(const struct attack *));
_Noreturn void attack_die(const char *what);
/* Pages of memory, zero. */
void *attack_pages(size_t count);

typedef void attack_function(struct attack *attack);

/* attack_calls.c */
attack_function attack_flood, attack_flood_passed, attack_changing_params, attack_changing_fds,
    attack_own_fd_tables;
/* attack_processes.c */
attack_function attack_stopped, attack_fork_bomb, attack_threads, attack_dead_leaders,
    attack_no_proc;
/* attack_reuse.c */
attack_function attack_pid_reuse;
/* attack_memory.c: memory that blocks for ever. Where: the envelope of a wrapped call, NVOS54, the
 * params, a list behind these; when it is read, or only when the answer is written. */
attack_function attack_uffd_envelope, attack_uffd_control, attack_uffd_params, attack_uffd_list,
    attack_uffd_control_write, attack_uffd_params_write, attack_uffd_list_write,
    attack_fuse_control, attack_fuse_params;
/* attack_files.c: nodes that are no device, and a peer of the socket that hands over no listener.
 */
attack_function attack_fake_nodes, attack_peer;
/* A file of a FUSE file system that answers nothing that is done with it once it is open. */
int attack_open_fuse(const char *name);
/* Before the end of the program, which would wait for them. */
void attack_end_files(void);

#endif
