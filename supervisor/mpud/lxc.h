/* LXC's proxy protocol (lxc.seccomp.notify.proxy): the monitor of a container receives the
 * notifications of its processes, those of lxc-attach too, and forwards them one after the other
 * over a SOCK_SEQPACKET connection of its own, each with its listener beside it. The monitor does
 * nothing else until it has its answer, so that it gets one soon: where ours is not ready by then
 * the monitor is released, and the answer goes to the listener directly. */
#ifndef SUPERVISOR_MPUD_LXC_H
#define SUPERVISOR_MPUD_LXC_H

#include <linux/seccomp.h>
#include <sys/types.h>

struct lxc_proxy;

/* A forwarded notification whose target waits for its answer. */
struct lxc_call;

/* A container, as its monitor's first message tells it. */
struct lxc_container {
	pid_t monitor, init;
	char name[128];	  /* from anywhere, and so not fit for a log */
	char cookie[256]; /* lxc.seccomp.notify.cookie: words "name=value" with blanks between */
};

/* What is done with monitors and their calls. */
struct lxc_sink {
	/* A monitor's first message has come. Returns what stands for it from now on, or NULL when
	 * it cannot be served. CONTAINER is borrowed until this returns. */
	void *(*open)(void *context, const struct lxc_container *container);
	/* LISTENER stays open until lxc_answer(), which is called once for each CALL, from any
	 * thread, also before this returns. NOTIFICATION is borrowed until this returns. */
	void (*call)(void *client, int listener, const struct seccomp_notif *notification,
		     struct lxc_call *call);
	/* No more calls come. Some may still be without their answer. */
	void (*close)(void *client);
};

/* Answers CALL with RESPONSE, whose id is filled in here, and frees it. */
void lxc_answer(struct lxc_call *call, struct seccomp_notif_resp response);

/* Starts a thread that serves monitors. SOCKET, a listening one of type SOCK_SEQPACKET, and SINK
 * are borrowed; SINK is called on that thread, and what blocks there keeps all monitors waiting.
 * Returns 0 with PROXY owned by the caller, or -errno. */
int lxc_open(struct lxc_proxy **proxy, int socket, const struct lxc_sink *sink, void *context);

/* Reads what monitors have sent and nothing any more: what they send from now on they send again,
 * to who listens at the socket next. Returns when all of it is with the sink. */
void lxc_drain(struct lxc_proxy *proxy);

/* Ends the connections and the thread. Calls without an answer live on until they get one. */
void lxc_close(struct lxc_proxy *proxy);

#endif
