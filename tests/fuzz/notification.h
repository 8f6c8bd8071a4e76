/* The life of one ioctl with a driver that answers whatever the input says. */
#ifndef FUZZ_NOTIFICATION_H
#define FUZZ_NOTIFICATION_H

#include "nvabi/rm.h"
#include "supervisor/engine-private.h"
#include "tests/fuzz/fuzz.h"

/* Processes about which the driver may speak. Made once. */
enum { WORLD_PIDS = 32 };
struct world {
	int device; /* stands for the control device; some processes hold it open */
	int ns;	    /* the container */
	uint64_t ns_id;
	/* Who lives in the container and who has ended there: by the numbers of our namespace
	 * (processes and their threads) and by its own. */
	pid_t inside[WORLD_PIDS], number[WORLD_PIDS];
	size_t inside_count, number_count;
	/* Numbers of all kinds, also of other processes and of none, for the driver to name. */
	uint32_t anyone[WORLD_PIDS];
	size_t anyone_count;
	struct roster *roster; /* has seen the one who has ended */
};

void world_make(struct world *world);
/* Where its control device lies. */
struct driver_file world_device_file(const struct world *world);
bool world_has_number(const struct world *world, uint32_t number);
bool world_has_inside(const struct world *world, uint32_t pid);

/* How the input starts. */
struct script {
	uint16_t release;
	uint8_t control;
	uint8_t caller;	  /* CALLER_ */
	uint8_t driver;	  /* DRIVER_ */
	uint8_t pointer;  /* POINTER_ */
	uint8_t patience; /* how often the target is still there, with DRIVER_TARGET_GOES */
	uint8_t trouble;  /* calls before this one that could not be answered */
	uint32_t size;	 /* of the params, with CALLER_ODD_SIZE */
	uint32_t status; /* with DRIVER_REFUSES */
};

enum {
	CALLER_VIEWS_HOST = 1 << 0,
	CALLER_NSPID = 1 << 1,
	CALLER_WRAPS = 1 << 2, /* NV_ESC_IOCTL_XFER_CMD */
	CALLER_POLICY_ALWAYS = 1 << 3,
	CALLER_DENIES_SHARED = 1 << 4,
	CALLER_ODD_SIZE = 1 << 5,
	CALLER_ON_HOST = 1 << 6,
	CALLER_PLACES_PIDS = 1 << 7,

	DRIVER_PLACES_PIDS = 1 << 0,
	DRIVER_REFUSES = 1 << 1,
	DRIVER_FAILS = 1 << 2,
	DRIVER_TARGET_GOES = 1 << 3,
	DRIVER_FD_CLOSED = 1 << 4,
	DRIVER_KNOWS_ALL = 1 << 5, /* also a control that no release has */
	DRIVER_COUNTS_MORE = 1 << 6,
	DRIVER_COUNTS_FULL = 1 << 7,

	POINTER_PARAMS = 3, /* mask: POINTER_VALID ... */
	POINTER_LIST = 3 << 2,
	POINTER_VALID = 0,
	POINTER_NULL = 1,
	POINTER_UNMAPPED = 2,
	POINTER_WILD = 3,
};

/* One execution. */
struct run {
	const struct world *world;
	struct script script;
	struct fuzz_stream caller, driver; /* what the target and the driver write */
	const struct nvabi_pids *pids;
	const struct nvabi_pid_control *layout; /* NULL: a control without PIDs */
	bool in_container; /* what comes back must speak the container's numbers */
	/* The target's memory, between guards. */
	uint8_t *params, *params_before, *list, *list_before;
	size_t params_size, list_size;
	struct nvos54_parameters control, control_before;
	/* What became of it. */
	unsigned int answered, continued, valid_left;
	int errnum;
	bool went_away;
};

/* What must hold of an answer. */
void run_check(const struct run *run);
/* What must hold of the questions that the driver is asked. */
void run_check_question(const struct run *run, const struct nvos54_parameters *control);

#endif
