#ifndef NVABI_TOOLS_SHA256_H
#define NVABI_TOOLS_SHA256_H

#include <stdio.h>

/* The SHA-256 (FIPS 180-4) of what FILE holds from where it stands, as 64 hexadecimal digits and a
 * NUL. Returns 0, or -EIO when FILE cannot be read. */
int sha256_file(FILE *file, char digits[65]);

#endif
