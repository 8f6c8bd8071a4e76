/* Parameters of a call as named values, by what nvabi knows of the release. */
#ifndef SUPERVISOR_TRACE_DECODE_H
#define SUPERVISOR_TRACE_DECODE_H

#include "nvabi/abi.h"
#include "supervisor/trace/values.h"

#include <sys/types.h>

/* Fields of an escape that lead further: the command or class by its name, and what the pointer to
 * the parameters points to. */
struct decode_inner {
	const char *field, *word;      /* "cmd" or "hClass", and its name; or NULL */
	const char *pointer;	       /* "params" or "pAllocParms", or NULL */
	const char *structure;	       /* behind it; NULL: not known */
	const uint8_t *bytes, *before; /* NULL: could not be read */
	uint32_t size;
	bool hide_status; /* it is not there yet */
};

struct decode {
	struct nvabi_abi *abi;
	struct values *values;
	unsigned int budget; /* scalars that may still be printed */
	/* Copies the caller's memory; returns 0 when all of it could be read. NULL: nested pointers
	 * are printed as addresses. */
	int (*read)(void *context, uint64_t address, void *bytes, size_t size);
	/* The number on the host of the process that the caller calls NUMBER, or 0. NULL: not
	 * looked up. */
	pid_t (*host_pid)(void *context, pid_t number);
	void *context;
	const struct decode_inner *inner; /* or NULL */
};

/* Prints SIZE bytes as STRUCTURE, or as a scalar type's word. With BEFORE, only the fields whose
 * bytes differ there. */
void decode_structure(struct decode *decode, const char *structure, const uint8_t *bytes,
		      uint32_t size, const uint8_t *before);

/* Prints bytes of which nothing is known. */
void decode_raw(struct decode *decode, const uint8_t *bytes, uint32_t size);

/* Where STRUCTURE has its status (u32: status, rmStatus), or -1. */
int decode_status_offset(struct nvabi_abi *abi, const char *structure);

#endif
