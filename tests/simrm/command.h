/* The commands by which a test directs simrm (README.md). */
#ifndef SIMRM_COMMAND_H
#define SIMRM_COMMAND_H

#include "tests/simrm/driver.h"

/* Carries out one line. Returns 0 or a negative errno. */
int command_run(struct driver *driver, const char *line);

#endif
