/* The daemon's own parts: nobody else includes this. mpud is a keeper, which holds what the containers
 * depend on, and a worker, which does the work and may die. */
#ifndef SUPERVISOR_MPUD_MPUD_H
#define SUPERVISOR_MPUD_MPUD_H

#include "base/error.h"
#include "supervisor/journal.h"
#include "supervisor/sandbox.h"
#include "supervisor/settings.h"

#include <stdbool.h>
#include <stddef.h>

struct nvabi_allow;

struct mpud_options {
	const char *socket;	      /* or NULL: the default */
	const char *lxc_socket;	      /* for LXC's monitors, or NULL: none */
	const char *metrics;	      /* where they are served, or NULL: nowhere */
	const char *socket_group;     /* whose members may hand listeners over, or NULL */
	const char *driver_version;   /* or NULL */
	const char *dev_root;	      /* or NULL */
	struct mpu_settings settings; /* where a container says nothing */
	unsigned int watchdog; /* seconds without a sign of life after which a worker is replaced */
	bool replace;	       /* take over from a running mpud */
	enum sandbox_mode sandbox;
	const char *user;  /* to become, or NULL */
	const char *allow; /* a file of driver calls that may be made too, or NULL: the default */
	struct nvabi_allow *allowed; /* what it says, or NULL; read by main() */
};

/* Parses the command line. Returns -1 to go on, or the exit status. */
int mpud_options_parse(int argc, char **argv, struct mpud_options *options);

/* A container's ID, which comes from its runtime and so from anywhere, made fit for the log. */
void mpud_label(const char *id, char label[JOURNAL_LABEL]);

/* Keeps until it is told to stop. Returns the exit status. */
int keeper_run(const struct mpud_options *options);

/* What a worker works with; all inherited from its keeper. */
struct worker_start {
	const struct mpud_options *options;
	const struct sandbox *sandbox; /* or NULL */
	struct journal *journal;
	const int *listener; /* JOURNAL_LISTENERS of them, -1 where there is none */
	int channel;
	int lxc_socket; /* or -1 */
	int control;	/* where mpuctl asks, or -1 */
	int metrics;	/* where they are served, or -1 */
	int nursery;	/* where proxies are asked for, or -1 */
	const char *socket; /* the main one's path */
};

/* Works until it is told to stop. Returns the exit status. */
int worker_run(const struct worker_start *start);

struct engine;
struct mpud_container;
struct mpu_error;

/* Puts what is known of CONTAINER, which ENGINE is to serve, into a free place of JOURNAL, its INDEX.
 * FORWARDED: its calls come from another who listens. Returns 0 or -errno with ERROR filled, also where
 * it is to be confined and cannot be. */
int worker_enter(const struct engine *engine, struct journal *journal,
		 const struct mpud_options *options, const struct mpud_container *container,
		 bool forwarded, uint32_t *index, struct mpu_error *error);

/* Serves LXC's monitors with ENGINE. Returns 0 or -errno. */
struct lxc_proxy;
int worker_open_lxc(const struct worker_start *start, struct engine *engine,
		    struct lxc_proxy **proxy);

/* The two enum channel_kind messages that a parcel ends with are sent over CHANNEL. */
struct channel_mail;

/* Reads the parcel in MAIL and hands its listener to ENGINE. */
void worker_take_parcel(struct engine *engine, struct journal *journal, int channel,
			const struct mpud_options *options, struct channel_mail *mail);

/* Tells systemd STATE ("READY=1"), with COUNT descriptors, where it waits to be told. */
void mpud_notify(const char *state, const int *fds, size_t count);

#endif
