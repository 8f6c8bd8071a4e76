/* `mpuctl abi policy-from-trace`: what a program called and no rule allows, as rows for mpud
 * --allow. */
#ifndef NVABI_TOOLS_FROM_TRACE_H
#define NVABI_TOOLS_FROM_TRACE_H

/* Runs it; argv[0] is its name. Returns the exit status. */
int from_trace_command(int argc, char **argv);

#endif
