/* `mpuctl abi policy`: what a confined container may do. */
#ifndef NVABI_TOOLS_POLICY_COMMAND_H
#define NVABI_TOOLS_POLICY_COMMAND_H

#include "base/error.h"

#include <stdbool.h>

/* Prints the rules of the release VERSION, one a line: all of them, or with WORDS those that a
 * container with these capabilities ("compute,utility") has; with the word `strict` among them, as
 * strict leaves them; and with ALLOW, as the rows of that file add to them. Returns 0 or -errno
 * with ERROR filled. */
int policy_print(const char *version, const char *words, const char *allow, bool json,
		 struct mpu_error *error);

#endif
