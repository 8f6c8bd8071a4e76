/* Messages of one size between a keeper and its worker, and between a keeper and its successor, with
 * descriptors beside them. Both ends are the same program. */
#ifndef SUPERVISOR_MPUD_CHANNEL_H
#define SUPERVISOR_MPUD_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

enum channel_kind {
	/* From the worker. */
	CHANNEL_READY = 1,
	CHANNEL_TAKEN,	/* PARCEL's descriptor WHICH is listener INDEX of GENERATION now */
	CHANNEL_DONE,	/* PARCEL was answered: it may go */
	CHANNEL_HALF,	/* PARCEL is not whole: there must be more to come */
	CHANNEL_CLOSED, /* the last process of listener INDEX has ended */
	CHANNEL_PONG, /* WHICH: nothing has happened since the last one */
	/* From the keeper. */
	CHANNEL_PARCEL, /* number PARCEL of INDEX bytes: its memory, its connection, what came along;
			   WHICH: no more will come */
	CHANNEL_PING,
	CHANNEL_STOP, /* answer what is in flight, and end */
	/* Between keepers. */
	CHANNEL_HELLO,	   /* journal format INDEX: hand over */
	CHANNEL_REFUSED,   /* this keeper's is format INDEX */
	CHANNEL_HOUSE,	   /* the socket, the one for successors, the journal */
	CHANNEL_LISTENERS, /* from number INDEX on, WHICH of them, one descriptor each */
	CHANNEL_END,
	/* From the keeper; last, as two releases speak to each other with those above. */
	CHANNEL_BEGIN, /* the worker stands in the journal: it may touch that */
	/* From the worker. */
	CHANNEL_STIRS, /* something happens again, after a PONG */
};

struct channel_message {
	uint32_t kind, parcel, index, generation, which;
};

/* What SCM_RIGHTS carries in one message. */
enum { CHANNEL_FDS = 253 };

/* A message that came, and the descriptors with it, which are the receiver's. */
struct channel_mail {
	struct channel_message message;
	size_t count;
	int fd[CHANNEL_FDS];
};

/* Sends MESSAGE with COUNT descriptors, which stay the caller's. FLAGS as of send(2). Returns 0 or
 * -errno. */
int channel_send(int channel, const struct channel_message *message, const int *fds, size_t count,
		 int flags);

/* Receives one message. Returns 0, -EPIPE at the end, or -errno: -EAGAIN with MSG_DONTWAIT. */
int channel_receive(int channel, struct channel_mail *mail, int flags);

/* Waits up to TIMEOUT_MS for a message. -ETIMEDOUT when none comes. */
int channel_wait(int channel, struct channel_mail *mail, int timeout_ms);

/* Closes the descriptors of MAIL that were not taken out of it, where -1 stands then. */
void channel_drop(struct channel_mail *mail);

#endif
