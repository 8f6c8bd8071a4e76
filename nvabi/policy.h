/* Which driver calls a confined container may make, release by release and capability by
 * capability, and what must be known to make them for it: how long the parameters are, which of
 * their fields are pointers or descriptors of the caller, and what lies behind the pointers.
 *
 * Compiled from nvabi/data/policy; more rows can be read from a file (allow.h). What has no rule is
 * refused. */
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

/* Adds to BITS what the word of LENGTH characters means ("all" gives several). Returns false for
 * any other word. */
bool nvabi_capability_parse(const char *word, size_t length, uint32_t *bits);

/* The word of one bit, or NULL where BIT is none. */
const char *nvabi_capability_name(uint32_t bit);

/* Kinds of rules: those of enum nvabi_kind, and two that are told by a field of the parameters. */
enum nvabi_policy_kind {
	NVABI_HEAP_FUNCTION = NVABI_KINDS, /* function of NV_ESC_RM_VID_HEAP_CONTROL */
	NVABI_MEMORY_CLASS,		   /* hClass of NV_ESC_RM_ALLOC_MEMORY */
	NVABI_POLICY_KINDS,
	/* A command of nvidia-modeset: no rule is of this kind. */
	NVABI_MODESET = NVABI_POLICY_KINDS,
	NVABI_UNKNOWN_KINDS,
};

/* "escape", "uvm", "control", "class", "heap", "memory", "modeset". */
const char *nvabi_policy_kind_name(uint32_t kind);

enum nvabi_way {
	NVABI_WAY_EXECUTE,  /* made from a copy by the proxy */
	NVABI_WAY_CONTINUE, /* bound to the caller's own memory: passed on after the check. Of these
			       `strict` allows UVM's only */
	NVABI_WAY_FIRMWARE, /* as NVABI_WAY_EXECUTE with the open kernel module, which hands such a
			       control unread to the GPU's firmware. What another module does with
			       it is not known, it could follow pointers: refused there */
	NVABI_WAYS,
};

/* "execute", "continue", "firmware". */
const char *nvabi_way_name(uint32_t way);

enum nvabi_direction { NVABI_IN = 1, NVABI_OUT = 2 };

/* Bytes behind a pointer: constant + scale * field, or with SQUARE constant + scale * field *
 * field. Where the field is above LIMIT, the driver refuses the call with NV_ERR_INVALID_ARGUMENT,
 * and so must who makes it; LIMIT is never 0 where there is a field, and bytes never exceed 1 MiB.
 */
struct nvabi_length {
	uint32_t constant;
	uint32_t offset; /* of the field, in the same parameters as the pointer */
	uint8_t width;	 /* of the field, 1, 2, 4 or 8; 0: no field */
	bool square;
	uint32_t scale;
	uint32_t limit;
};

/* A pointer of 8 bytes in the parameters. DIRECTIONS 0: nothing but NULL is allowed there, and the
 * call is refused with anything else. NULL is always allowed, and means no bytes. */
struct nvabi_pointer {
	uint32_t offset;
	uint8_t directions;
	bool whole; /* not there in the short form of the parameters */
	struct nvabi_length length;
};

/* A descriptor of the caller in the parameters. Negative: none. A number that is no open descriptor
 * is no reason to refuse: the driver says what it thinks of -1. */
struct nvabi_descriptor {
	uint32_t offset;
	uint8_t width; /* 4 or 8 */
	uint8_t directions;
};

/* One allowed call. The parameters of NV_ESC_RM_CONTROL and NV_ESC_RM_ALLOC that lie behind
 * `params` and `pAllocParms` are those of the control's or class's own rule and not among the
 * escape's pointers; so are function and hClass of the older calls rules of their own.
 *
 * SIZE is what the driver reads and writes, whatever paramsSize says: with NV_ESC_RM_ALLOC it asks
 * the class alone, and pAllocParms may be NULL; a control of another paramsSize than SIZE it
 * refuses with NV_ERR_INVALID_PARAM_STRUCT (some with NV_ERR_INVALID_ARGUMENT), after having read
 * SIZE bytes for a few. Parameters that say to be serialized (NVABI_SERIALIZED_CONTROL, _ALLOC in
 * their flags) are of another form, which no rule describes: refuse them. */
