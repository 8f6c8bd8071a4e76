/* mpu-run --stats */
#ifndef SUPERVISOR_RUN_STATS_H
#define SUPERVISOR_RUN_STATS_H

#include "supervisor/engine.h"
#include "supervisor/run/run.h"

/* Prints what ENGINE has counted in JOURNAL to standard error, as text or as one JSON object. */
void run_stats_print(struct engine *engine, struct journal *journal, const struct nvabi_pids *pids,
		     enum run_stats form);

#endif
