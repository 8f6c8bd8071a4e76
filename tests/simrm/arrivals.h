/* What has reached the driver, and what must not: counts by call, caller and result, and an alarm
 * for calls and memory that a caller may not use. Off, it costs one look at a flag. */
#ifndef SIMRM_ARRIVALS_H
#define SIMRM_ARRIVALS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Who makes a call: the processes of a container by their PID namespace below simrm's own, those
 * that stand for them by the name that mpu gives them, and all else. */
enum arrival_from { FROM_HOST, FROM_PROXY, FROM_TARGET, FROM_KINDS };

enum arrival_kind {
	ARRIVAL_ESCAPE,
	ARRIVAL_CONTROL,
	ARRIVAL_CLASS,
	ARRIVAL_HEAP,	/* function of VID_HEAP_CONTROL */
	ARRIVAL_MEMORY, /* class of ALLOC_MEMORY */
	ARRIVAL_UVM,
	ARRIVAL_KINDS,
};

enum {
	ARRIVAL_RECORDS = 32768, /* a power of two */
	ARRIVAL_ALLOWED = 8192,	 /* as well */
	ARRIVAL_MASKED = 16,
	ARRIVAL_BREACHES = 100,
	ARRIVAL_CALLERS = 1024,
	ARRIVAL_LANES = 8,
};

struct arrival {
	enum arrival_kind kind;
	uint32_t number;
	int32_t result; /* negative errno, or the NV_STATUS in the parameters */
};

struct arrival_record {
	struct arrival call;
	enum arrival_from from;
	pid_t tgid;
	uint64_t count; /* 0: free */
};

/* A thread that has called, as it was then. */
struct arrival_caller {
	pid_t tid, tgid;
	enum arrival_from from;
	char name[16];
	unsigned lanes; /* shared memory without a name in the file system */
	struct {
		uint64_t start, end;
	} lane[ARRIVAL_LANES];
};

struct arrival_breach {
	const char *what; /* "call" or "memory" */
	struct arrival call;
	struct arrival_caller caller;
	uint64_t address, size;
};

struct arrivals {
	pthread_mutex_t lock;
	bool counting, alarm, lanes; /* lanes: proxies may have the driver use nothing else */
	struct arrival_record record[ARRIVAL_RECORDS];
	unsigned records;
	uint64_t total, unrecorded, breaches, sent[FROM_KINDS]; /* by sender */
	struct {
		bool used;
		enum arrival_from from;
		enum arrival_kind kind;
		uint32_t number;
	} allowed[ARRIVAL_ALLOWED];
	unsigned allowances;
	struct {
		enum arrival_from from;
		enum arrival_kind kind;
		uint32_t number, mask;
	} masked[ARRIVAL_MASKED];
	unsigned masks;
	struct arrival_breach breach[ARRIVAL_BREACHES];
	struct arrival_caller caller[ARRIVAL_CALLERS];
	uint64_t lane_accesses;
	dev_t ns_dev; /* simrm's PID namespace */
	ino_t ns_ino;
};

void arrivals_init(struct arrivals *arrivals);
void arrivals_destroy(struct arrivals *arrivals);

/* Counts a call that is done, made by thread TID. */
void arrivals_count(struct arrivals *arrivals, pid_t tid, const struct arrival *call);

/* A call is about to be served: raises the alarm where it is not allowed. Returns nothing, as the
 * driver would serve it too. */
void arrivals_check(struct arrivals *arrivals, pid_t tid, const struct arrival *call);

/* The driver is about to use SIZE bytes at ADDRESS of thread TID's memory. */
void arrivals_memory(struct arrivals *arrivals, pid_t tid, uint64_t address, uint64_t size);

/* Counts anew. */
void arrivals_start(struct arrivals *arrivals, bool on);
/* Sets the alarm off or on; forgets breaches, and where it is off what was allowed. */
void arrivals_alarm(struct arrivals *arrivals, bool on, bool lanes);
/* Allows all numbers that are NUMBER under MASK. */
int arrivals_allow(struct arrivals *arrivals, enum arrival_from from, enum arrival_kind kind,
		   uint32_t number, uint32_t mask);

int arrival_from_name(const char *name, enum arrival_from *from);
int arrival_kind_name(const char *name, enum arrival_kind *kind);

void arrivals_write(struct arrivals *arrivals, FILE *out);

#endif
