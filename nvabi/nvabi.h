/* libnvabi: the ABI of the NVIDIA kernel driver, release by release, for programs in C and C++.
 *
 *	struct nvabi_version version;
 *	struct nvabi_abi *abi;
 *	struct nvabi_call call;
 *
 *	if (!nvabi_version_parse("580.95.05", &version) && !nvabi_abi_open(&version, &abi)) {
 *		if (nvabi_abi_by_name(abi, "NV2080_CTRL_CMD_GPU_GET_PIDS", &call))
 *			printf("0x%x, %u bytes\n", call.number, call.size);
 *		nvabi_abi_close(abi);
 *	}
 *
 * version.h reads and writes the driver's versions, releases.h walks the tree of releases, abi.h
 * has escapes, UVM ioctls, controls and classes with their parameters field by field. All knowledge
 * is compiled in: no call reads a file, asks the driver or starts a thread, and none has state
 * beside the handle. What is not declared here is none of the library's symbols.
 *
 * While the library's version begins with 0, a change of these declarations changes the soname. */
#ifndef NVABI_NVABI_H
#define NVABI_NVABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "nvabi/abi.h"
#include "nvabi/releases.h"
#include "nvabi/version.h"

#ifdef __cplusplus
}
#endif

#endif
