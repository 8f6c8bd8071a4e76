/* The driver's whole ABI, release by release: escapes, UVM ioctls, controls and allocation classes,
 * with their parameter structures field by field. Read by nvabi-extract from the headers of the
 * public releases 515.43.04 to 595.45.04; the closed majors before have no ABI here. */
#ifndef NVABI_ABI_H
#define NVABI_ABI_H

#include "nvabi/releases.h"

#include <stdbool.h>
#include <stdint.h>

enum nvabi_kind {
	NVABI_ESCAPE,  /* NV_ESC_*: an ioctl of /dev/nvidiactl or /dev/nvidiaN, by _IOC_NR */
	NVABI_UVM,     /* UVM_*: an ioctl of /dev/nvidia-uvm, the bare number */
	NVABI_CONTROL, /* NVxxxx_CTRL_*: the cmd of NV_ESC_RM_CONTROL */
	NVABI_CLASS,   /* the hClass of NV_ESC_RM_ALLOC */
	NVABI_KINDS,
};

/* "escape", "uvm", "control", "class". */
const char *nvabi_kind_name(enum nvabi_kind kind);

/* What a field means beyond its type. */
enum nvabi_role {
	NVABI_ROLE_NONE,
	NVABI_ROLE_POINTER, /* a user pointer (NvP64, or annotated) */
	NVABI_ROLE_FD,	    /* a file descriptor of the caller */
	NVABI_ROLE_PID,	    /* a process or thread id */
	NVABI_ROLE_CLIENT,  /* an RM client handle */
	NVABI_ROLE_OBJECT,  /* another RM object handle */
	NVABI_ROLE_COUNT,   /* says how much of a list or of memory behind a pointer is used */
	NVABI_ROLE_KERNEL,  /* a kernel address, which must not leave the host */
	NVABI_ROLES,
};

/* "", "pointer", "fd", "pid", "client", "object", "count", "kernel". */
const char *nvabi_role_name(enum nvabi_role role);

/* One call of a release. Strings are constants of the tables. */
struct nvabi_call {
	enum nvabi_kind kind;
	const char *name; /* the driver's #define */
	uint32_t number;
	const char *structure; /* of the parameters; NULL: none, or none in the public headers */
	uint32_t size;	       /* bytes; 0 without a structure */
	uint32_t align;
	bool unnamed; /* no public header has this name */
};

/* A field. Offsets and sizes in bytes. */
struct nvabi_field {
	const char
	    *name; /* path from the parameters: "pidInfoList[].data.vidMemUsage.memPrivate" */
	const char *type; /* scalar word of nvabi/data/abi, or the name of a structure or union */
	const char *dims; /* "" or "[4]", "[4][2]" */
	uint32_t offset;  /* of its first element, from the start of the parameters */
	uint32_t size;	  /* of all elements */
	uint32_t count;	  /* elements, 1 for no array */
	enum nvabi_role role;
	const char *length; /* for pointers: bytes or elements behind it, an expression over fields;
			       NULL where it is not known */
};

/* One release's ABI. Not to be shared between threads: sizes are worked out when first asked. */
struct nvabi_abi;

/* Composes the ABI of the release that stands for RUNNING. Returns 0, and in ABI a handle to be
 * closed with nvabi_abi_close(); -ENOENT for drivers older than R418 and for releases of which no
 * header is public; -ENOMEM. Under 1 ms. */
int nvabi_abi_open(const struct nvabi_version *running, struct nvabi_abi **abi);
void nvabi_abi_close(struct nvabi_abi *abi);

/* The release that stands for the one asked for, and how it was found. */
const struct nvabi_version *nvabi_abi_release(const struct nvabi_abi *abi, enum nvabi_match *match);

/* Whether the release's source is not public: only part of its ABI is known then, from other
 * projects' public facts, and what is not known is as in the newest release that is. */
bool nvabi_abi_partial(const struct nvabi_abi *abi);

/* The partial releases, INDEX from 0; NULL behind the last. They are not among nvabi_release_*().
 */
const struct nvabi_version *nvabi_partial_release(uint32_t index);

/* Walks the calls, ordered by kind and name: *CURSOR starts at 0. Returns false at the end. */
bool nvabi_abi_next(struct nvabi_abi *abi, uint32_t *cursor, struct nvabi_call *call);

/* The call of that name. Returns false where the release has none. */
bool nvabi_abi_by_name(struct nvabi_abi *abi, const char *name, struct nvabi_call *call);

/* The next call with that number, of any kind, from *CURSOR on. Returns false at the end. */
bool nvabi_abi_by_number(struct nvabi_abi *abi, uint32_t number, uint32_t *cursor,
			 struct nvabi_call *call);

/* The size and alignment of a structure, union or scalar word. Returns false where the release has
 * no such structure. */
bool nvabi_abi_size(struct nvabi_abi *abi, const char *structure, uint32_t *size, uint32_t *align);

/* Called for each field; a value other than 0 ends the walk and is returned. */
typedef int nvabi_field_fn(const struct nvabi_field *field, void *context);

/* Walks the fields of STRUCTURE in their order. With DEEP, each field that is itself a structure is
 * followed by the fields in it. Returns 0, what FN returned, or -ENOENT. */
int nvabi_abi_fields(struct nvabi_abi *abi, const char *structure, bool deep, nvabi_field_fn *fn,
		     void *context);

/* How C code writes a structure's type: most by a typedef, some by their tag only. Those that are
 * the type of a member alone have no name in C and are called OUTER.member here. */
enum nvabi_tag { NVABI_TYPEDEF, NVABI_STRUCT_TAG, NVABI_UNION_TAG };

/* Walks the names of all structures, sorted: *CURSOR starts at 0. Returns NULL at the end. */
const char *nvabi_abi_next_structure(struct nvabi_abi *abi, uint32_t *cursor, enum nvabi_tag *tag);

/* The name of an NV_STATUS code (NV_OK, NV_ERR_...), or NULL where the release has no such code. */
const char *nvabi_abi_status(const struct nvabi_abi *abi, uint32_t status);

/* An installer by its SHA-256 (64 hexadecimal digits), from NVIDIA's published files. */
struct nvabi_installer {
	struct nvabi_version version;
	const char *arch;   /* "x86_64" or "aarch64" */
	const char *sha256; /* 64 digits, lower case */
};

/* The installer with that checksum, or NULL. */
const struct nvabi_installer *nvabi_installer_find(const char *sha256);

/* Whether the release is qualified: known by the checksum of an installer. */
bool nvabi_release_qualified(const struct nvabi_version *version);

#endif
