/* mpu-run's own parts. Three processes: the front (which the user's shell sees), the back (the
 * engine), and the command. Front and back are both above the command and each ends the command's
 * tree when the other dies. */
#ifndef SUPERVISOR_RUN_RUN_H
#define SUPERVISOR_RUN_RUN_H

#include "base/error.h"
#include "filter/filter.h"
#include "nvabi/pids.h"
#include "supervisor/driver.h"
#include "supervisor/pidmap.h"
#include "supervisor/settings.h"
#include "supervisor/trace/select.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct nvabi_allow;

enum run_exit { RUN_EXIT_OWN = 125, RUN_EXIT_CANNOT_EXECUTE = 126, RUN_EXIT_NOT_FOUND = 127 };

enum run_stats { RUN_STATS_NONE, RUN_STATS_TEXT, RUN_STATS_JSON };

struct run_options {
	char **command; /* ended by NULL */
	bool pid_ns;
	struct mpu_settings settings;
	const char *driver_version; /* or NULL */
	const char *dev_root;	    /* or NULL */
	const char *socket;	    /* of a running mpud, or NULL */
	const char *allow;	    /* a file of driver calls that may be made too, or NULL */
	enum run_stats stats;
	bool trace;		/* a line for each call */
	bool trace_summary;	/* a table of them at the end */
	bool trace_json;
	bool trace_execute; /* runs in COMMAND's place what may be, to see its end */
	const char *trace_path; /* or NULL: standard error */
	struct selection *trace_selection; /* or NULL: all */
	enum pidmap_method pid_lookup;
	bool use_pidfd_thread;
};

/* Signals that the command shall find as we found them, and whose dispositions we change. */
enum { RUN_SIGNALS_CHANGED = 5 };
extern const int run_signals_changed[RUN_SIGNALS_CHANGED];

/* All that is found out before anything is started. */
struct run_plan {
	struct run_options options;
	struct driver driver;
	struct nvabi_pids pids;
	struct nvabi_allow *allow; /* or NULL */
	const struct filter_program *filter;
	unsigned int filter_flags;
	uid_t uid; /* who started mpu-run */
	gid_t gid;
	bool user_ns;	   /* an ordinary user's --pid-ns needs one */
	int nursery;	   /* where proxies are asked for, or -1: not confined */
	bool no_new_privs; /* an ordinary user may not install a filter without */
	sigset_t signals;  /* the mask that mpu-run was started with */
	struct sigaction inherited[RUN_SIGNALS_CHANGED]; /* and the dispositions that we change */
};

/* Parses the command line into OPTIONS. Returns -1 to go on, or the exit status: 0 after --help or
 * --version, RUN_EXIT_OWN after one line on standard error. */
int run_options_parse(int argc, char **argv, struct run_options *options);

/* How the command ended, as the back tells the front. */
struct run_status {
	int exit_status;
	bool left_behind; /* processes of the command live on, and the back with them */
};

/* The front: waits for the back, forwards signals to it, and returns the exit status. BACK is the
 * process, STATUS_FD a pipe on which the back writes a struct run_status. */
int run_front(pid_t back, int status_fd);

/* The back: starts the command and its supervision, serves until the command has ended, tells the
 * status on STATUS_FD. FRONT_PIDFD tells when the front dies. Returns the exit status. */
int run_back(struct run_plan *plan, pid_t front, int front_pidfd, int status_fd);

/* The command's process, with no thread but this one. Installs the filter, sends the listener over
 * SOCKET, waits there for the word to go, executes the command. Never returns. */
_Noreturn void run_child(const struct run_plan *plan, int socket);

/* What the child reports over its socket: the listener comes with RUN_CHILD_LISTENER. */
enum run_child_step { RUN_CHILD_LISTENER, RUN_CHILD_EXEC_FAILED, RUN_CHILD_FAILED };
struct run_child_report {
	enum run_child_step step;
	struct mpu_error error;
};

/* Gives LISTENER, of the command's process CHILD, to the mpud that listens on the socket of OPTIONS.
 * Returns 0 or -errno with ERROR filled. */
int run_hand_to_daemon(const struct run_options *options, pid_t child, int listener,
		       struct mpu_error *error);

/* Ends all descendants of this process, which must be a subreaper: again and again, as children of
 * those that end become ours. Returns when none is left. */
void run_tree_end(void);

/* Signals that mpu-run forwards to its command. */
void run_forwarded_signals(sigset_t *set);

#endif
