/* What simrm knows of a driver release: its PID semantics, read at run time from
 * pid-semantics.csv and driver-tree.csv, and the layouts that simrm itself has read from the
 * headers. Nothing here comes from nvabi, so that each can catch the other's mistakes. */
#ifndef SIMRM_RELEASE_H
#define SIMRM_RELEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct sim_version {
	unsigned major, minor, patch, parts;
};

/* Whose numbers a control speaks: the words of pid-semantics.csv. */
enum pid_space {
	SPACE_GLOBAL,
	SPACE_CALLER_NS,
	SPACE_CALLER_NS_PARTIAL,
	SPACE_MIXED,
};

enum pid_kind { KIND_TGID, KIND_TID };

struct release {
	struct sim_version version;  /* as asked for */
	struct sim_version semantic; /* the listed release whose row is used; parts 0: none */
	char text[24];
	enum pid_space get_pids, get_pid_info, util, accounting;
	enum pid_kind kind;
	bool util_raw_for_init_ns;

	/* Layouts and behaviour, from the release's headers and source. */
	unsigned pid_info_stride; /* 40 (R440), 48 (R460), 72 */
	unsigned util_samples;	  /* in the ring: 100 or 72 */
	unsigned util_engines;	  /* 4 (fb, gr, nvenc, nvdec) or 6 (nvjpg, nvofa) */
	bool util_os_pid_info;	  /* each engine also has the address of a struct pid */
	bool util_v1;		  /* 0x2080a083 is exported */
	bool nvenc_v2;		  /* 0x208001af */
	unsigned rusd_params;	  /* bytes of class 0x00de's parameters, 0: no such class */
	bool rusd_proc_util;	  /* RUSD carries processes, and 0x208001ea exists */
	bool video_bind;	  /* 0x20800309 */
	bool
	    size_checked_first; /* wrong size: 0x1f before the client, else 0x3a after the object */
	bool ioctl_size_first;	/* an ioctl's size is checked before its data is read */
	bool alloc_params_size; /* NVOS21 and NVOS64 have paramsSize */
	bool alloc_flags;	/* NVOS64 has flags */
	bool probed_flags;	/* GET_PROBED_IDS has gpuFlags */
	unsigned fb_info_list;	/* entries of FB_GET_INFO_V2 */
	bool memory_numa_node;	/* NV_MEMORY_ALLOCATION_PARAMS is 128 bytes, not 120 */
};

/* Parses "535.104.05". Returns 0 or -EINVAL. */
int sim_version_parse(const char *text, struct sim_version *version);
int sim_version_compare(const struct sim_version *a, const struct sim_version *b);

/* Composes RELEASE for the version TEXT from the CSV files in the folder DATA. Returns 0 or a
 * negative errno with ERROR filled. A release that is not listed takes the row of the nearest
 * older one of its major, or, where there is none, of the nearest older one; one older than all
 * speaks host PIDs everywhere. */
int release_load(const char *data, const char *text, struct release *release,
		 struct mpu_error *error);

#endif
