/* Which controls are handled for whom; what is not handled the driver answers itself. */
#ifndef SUPERVISOR_POLICY_H
#define SUPERVISOR_POLICY_H

#include "nvabi/pids.h"
#include "supervisor/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether CONTROL is handled under SETTINGS for a target that lives in the initial PID namespace
 * (IN_INIT_NS) or in another one. */
bool policy_handles(const struct nvabi_pids *pids, const struct mpu_settings *settings,
		    const struct nvabi_pid_control *control, bool in_init_ns);

/* The commands that may have to be handled under one set of settings: all that the fast path asks.
 * Open addressing; 0 marks a free slot (no control has the number 0). */
enum { WATCH_SLOTS = 64 };
struct watch_table {
	uint32_t slot[WATCH_SLOTS];
};

void watch_table_build(struct watch_table *table, const struct nvabi_pids *pids,
		       const struct mpu_settings *settings);

static inline uint32_t watch_hash(uint32_t cmd)
{
	return (cmd * 0x9e3779b1U) >> 26;
}

static inline bool watch_table_has(const struct watch_table *table, uint32_t cmd)
{
	uint32_t at = watch_hash(cmd);

	while (table->slot[at] && table->slot[at] != cmd)
		at = (at + 1) % WATCH_SLOTS;
	return table->slot[at] != 0;
}

#endif
