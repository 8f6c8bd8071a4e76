/* The record of every notification in flight, in shared memory, so that none is lost with the
 * worker that took it: the kernel fills the buffer of SECCOMP_IOCTL_NOTIF_RECV right here. */
#ifndef SUPERVISOR_JOURNAL_H
#define SUPERVISOR_JOURNAL_H

#include "nvabi/rm.h"

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum journal_phase {
	JOURNAL_FREE,	      /* nobody's; or taken by a ring that is about to receive */
	JOURNAL_RECEIVED,     /* the target waits; nothing was done for it */
	JOURNAL_IN_DRIVER,    /* the driver may be working on it */
	JOURNAL_ANSWER_READY, /* the driver is done, the target's memory untouched */
	JOURNAL_WRITING,      /* the target's memory may be half written */
};

/* One notification. 256 bytes, so that none crosses a page. The listener stands here before RECV is
 * called and the phase after it; the kernel writes the id before RECV returns. */
struct journal_slot {
	struct seccomp_notif notification;
	struct nvos54_parameters control; /* as read from the target, once */
	uint64_t control_address;	  /* where it was read */
	uint32_t listener;		  /* index in the engine's table */
	uint32_t generation;		  /* of that listener */
	uint32_t index;			  /* of this slot */
	uint32_t attempts;
	_Atomic uint32_t phase;
	_Atomic pid_t owner; /* thread that works on it */
	struct journal_slot *next; /* in a list of the owning process */
	uint64_t received_ns;	   /* CLOCK_MONOTONIC, when tracing or measuring */
};

_Static_assert(sizeof(struct journal_slot) <= 256, "a slot never crosses a page");

enum { JOURNAL_SLOTS = 1024, JOURNAL_SLOT_SIZE = 256 };

struct journal;

/* Makes a journal in shared anonymous memory. Returns it, or NULL with errno. */
struct journal *journal_new(void);
void journal_free(struct journal *journal);

/* Takes a free slot, all of it zero but its index. Returns NULL when all are in use. */
struct journal_slot *journal_take(struct journal *journal);

/* Gives a slot back. */
void journal_give(struct journal *journal, struct journal_slot *slot);

#endif
