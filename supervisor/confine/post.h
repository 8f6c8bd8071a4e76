/* Messages with descriptors, over sockets that keep messages apart. */
#ifndef SUPERVISOR_CONFINE_POST_H
#define SUPERVISOR_CONFINE_POST_H

#include "supervisor/confine/lane.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { POST_FDS = LANE_DESCRIPTORS + 1 };

/* Sends the SIZE bytes of DATA with COUNT descriptors, up to POST_FDS. Returns 0 or -errno; -EPIPE
 * when nobody is there to read it. */
int post_send(int socket, const void *data, size_t size, const int *fds, size_t count);

/* Takes a message of exactly SIZE bytes into DATA, and its descriptors, owned by the caller
 * (close-on-exec), into FDS, which has room for POST_FDS; COUNT says how many. FLAGS as of
 * recvmsg(2). Returns 0, -EPIPE when the other side has closed, -EBADMSG for what is no such
 * message, or -errno. */
int post_receive(int socket, void *data, size_t size, int fds[POST_FDS], size_t *count, int flags);

/* Between worker and nursery: a proxy for a target, whose pidfd comes along. */
enum { PROXY_NAME = 128 };

struct nursery_request {
	uint64_t token; /* comes back with the answer */
	pid_t target;
	uid_t uid;
	gid_t gid;
	uint64_t capabilities;
	char name[PROXY_NAME]; /* for who lists processes on the host */
};

/* With three descriptors, where ERROR is 0: the proxy's pidfd, its memory, its first lane. */
struct nursery_answer {
	uint64_t token;
	int32_t error; /* negative errno, or 0 */
	int32_t stray; /* why it is not in its target's cgroup: negative errno, or 0 */
	pid_t proxy;
};

/* Between worker and proxy, on a lane. What a call is about stands in the lane's record. */
enum lane_order {
	LANE_CALL,   /* with the descriptors of the device and of the params */
	LANE_ASK,    /* what has become of call TURN? */
	LANE_FORGET, /* the descriptor that the driver returned was taken: no answer */
};

struct lane_message {
	uint64_t turn, nonce; /* NONCE comes back with the answer */
	uint32_t order;	      /* enum lane_order */
	/* The proxy's thread waits at its bell for the next order, and says the result of this one in
	 * its memory, where no descriptor has to go along. Else it waits at the socket. */
	uint32_t rings;
};

enum lane_status {
	LANE_HELLO,  /* unasked, once, on the first lane: RESULT is 0, or why the proxy has ended */
	LANE_RESULT, /* of call TURN, with the descriptor that the driver returned, if one */
	LANE_UNKNOWN, /* call TURN has never come */
};

struct lane_answer {
	uint64_t turn, nonce;
	uint32_t status; /* enum lane_status */
	int32_t result;
	uint32_t returned; /* how many descriptors the driver has returned: 0 or 1 */
};

#endif
