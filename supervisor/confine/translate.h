/* A driver call in another process's memory: the target's parameters, what they point to and the
 * descriptors in them are gathered in the area of a lane, and scattered back after the call. What
 * the driver sees lies in the area; no address and no number of the target's choice is left in it
 * where the driver would follow it. */
#ifndef SUPERVISOR_CONFINE_TRANSLATE_H
#define SUPERVISOR_CONFINE_TRANSLATE_H

#include "nvabi/policy.h"
#include "supervisor/confine/proxies.h"
#include "supervisor/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RECORD_PIECES = 16, /* the ioctl's own parameters, those behind them, what they lead to */
	RECORD_FIELDS = 32,
	TRANSLATE_FIRST = 4096, /* behind the record */
};

/* An address at which no process has memory: stands for whatever the target cannot read or write
 * itself, so that the driver finds that out in its own order of checks. */
#define TRANSLATE_UNREADABLE UINT64_C(0x1000)

/* Bytes of the area, and where they belong in the target. */
struct piece {
	uint64_t address;
	uint32_t offset, length;
	uint32_t directions;
};

/* A pointer or descriptor in the area, and what the target has there. */
struct field {
	uint32_t offset, width;
	uint64_t value;
};

/* All that is needed to finish a call that was sent to the proxy. It lies at the beginning of the
 * area, and the worker alone writes it, so that the worker's successor can read it. */
struct record {
	uint64_t id; /* of the notification */
	uint32_t piece_count, field_count;
	struct piece
	    piece[RECORD_PIECES]; /* the ioctl's own parameters first: they are written last */
	struct field field[RECORD_FIELDS];
	struct field returned; /* the descriptor that the driver may return; width 0: none */
	int32_t installed;     /* its number in the target, or -1 */
	uint32_t status;       /* where in the area the call's NV_STATUS stands; 0: it has none */
};

_Static_assert(sizeof(struct record) <= TRANSLATE_FIRST, "the record lies before the parameters");

struct translation {
	const struct target *target;
	bool use_pidfd_thread;
	uint8_t *area;
	uint64_t seen; /* the address of the lane's area in the proxy */
	uint32_t size, used;
	struct record *record;
	struct lane_request *request;
	int error; /* the first trouble of our own, negative */
};

/* Begins one in AREA of SIZE bytes for TARGET's notification ID. AREA is memory of our own, to be
 * copied into the lane's when all is there (struct lane says why): `seen` must be set before
 * pointers are made. REQUEST is borrowed. */
void translation_begin(struct translation *translation, const struct target *target,
		       bool use_pidfd_thread, uint8_t *area, uint32_t size, uint64_t id,
		       struct lane_request *request);

/* Closes the descriptors that were taken for the call, and one that it returned. */
void translation_end(struct lane_request *request);

/* Puts BYTES, LENGTH of them that were read from the target's ADDRESS before, into the area.
 * Returns their offset, 0 where there is no room. */
uint32_t translation_put(struct translation *translation, uint64_t address, const void *bytes,
			 uint32_t length, uint32_t directions);

/* Gathers LENGTH bytes of the target's memory at ADDRESS. Returns their offset, or 0 where there
 * are none, they cannot be read, or are too many. */
uint32_t translation_take(struct translation *translation, uint64_t address, uint64_t length,
			  uint32_t directions);

/* The u64 at OFFSET of the area, a pointer of the target's, becomes one to TO, an offset of the
 * area, or where that is 0 one that nobody can read. */
void translation_point(struct translation *translation, uint32_t offset, uint32_t to);

/* LENGTH bytes more, of nobody's, all zero. */
void translation_skip(struct translation *translation, uint32_t length);

/* What parameters are, by their size. */
enum translation_form {
	FORM_WHOLE,
	FORM_SHORT, /* the rule's short size */
	FORM_WRONG, /* neither: the driver refuses them, and follows nothing in them before */
};

/* Pointers and descriptors of RULE in the parameters of LENGTH bytes at BASE of the area. Those of
 * a wrong form lead nowhere. */
void translation_fields(struct translation *translation, const struct nvabi_rule *rule,
			uint32_t base, uint32_t length, enum translation_form form);

/* The target's descriptor NUMBER comes along with the call, though no parameter names it. */
void translation_bring(struct translation *translation, int number);

/* Whether all pointers of RULE in PARAMS for which nothing but NULL is allowed are NULL. */
bool translation_is_allowed(const struct nvabi_rule *rule, const uint8_t *params, uint32_t length);

/* The target's own values back into the area's parameters, after the call. */
void translation_restore(uint8_t *area);

/* Whether what a successor finds in AREA is a record of notification ID, and sound. */
bool translation_is_sound(const uint8_t *area, uint32_t size, uint64_t id);

/* Writes what the driver may have changed to the target TID, what is written last first; the target
 * of LISTENER's notification must still wait. Returns 0; -EFAULT where the ioctl's own parameters
 * cannot be written any more; -ESRCH where nobody waits; or -errno. */
int translation_scatter(int listener, pid_t tid, uint8_t *area);

#endif
