/* A call of /dev/nvidiactl, /dev/nvidiaN or /dev/nvidia-uvm: which one it is, whether it is allowed, and how it is
 * made by another process. */
#ifndef SUPERVISOR_CONFINE_ESCAPE_H
#define SUPERVISOR_CONFINE_ESCAPE_H

#include "nvabi/policy.h"
#include "nvabi/rm.h"
#include "supervisor/confine/refuse.h"
#include "supervisor/confine/translate.h"
#include "supervisor/engine-private.h"

enum verdict {
	VERDICT_EXECUTE,
	VERDICT_HANDLE,	  /* it carries process ids: call.c's, which executes a copy too */
	VERDICT_CONTINUE, /* bound to the target's own memory */
	VERDICT_REFUSE,	  /* `refused` says what */
	VERDICT_ANSWER,	  /* `answer` is the driver's, which need not be asked */
	VERDICT_NOTHING,  /* a call that the driver answers NV_OK to, and does nothing */
	VERDICT_TROUBLE,  /* of our own */
};

/* One call of a confined container. */
struct confined {
	struct executor *executor;
	struct listener *listener;
	struct journal_slot *slot;
	uint32_t confine; /* of the settings */
	/* Who calls, and a duplicate of its open file; owned. */
	struct target target;
	int fd;
	/* What is called: the number, and where its parameters lie, whether plain or in an
	 * envelope. */
	uint32_t number, size;
	uint64_t address;
	bool wrapped;
	/* The rules for it and for what its parameters name, where these are told apart further. */
	const struct nvabi_rule *rule, *inner;
	uint32_t own;	 /* the ioctl's parameters, in the area */
	uint32_t behind; /* those of a control or class; 0: none */
	struct translation translation;
	struct lane_request request;
	struct refused_call refused;
	int answer; /* negative errno */
};

/* Copies what decides, and decides. */
enum verdict escape_decide(struct confined *call);

/* The same for a call of /dev/nvidia-uvm. */
enum verdict escape_decide_uvm(struct confined *call);

/* The rule of KIND and NUMBER: refused where there is none for the container, else by its way. */
enum verdict escape_look_up(struct confined *call, uint32_t kind, uint32_t number);

/* The driver answers ERRNUM, negative. */
enum verdict escape_answer(struct confined *call, int errnum);

/* What was gathered becomes a call in a lane whose area the proxy has at ADDRESS. Trouble is left
 * in call->translation.error. */
void escape_translate(struct confined *call, uint64_t address);

/* Where the NV_STATUS of a control, class, heap function or memory class stands in the ioctl's own
 * parameters; 0 for all others. */
uint32_t escape_status_offset(const struct confined *call);

#endif
