#ifndef NVABI_TOOLS_ABI_COMMAND_H
#define NVABI_TOOLS_ABI_COMMAND_H

/* `mpuctl abi`: answers from the tables in the program, without driver or daemon. ARGV[0] is "abi".
 * Returns the exit status: 0, 1 on failure (with a line on standard error), 2 for wrong usage. */
int abi_command(int argc, char **argv);

#endif
