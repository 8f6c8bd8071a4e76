/* What simrm is told to do wrong, and what it has counted: delays, failures and blocks of chosen
 * calls; calls served, per control and caller. */
#ifndef SIMRM_FAULT_H
#define SIMRM_FAULT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { FAULT_RULES = 64, CALL_RECORDS = 4096 };

/* In place of a call's number: any ioctl; any RM control. */
#define FAULT_ANY	  UINT32_MAX
#define FAULT_ANY_CONTROL (UINT32_MAX - 1)

enum fault_kind { FAULT_DELAY, FAULT_ERRNO, FAULT_STATUS, FAULT_BLOCK, FAULT_KILL };

struct fault_rule {
	bool used;
	enum fault_kind kind;
	uint32_t cmd;	    /* a control, an escape's number, FAULT_ANY or FAULT_ANY_CONTROL */
	uint32_t value;	    /* ms, errno, NV_STATUS or signal */
	uint32_t remaining; /* calls; UINT32_MAX: until cleared */
	uint32_t per_mille; /* 1000: each call; below, some, the same ones in each run */
	bool interruptible; /* FAULT_BLOCK, FAULT_DELAY: a signal ends the call with EINTR */
};

/* Calls of one control by one kind of caller. */
struct call_record {
	uint32_t cmd;
	bool control; /* cmd is a control, else an escape */
	pid_t tgid, tid;
	uid_t euid;
	bool admin;
	uint64_t count;
};

struct faults {
	pthread_mutex_t lock;
	pthread_cond_t released;
	struct fault_rule rule[FAULT_RULES];
	struct call_record record[CALL_RECORDS];
	unsigned records;
	uint64_t calls, unrecorded;
	unsigned blocked; /* calls that wait now */
	unsigned generation;
	uint32_t random;
	bool stopping;
	bool recording; /* by caller, not only by call */
};

/* What a call must do in place of its work, and what becomes of its caller. */
struct fault_action {
	int error;	 /* negative errno, 0 for none */
	uint32_t status; /* NV_STATUS, 0 for none */
	int signal;	 /* for the calling thread, 0 for none */
};

void faults_init(struct faults *faults);
void faults_destroy(struct faults *faults);

/* Applies the rules for CMD, a control or an escape: waits as told, then says what to fail with.
 * INTERRUPTED (may be NULL) tells whether the caller has a signal. */
struct fault_action faults_apply(struct faults *faults, uint32_t cmd, bool control,
				 bool (*interrupted)(void *context), void *context);

int faults_add(struct faults *faults, const struct fault_rule *rule);
/* Drops the rules for CMD (FAULT_ANY: all) and lets blocked calls go on. */
void faults_clear(struct faults *faults, uint32_t cmd);
/* Lets all blocked calls go on for good, within 10 ms: simrm ends. May be called by a signal
 * handler. */
void faults_stop(struct faults *faults);

/* Counts a call. CALL tells the caller only where faults_recording(): who calls costs a look at
 * /proc. */
void faults_count(struct faults *faults, const struct call_record *call);
bool faults_recording(struct faults *faults);
void faults_record(struct faults *faults, bool on);
void faults_reset_counts(struct faults *faults);
void faults_write_calls(struct faults *faults, FILE *out);

#endif
