/* The tables as the programs carry them: rows of constants in the order of the tree. Private to
 * nvabi; tools/load-*.c makes the same rows from text. */
#ifndef NVABI_TABLES_H
#define NVABI_TABLES_H

#include "nvabi/pids.h"

/* One node of the tree: a release, or a closed major (one part). Parents stand anywhere. */
struct nvabi_release {
	struct nvabi_version version;
	int16_t parent; /* index, -1 for the root */
	bool side;	/* on a branch that left the main line and keeps its own minor number */
	bool partial;	/* known from other projects' public facts only */
};

enum nvabi_semantics_field {
	NVABI_FIELD_GET_PIDS,
	NVABI_FIELD_GET_PID_INFO,
	NVABI_FIELD_UTIL_SAMPLES,
	NVABI_FIELD_ACCOUNTING,
	NVABI_FIELD_KIND,
	NVABI_FIELD_UTIL_RAW_FOR_INIT_NS,
	NVABI_SEMANTICS_FIELDS,
};

/* At RELEASE, the fields whose bit is set in SET take these values. */
struct nvabi_semantics_change {
	uint16_t release;
	uint8_t set;
	uint8_t value[NVABI_SEMANTICS_FIELDS];
};

/* At RELEASE, the control appears or changes to this, or goes (control.size and assumed_size 0). */
struct nvabi_control_change {
	uint16_t release;
	struct nvabi_pid_control control;
};

struct nvabi_pid_tables {
	const struct nvabi_release *release;
	uint32_t release_count;
	const struct nvabi_semantics_change *semantics;
	uint32_t semantics_count;
	const struct nvabi_control_change *control;
	uint32_t control_count;
};

/* Compiled from data/. */
extern const struct nvabi_pid_tables nvabi_pid_tables;

/* The release that stands for VERSION: its index, with MATCH saying how it was found, or -ENOENT.
 */
int nvabi_tree_find(const struct nvabi_release *release, uint32_t count,
		    const struct nvabi_version *version, enum nvabi_match *match);

/* nvabi_pids_compose() on the given tables. */
int nvabi_pids_compose_from(const struct nvabi_pid_tables *tables,
			    const struct nvabi_version *running, struct nvabi_pids *pids);

#endif
