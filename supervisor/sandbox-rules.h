/* Who may make which system calls. */
#ifndef SUPERVISOR_SANDBOX_RULES_H
#define SUPERVISOR_SANDBOX_RULES_H

#include "supervisor/sandbox.h"

/* Makes the filter of ROLE for this architecture. METRICS: with what only SANDBOX_METRICS needs, for all
 * that make it. Returns 0 with PROGRAM owned by the caller, or -errno. */
int sandbox_make(enum sandbox_role role, bool metrics, struct filter_program *program);

#endif
