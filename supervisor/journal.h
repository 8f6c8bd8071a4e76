/* What must outlive a worker, in shared memory: the record of every notification in flight (the
 * kernel fills the buffer of SECCOMP_IOCTL_NOTIF_RECV right here), the finished answers that are
 * being written to targets, the listeners and what was asked for them, the roster, the counts.
 *
 * Rules. The listener stands in a slot before RECV is called, the phase after it; the kernel writes
 * the id before RECV returns, so that no received notification is on no record. Nothing but RECV
 * writes here from inside the kernel: a thread that was killed may be stuck there for long, and must
 * not write into a slot or an answer that a successor uses. A target's memory is written only from
 * a finished answer that stands here, so that a half-written one can be finished. */
#ifndef SUPERVISOR_JOURNAL_H
#define SUPERVISOR_JOURNAL_H

#include "base/error.h"
#include "nvabi/rm.h"
#include "supervisor/settings.h"

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	JOURNAL_FORMAT = 7, /* raised with every change of what lies in the memory */
	JOURNAL_SLOTS = 1024,
	JOURNAL_SLOT_SIZE = 256,
	JOURNAL_LISTENERS = 8192,
	JOURNAL_DESKS = 256,
	JOURNAL_DESK_PARAMS = 64 << 10,
	JOURNAL_DESK_BUFFER = 1 << 20,
	JOURNAL_COUNTERS = 32 << 10,
	JOURNAL_PROXIES = 1024,
	JOURNAL_UNDEAD = 16,
	JOURNAL_REFUSED = 512,
	JOURNAL_LABEL = 72,  /* a container's id has up to 64 characters */
	JOURNAL_ABOUT = 360,
};

enum journal_phase {
	JOURNAL_FREE,
	JOURNAL_RECEIVING,    /* RECV may fill it: an id that is not 0 says that it did */
	JOURNAL_RECEIVED,     /* the target waits; nothing was done for it */
	JOURNAL_IN_DRIVER,    /* the driver may be working on it */
	JOURNAL_ANSWER_READY, /* the answer is here, the target's memory untouched */
	JOURNAL_WRITING,      /* the target's memory may be half written */
};

/* The answer to a handled call. What PARAMS and BUFFER become lies on the slot's desk. */
struct journal_answer {
	uint64_t params_address; /* the target's */
	uint64_t buffer_address;
	uint32_t params_size; /* 0: not written */
	uint32_t buffer_size; /* 0: not written */
	uint32_t status;      /* the driver's, into the target's NVOS54_PARAMETERS */
	int32_t errnum;	      /* of ioctl(), negative, or 0 */
};

/* One notification. It never crosses a page. */
struct journal_slot {
	struct seccomp_notif notification;
	struct nvos54_parameters control; /* as read from the target, once */
	uint64_t control_address;	  /* where it was read */
	uint32_t listener;		  /* index of its struct journal_listener */
	uint32_t generation;		  /* of that listener */
	uint32_t index;			  /* of this slot */
	uint32_t desk;			  /* index + 1 of its desk, or 0 */
	uint32_t deaths;  /* workers that this record is thought to have ended */
	uint32_t retries; /* workers that ended while they had it, by no fault of its own */
	_Atomic uint32_t phase;
	_Atomic pid_t owner; /* thread that works on it; 0: it waits for one */
	pid_t owner_process;
	/* A former owner that may be writing to the target still, from inside the kernel; or 0. */
	pid_t writer, writer_process;
	struct journal_answer answer;
	uint64_t received_ns;	   /* CLOCK_MONOTONIC, of handled calls */
	uint32_t lane;		   /* number + 1 of the lane of its proxy's that it has, or 0 */
};

_Static_assert(sizeof(struct journal_slot) <= JOURNAL_SLOT_SIZE, "a slot never crosses a page");

/* Room for one finished answer. */
struct journal_desk {
	unsigned char params[JOURNAL_DESK_PARAMS];
	unsigned char buffer[JOURNAL_DESK_BUFFER];
};

enum journal_listener_state {
	JOURNAL_LISTENER_FREE,
	JOURNAL_LISTENER_PENDING, /* a worker took it, the keeper has not said so yet */
	JOURNAL_LISTENER_HELD,	  /* the keeper holds a copy of the descriptor */
	JOURNAL_LISTENER_CLOSED,  /* its last process has ended: the keeper may let go */
};

/* One listener: all that a successor must know of it but the descriptor. */
struct journal_listener {
	_Atomic uint32_t state;
	uint32_t generation;
	_Atomic uint32_t quarantined; /* its calls have ended workers: none is handled any more */
	struct mpu_settings settings;
	uint64_t since; /* seconds since 1970 */
	pid_t pid;	/* the container's init, as its runtime says it */
	char label[JOURNAL_LABEL];
	char about[JOURNAL_ABOUT]; /* "name=value\n", of annotations */
};

