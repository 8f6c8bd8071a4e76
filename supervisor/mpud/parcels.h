/* What runtimes and hooks send, unread: a connection, the bytes that came over it and the descriptors
 * that came along, kept until a worker has answered it. Runtimes close theirs at once, so that these
 * are the containers' only ones. */
#ifndef SUPERVISOR_MPUD_PARCELS_H
#define SUPERVISOR_MPUD_PARCELS_H

#include "supervisor/mpud/socket.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PARCELS_MAX = 256,
	PARCEL_FDS = 240,      /* a message to the worker takes two more */
	PARCEL_BYTES = 1 << 20, /* a state with its annotations; the kubelet allows 256 KiB of these */
};

struct parcel {
	uint32_t number;
	int connection;
	int memory; /* a memfd */
	size_t length;
	int fd[PARCEL_FDS];
	size_t fd_count;
	int64_t deadline; /* CLOCK_MONOTONIC, milliseconds; until it has ended */
	bool ended;	  /* its sender has closed, or shut down, its side */
	bool fresh;	  /* more came since a worker has last looked at it */
	bool sent;	  /* a worker looks at it */
	bool taken; /* its listener is held; the sender was not told yet */
	uint32_t confine; /* of what was taken, as the sender is to be told */
	struct parcel *next;
};

struct parcels {
	struct mpud_socket *socket; /* borrowed */
	struct parcel *first;
	unsigned int count;
	uint32_t next_number;
	int64_t accept_again; /* while there are no descriptors to be had */
};

/* The descriptors to wait for into POLLS, room for PARCELS_MAX + 1. Returns how many, and in WAIT_MS
 * after how long parcels_work() is to be called all the same, when that is sooner. */
size_t parcels_poll(const struct parcels *parcels, struct pollfd *polls, int *wait_ms);

/* Accepts and reads what there is, refuses who sends too much or too slowly. Never blocks. */
void parcels_work(struct parcels *parcels);

/* Whether a worker should look at PARCEL: nobody here can tell whether it is whole, and not every
 * runtime closes its side. */
bool parcel_is_due(const struct parcel *parcel);

/* Takes up a parcel that another keeper had, of descriptors FD as CHANNEL_PARCEL brings them, which
 * become its own. Returns 0 or -errno. */
int parcels_add(struct parcels *parcels, const int *fd, size_t count, size_t length);

/* The parcel of that number, or NULL. */
struct parcel *parcels_find(struct parcels *parcels, uint32_t number);

/* Ends PARCEL and closes what it holds but for descriptors that stand at -1. */
void parcels_drop(struct parcels *parcels, struct parcel *parcel);

#endif
