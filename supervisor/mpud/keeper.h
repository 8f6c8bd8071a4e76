/* The keeper: the process that the containers depend on. It parses nothing and calls no driver. It
 * holds the socket, a copy of every listener, what runtimes have sent and nobody has read yet, and the
 * journal; and it has a worker, which it replaces when it dies. */
#ifndef SUPERVISOR_MPUD_KEEPER_H
#define SUPERVISOR_MPUD_KEEPER_H

#include "supervisor/mpud/mpud.h"
#include "supervisor/mpud/parcels.h"
#include "supervisor/mpud/socket.h"

#include <stdint.h>

struct keeper_worker {
	pid_t pid; /* 0: there is none */
	int pidfd; /* readable at its end; of its first thread, where the kernel has that */
	int channel;
	bool ready, was_ready;
	bool hung; /* we have killed it */
	bool stopped; /* we have told it to end */
	uint64_t started_ns;
	uint64_t sign_of_life_ns;
	uint64_t asked_ns;   /* when it was asked for one last */
	unsigned int at_rest; /* so many signs in a row said that nothing had happened */
	uint64_t again_ns;     /* when there is none: when to start the next one */
	unsigned int again_ms; /* how long that was put off; 0 after one that was ready */
};

struct keeper {
	const struct mpud_options *options;
	struct mpud_socket socket;
	struct mpud_socket lxc_socket; /* which the worker listens at; its fd is -1 where there is none */
	struct mpud_socket metrics; /* at which the worker serves them, or its fd is -1 */
	int successors; /* the socket on which another mpud asks to replace this one */
	int control;	/* the socket on which mpuctl asks; the worker answers there */
	int signals;
	int nursery; /* where workers ask for proxies, or -1: there is none */
	struct journal *journal;
	int listener[JOURNAL_LISTENERS];
	uint32_t listeners;
	struct parcels parcels;
	struct sandbox sandbox;
	bool has_sandbox;
	struct keeper_worker worker;
};

/* keeper-worker.c */

/* Starts a worker. Returns 0 or -errno with ERROR filled. */
int keeper_start_worker(struct keeper *keeper, struct mpu_error *error);
/* What is to be done for the worker now: its messages, its death, its silence. Returns after how many
 * milliseconds to come again. */
int keeper_work(struct keeper *keeper);
/* Something may have happened to the worker, or will: it is asked for signs of life again as often as
 * one that works. */
void keeper_expect_life(struct keeper *keeper);
/* Lets the worker answer what is in flight, and ends it. */
void keeper_stop_worker(struct keeper *keeper);
/* Ends what worked on the journal before us, a former keeper's worker. Returns 0, or -errno with ERROR
 * filled when it cannot tell whether there is one: two would answer the same calls. */
int keeper_end_former(struct journal *journal, struct mpu_error *error);

/* listeners.c: the copies of the listeners. */

void keeper_hold(struct keeper *keeper, uint32_t index, int fd);
/* Lets go of what the journal says is closed. */
void keeper_let_go(struct keeper *keeper, uint32_t index);
void keeper_let_go_all_closed(struct keeper *keeper);
/* After a worker's end, or the takeover of a journal: what nobody finished is undone. */
void keeper_settle(struct keeper *keeper);

/* beside.c */

#define BESIDE_SUCCESSORS ".successor"
#define BESIDE_CONTROL	  ".control"

/* The address of what stands beside SOCKET. Returns 0 or -ENAMETOOLONG. */
struct sockaddr_un;
int beside_address(const char *socket, const char *suffix, struct sockaddr_un *address);
/* Opens the sockets beside the main one that are not open yet. */
void beside_open(struct keeper *keeper);
/* Closes them and, where they are there for us, removes their files. */
void beside_close(struct keeper *keeper);

/* handover.c */

/* Gives all to the successor that waits there. Returns true when it has taken it, and this keeper is
 * to end without a word. */
bool handover_give(struct keeper *keeper);
/* Takes all from the keeper that runs now. Returns 0, -ENOENT when none runs, or -errno with ERROR
 * filled. */
int handover_take(struct keeper *keeper, struct mpu_error *error);

/* store.c: systemd's file descriptor store, and the descriptors of a start. */

/* Takes what systemd passed. Returns 0 or -errno with ERROR filled. */
int store_take(struct keeper *keeper, struct mpu_error *error);
void store_put_journal(const struct keeper *keeper);
void store_put_listener(const struct keeper *keeper, uint32_t index);
void store_remove_listener(uint32_t index);

#endif