struct nvabi_rule {
	uint32_t kind; /* enum nvabi_kind, or enum nvabi_policy_kind */
	uint32_t number;
	const char *name; /* the driver's #define, or a number where it is known by no name */
	uint32_t capabilities;
	enum nvabi_way way;
	bool pattern;	 /* allowed with many others of its kind: refused under `strict`. NUMBER and
			    NAME are the pattern's, not those of the call */
	uint32_t size;	 /* of the parameters; 0: none, or what the caller says */
	uint32_t status; /* of an escape: offset of the NV_STATUS in the parameters; 0: none */
	uint32_t short_size; /* the driver takes this older, shorter form too, whose fields are
				where they are in the longer one but the status; 0: none */
	uint32_t short_status;
	const struct nvabi_pointer *pointers;
	uint32_t pointer_count;
	const struct nvabi_descriptor *descriptors;
	uint32_t descriptor_count;
	const char *reason; /* why it is there */
	bool added;	    /* a row that is not mpu's own allows it, or allows it to more */
};

/* The most that one structure of parameters may have: a call has room for no more. */
enum { NVABI_POINTERS = 12, NVABI_DESCRIPTORS = 6 };

/* What the rules are asked with and do not say. */
enum {
	NVABI_EVENT_CLASS = 5,	  /* hClass NV01_EVENT stands for another one, which is in ... */
	NVABI_EVENT_SUBCLASS = 8, /* ... the u32 at this offset of pAllocParms: ask for that */
	NVABI_SERIALIZED_CONTROL = 4, /* in NVOS54_PARAMETERS.flags */
	NVABI_SERIALIZED_ALLOC = 1,   /* in NVOS64_PARAMETERS.flags */
};

/* The rules of one release. Immutable: may be shared between threads. */
struct nvabi_policy;

/* Composes the rules of the release that stands for RUNNING. Returns 0, and in POLICY a handle to
 * be closed with nvabi_policy_close(); -ENOENT where nvabi_abi_open() says so; -ENOMEM. */
int nvabi_policy_open(const struct nvabi_version *running, struct nvabi_policy **policy);
void nvabi_policy_close(struct nvabi_policy *policy);

/* Whether a release of RUNNING's branch, its major number, is listed. Within a branch no release
 * has ever changed which escapes there are, or their sizes, but for one whose sizes are all known;
 * so what nvabi_confined_ioctls() says holds for the branch's unlisted releases too. Of another
 * branch nobody knows. */
bool nvabi_policy_knows_branch(const struct nvabi_version *running);

/* The release that stands for the one asked for. */
const struct nvabi_version *nvabi_policy_release(const struct nvabi_policy *policy);

/* The rule by kind and number: its own, else that of a pattern; NULL where no capability has it. */
const struct nvabi_rule *nvabi_policy_find(const struct nvabi_policy *policy, uint32_t kind,
					   uint32_t number);

/* How the driver answers a call that it does not know: by an errno of the ioctl, negative, or with
 * 0 by an NV_STATUS in its parameters. */
struct nvabi_answer {
	int errnum;
	uint32_t status;
};

/* The release's answer to calls of KIND, NVABI_MODESET among them. */
struct nvabi_answer nvabi_policy_unknown(const struct nvabi_policy *policy, uint32_t kind);

/* All rules, ordered by kind and number, behind them the patterns: INDEX from 0; NULL at the end.
 */
const struct nvabi_rule *nvabi_policy_rule(const struct nvabi_policy *policy, uint32_t index);

#endif
