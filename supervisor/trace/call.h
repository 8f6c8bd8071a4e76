/* One call, from the moment at which it is trapped until its line is printed. */
#ifndef SUPERVISOR_TRACE_CALL_H
#define SUPERVISOR_TRACE_CALL_H

#include "nvabi/rm.h"
#include "supervisor/target.h"
#include "supervisor/trace/device.h"
#include "supervisor/trace/names.h"
#include "supervisor/trace/select.h"
#include "supervisor/trace/text.h"

#include <linux/seccomp.h>
#include <time.h>

/* A piece of the caller's memory. */
struct trace_piece {
	uint64_t address;
	uint32_t size;
	uint8_t *bytes; /* NULL: could not be read, or there is none */
};

/* What is known of the end of a call. */
enum trace_end {
	TRACE_UNSEEN,	  /* passed on, and nothing can be said */
	TRACE_UNFINISHED, /* passed on, and the thread is in it still */
	TRACE_READ,	  /* passed on; its status was read afterwards */
	TRACE_ANSWERED,	  /* executed, or refused, by the supervisor */
};

struct trace_call {
	struct trace_call *next; /* of those that are held back */
	/* Who, when, on what. */
	uint64_t id;
	pid_t tid, tgid, number; /* number: the process in its own PID namespace */
	struct timespec wall;
	uint64_t began_ns;
	enum trace_device device;
	int fd;
	char device_name[TRACE_DEVICE_NAME];
	/* The outer call: an escape or UVM's. */
	uint32_t request;
	enum nvabi_kind kind;
	uint32_t number_of_kind;
	const struct nvabi_call *outer; /* NULL: not known */
	struct trace_piece argument;
	int status_offset; /* in the argument, or -1 */
	/* The inner one: NVABI_CONTROL or NVABI_CLASS. */
	bool has_inner;
	enum nvabi_kind inner_kind;
	uint32_t inner_number;
	const struct nvabi_call *inner;
	struct trace_piece params;
	/* As text: what went in, and what came out. */
	struct text entered, left;
	bool unprinted; /* for want of room: not put into words */
	bool executed;
	uint64_t driver_ns;
	enum trace_end end;
	uint32_t status;
	bool has_status;
	int errnum; /* of an answered call */
};

/* Reads the call of NOTIFICATION, of which DEVICE, NAME and what follows is known. Returns it,
 * owned by the caller, or NULL without memory. */
struct trace_call *trace_call_new(const struct seccomp_notif *notification,
				  enum trace_device device, const char *name,
				  const struct names *names, struct nvabi_abi *abi);
void trace_call_free(struct trace_call *call);

/* Reads what the params and the argument hold now into AFTER, two pieces whose bytes the caller
 * frees. */
void trace_call_read_again(const struct trace_call *call, struct trace_piece *after);

/* Reads the status of a call that was passed on and is over. NEXT (or NULL) and NEXT_SIZE: the
 * memory that the thread uses for its next call. */
void trace_call_read_status(struct trace_call *call, uint64_t next, uint32_t next_size);

/* Whether the driver hands the inner call on to firmware unnamed (bit 15). */
bool trace_call_is_legacy(const struct trace_call *call);

/* Its names for the selection. Returns how many. */
enum { TRACE_NAMES = 2 };
unsigned int trace_call_names(const struct trace_call *call, struct select_name names[TRACE_NAMES]);

#endif
