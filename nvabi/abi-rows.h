/* A release as rows of text: private to nvabi's tools and tests. */
#ifndef NVABI_ABI_ROWS_H
#define NVABI_ABI_ROWS_H

#include "nvabi/abi.h"

#include <stdio.h>

/* Writes the release as rows of nvabi/data/abi, in the order in which nvabi-extract writes them. */
void nvabi_abi_write_rows(struct nvabi_abi *abi, FILE *out);

#endif
