/* Calls that a confined container may not make: answered as the driver answers a call that it does
 * not know, logged once for each call and container, and counted. */
#ifndef SUPERVISOR_CONFINE_REFUSE_H
#define SUPERVISOR_CONFINE_REFUSE_H

#include "nvabi/policy.h"
#include "supervisor/journal.h"

#include <stdint.h>

/* "escape", "modeset", "others" and so on. */
const char *refused_kind_name(uint32_t kind);

/* The driver's own name for it, or NULL where none is public. ABI may be NULL. */
const char *refused_name(struct nvabi_abi *abi, uint32_t kind, uint32_t number);

/* One call, of whatever sizes. */
struct refused_call {
	uint32_t kind, number;
	const struct nvabi_rule *rule; /* another capability's, or NULL */
};

/* Rows of one container; what else it is refused is counted in one row more, of this kind. */
enum { REFUSED_ROWS = 64, REFUSED_OTHERS = UINT32_MAX };

/* Counts CALL of the container LABEL, whose settings are CONFINE, in JOURNAL, and logs it where it
 * is the first of its kind there, by its name in the release that stands for DRIVER. From any
 * thread. */
void refused_count(struct journal *journal, const char *label, uint32_t confine,
		   const struct nvabi_version *driver, const struct refused_call *call);

/* Copies the rows in use into ROWS, returns how many; FORGOTTEN: the calls of rows that had to go.
 */
uint32_t refused_rows(struct journal *journal, struct journal_refused rows[JOURNAL_REFUSED],
		      uint64_t *forgotten);

#endif