/* A call that a confined container may not make, and how often it has tried: confine/refuse.c. */
struct journal_refused {
	uint32_t used;
	uint32_t kind, number;
	uint32_t last; /* JOURNAL's counter of refused calls, when it was counted last */
	uint64_t count;
	char label[JOURNAL_LABEL];
};

struct journal_refusals {
	uint32_t next;
	uint64_t forgotten; /* of calls that stand in no row any more */
	struct journal_refused row[JOURNAL_REFUSED];
};

/* How the last worker ended. */
enum journal_death {
	JOURNAL_NO_DEATH,
	JOURNAL_KILLED,	 /* from outside: SIGKILL, or the machine was short of memory */
	JOURNAL_CRASHED, /* by itself */
	JOURNAL_HUNG,	 /* by the watchdog */
};

struct journal_process {
	pid_t pid;
	uint64_t start; /* task_start_ticks(): numbers are used again */
};

enum journal_proxy_state {
	JOURNAL_PROXY_FREE,
	JOURNAL_PROXY_ENDED, /* so has its target: who asks for the dead may still ask */
	JOURNAL_PROXY_LOST,  /* ended before its target, for which another one may stand by now */
	JOURNAL_PROXY_LIVE,
};

/* A process that stands for a confined target at the driver (confine/proxies.h). */
struct journal_proxy {
	_Atomic uint32_t state;
	struct journal_process proxy, target;
	uid_t uid; /* the target's effective ones */
	gid_t gid;
	uint64_t capabilities;
	uint64_t turn; /* the higher, the later it came into its state */
};

struct journal_header {
	char magic[8];
	uint32_t format;
	uint32_t size;
	/* Who works on it, to be ended before somebody else does. */
	struct journal_process keeper, worker;
	struct journal_process former; /* the last worker that ended */
	/* Workers that were killed, of which a thread may be in the kernel still. */
	struct journal_process undead[JOURNAL_UNDEAD];
	uint32_t death;		       /* enum journal_death, of the last worker */
	_Atomic pid_t crashed_thread;  /* of the last worker, or 0: unknown */
	_Atomic uint32_t closed_cue;   /* a closed listener could not be told of */
	uint64_t workers, crashes, hangs, replacements; /* counts since the journal was made */
	_Atomic uint64_t proxies_started, proxies_lost;
	uint64_t proxies_turn; /* of struct journal_proxy */
	_Atomic uint32_t proxies_top; /* no proxy has ever stood at this index or above */
};

struct journal;

/* Makes a journal in shared memory of its own, which a child inherits. MEMFD: behind a descriptor,
 * which journal_fd() returns, so that another program can take it over. Returns it, owned by the
 * caller, or NULL with errno. */
struct journal *journal_new(bool memfd);

/* Takes over the journal behind FD, which becomes its own. Returns NULL with ERROR filled, and FD
 * untouched, when it is none of ours or of another format. */
struct journal *journal_attach(int fd, struct mpu_error *error);

void journal_free(struct journal *journal);

/* The descriptor, borrowed; -1 where there is none. */
int journal_fd(const struct journal *journal);

struct journal_header *journal_header(struct journal *journal);

/* JOURNAL_COUNTERS bytes for the engine's counts, zero at first, aligned to a page. */
void *journal_counters(struct journal *journal);

struct roster *journal_roster(struct journal *journal);

struct journal_refusals *journal_refusals(struct journal *journal);

/* To be called in the process that works on the journal, before it takes slots: sorts out what is
 * free. Records of a former worker are left alone. */
void journal_begin(struct journal *journal);

/* Takes a free slot, all of it zero but its index. Returns NULL when all are in use. */
struct journal_slot *journal_take(struct journal *journal);

/* Gives a slot, and its desk, back. */
void journal_give(struct journal *journal, struct journal_slot *slot);

/* Done with what stands in SLOT, which is kept, with its desk, for the next. */
void journal_clear(struct journal *journal, struct journal_slot *slot);

/* Slot number INDEX, below JOURNAL_SLOTS. */
struct journal_slot *journal_slot(struct journal *journal, uint32_t index);

/* Gives SLOT a desk, if it has none yet. Returns it, or NULL when all are in use. */
struct journal_desk *journal_desk(struct journal *journal, struct journal_slot *slot);

/* Listener number INDEX, below JOURNAL_LISTENERS. */
struct journal_listener *journal_listener(struct journal *journal, uint32_t index);

/* Proxy number INDEX, below JOURNAL_PROXIES. */
struct journal_proxy *journal_proxy(struct journal *journal, uint32_t index);

/* Takes a free listener, which becomes PENDING, of a new generation, all else of it zero. Stores its
 * number in INDEX. Returns it, or NULL when all are in use. */
struct journal_listener *journal_take_listener(struct journal *journal, uint32_t *index);

#endif
