/* Which driver calls a confined container may make, release by release and capability by
 * capability, and what must be known to make them for it: how long the parameters are, which of
 * their fields are pointers or descriptors of the caller, and what lies behind the pointers.
 *
 * Compiled from nvabi/data/policy. What has no rule is refused. */
#ifndef NVABI_POLICY_H
#define NVABI_POLICY_H

#include "nvabi/abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The words of NVIDIA_DRIVER_CAPABILITIES, and three that `all` never contains. */
enum nvabi_capability {
	NVABI_CAP_COMPUTE = 1 << 0,
	NVABI_CAP_UTILITY = 1 << 1,
	NVABI_CAP_GRAPHICS = 1 << 2,
	NVABI_CAP_VIDEO = 1 << 3,
	NVABI_CAP_DISPLAY = 1 << 4,
	NVABI_CAP_NGX = 1 << 5,
	NVABI_CAP_COMPAT32 = 1 << 6,
	NVABI_CAP_PROFILING = 1 << 7,
	NVABI_CAP_RDMA = 1 << 8,
	NVABI_CAP_FABRIC_IMEX = 1 << 9,
};

enum { NVABI_CAPS_ALL = (1 << 7) - 1, NVABI_CAPS = (1 << 10) - 1 };

/* Sets in BITS what the word of LENGTH characters means ("all" gives several). Returns false for
 * any other word. */
bool nvabi_capability_parse(const char *word, size_t length, uint32_t *bits);

/* The word of one bit, or NULL where BIT is none. */
const char *nvabi_capability_name(uint32_t bit);

/* Kinds of rules: those of enum nvabi_kind, and two that are told by a field of the parameters. */
enum nvabi_policy_kind {
	NVABI_HEAP_FUNCTION = NVABI_KINDS, /* function of NV_ESC_RM_VID_HEAP_CONTROL */
	NVABI_MEMORY_CLASS,		   /* hClass of NV_ESC_RM_ALLOC_MEMORY */
	NVABI_POLICY_KINDS,
};

/* "escape", "uvm", "control", "class", "heap", "memory". */
const char *nvabi_policy_kind_name(uint32_t kind);

enum nvabi_way {
	NVABI_WAY_EXECUTE,  /* made from a copy by the proxy */
	NVABI_WAY_CONTINUE, /* bound to the caller's own memory: goes on after the check, except
			       UVM's it is refused under `strict` */
};

enum nvabi_direction { NVABI_IN = 1, NVABI_OUT = 2 };

/* Bytes behind a pointer: constant + scale * field, or with SQUARE constant + scale * field *
 * field. Where the field is above LIMIT, the driver refuses the call, and so must who makes it. */
struct nvabi_length {
	uint32_t constant;
	uint32_t offset; /* of the field, in the same parameters as the pointer */
	uint8_t width;	 /* of the field, 1, 2, 4 or 8; 0: no field */
	bool square;
	uint32_t scale;
	uint32_t limit; /* 0: none known */
};

/* A pointer of 8 bytes in the parameters. DIRECTIONS 0: nothing but NULL is allowed there, and the
 * call is refused with anything else. NULL is always allowed. */
struct nvabi_pointer {
	uint32_t offset;
	uint8_t directions;
	struct nvabi_length length;
};

/* A descriptor of the caller in the parameters. Negative: none. */
struct nvabi_descriptor {
	uint32_t offset;
	uint8_t width; /* 4 or 8 */
	uint8_t directions;
};

/* One allowed call. */
struct nvabi_rule {
	uint32_t kind; /* enum nvabi_kind, or enum nvabi_policy_kind */
	uint32_t number;
	const char *name; /* the driver's #define */
	uint32_t capabilities;
	enum nvabi_way way;
	uint32_t size;	     /* of the parameters; 0: what the caller says */
	uint32_t short_size; /* the driver takes this older, shorter form too, whose fields are
				where they are in the longer one; 0: none */
	const struct nvabi_pointer *pointers;
	uint32_t pointer_count;
	const struct nvabi_descriptor *descriptors;
	uint32_t descriptor_count;
	const char *reason; /* why it is there */
};

/* The rules of one release. Immutable: may be shared between threads. */
struct nvabi_policy;

/* Composes the rules of the release that stands for RUNNING. Returns 0, and in POLICY a handle to
 * be closed with nvabi_policy_close(); -ENOENT where nvabi_abi_open() says so; -ENOMEM. */
int nvabi_policy_open(const struct nvabi_version *running, struct nvabi_policy **policy);
void nvabi_policy_close(struct nvabi_policy *policy);

/* The release that stands for the one asked for. */
const struct nvabi_version *nvabi_policy_release(const struct nvabi_policy *policy);

/* The rule by kind and number; NULL where no capability has it. */
const struct nvabi_rule *nvabi_policy_find(const struct nvabi_policy *policy, uint32_t kind,
					   uint32_t number);

/* All rules, ordered by kind and number: INDEX from 0; NULL behind the last. */
const struct nvabi_rule *nvabi_policy_rule(const struct nvabi_policy *policy, uint32_t index);

#endif
