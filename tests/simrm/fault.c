#include "tests/simrm/fault.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void faults_init(struct faults *faults)
{
	pthread_condattr_t attributes;

	memset(faults, 0, sizeof(*faults));
	faults->random = 0x9e3779b9;
	pthread_mutex_init(&faults->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&faults->released, &attributes);
	pthread_condattr_destroy(&attributes);
}

void faults_destroy(struct faults *faults)
{
	pthread_cond_destroy(&faults->released);
	pthread_mutex_destroy(&faults->lock);
}

/* xorshift32: failures that strike some calls only strike the same ones in each run. */
static uint32_t next_random(struct faults *faults)
{
	faults->random ^= faults->random << 13;
	faults->random ^= faults->random >> 17;
	faults->random ^= faults->random << 5;
	return faults->random;
}

static bool strikes(struct faults *faults, struct fault_rule *rule, uint32_t cmd, bool control)
{
	if (!rule->used || (rule->cmd != cmd && rule->cmd != FAULT_ANY &&
			    (rule->cmd != FAULT_ANY_CONTROL || !control)))
		return false;
	if (rule->kind == FAULT_STATUS && !control)
		return false;
	if (rule->per_mille < 1000 && next_random(faults) % 1000 >= rule->per_mille)
		return false;
	if (rule->remaining != UINT32_MAX && --rule->remaining == 0)
		rule->used = false;
	return true;
}

static struct timespec monotonic_ms_from_now(uint32_t ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

/* Waits until UNTIL, or, where that is NULL, until the rules are cleared. The lock is held and
 * dropped meanwhile. Returns 0 or -EINTR. */
static int wait_locked(struct faults *faults, const struct timespec *until, bool interruptible,
		       bool (*interrupted)(void *context), void *context)
{
	unsigned generation = faults->generation;
	int err = 0;

	faults->blocked++;
	while (!__atomic_load_n(&faults->stopping, __ATOMIC_RELAXED) &&
	       faults->generation == generation) {
		struct timespec step = monotonic_ms_from_now(10);

		if (until && (step.tv_sec > until->tv_sec ||
			      (step.tv_sec == until->tv_sec && step.tv_nsec > until->tv_nsec)))
			step = *until;
		if (pthread_cond_timedwait(&faults->released, &faults->lock, &step) == ETIMEDOUT &&
		    until && step.tv_sec == until->tv_sec && step.tv_nsec == until->tv_nsec)
			break;
		if (interruptible && interrupted && interrupted(context)) {
			err = -EINTR;
			break;
		}
	}
	faults->blocked--;
	return err;
}

struct fault_action faults_apply(struct faults *faults, uint32_t cmd, bool control,
				 bool (*interrupted)(void *context), void *context)
{
	struct fault_action action = {0};

	pthread_mutex_lock(&faults->lock);
	for (unsigned i = 0; i < FAULT_RULES && !action.error && !action.status; i++) {
		struct fault_rule rule = faults->rule[i];
		struct timespec until;

		if (!strikes(faults, &faults->rule[i], cmd, control))
			continue;
		switch (rule.kind) {
		case FAULT_DELAY:
			until = monotonic_ms_from_now(rule.value);
			action.error =
			    wait_locked(faults, &until, rule.interruptible, interrupted, context);
			break;
		case FAULT_BLOCK:
			action.error =
			    wait_locked(faults, NULL, rule.interruptible, interrupted, context);
			break;
		case FAULT_ERRNO:
			action.error = -(int)rule.value;
			break;
		case FAULT_STATUS:
			action.status = rule.value;
			break;
		case FAULT_KILL:
			action.signal = (int)rule.value;
			break;
		}
	}
	pthread_mutex_unlock(&faults->lock);
	return action;
}

int faults_add(struct faults *faults, const struct fault_rule *rule)
{
	int err = -ENOSPC;

	pthread_mutex_lock(&faults->lock);
	for (unsigned i = 0; i < FAULT_RULES; i++) {
		if (faults->rule[i].used)
			continue;
		faults->rule[i] = *rule;
		faults->rule[i].used = true;
		err = 0;
		break;
	}
	pthread_mutex_unlock(&faults->lock);
	return err;
}

void faults_clear(struct faults *faults, uint32_t cmd)
{
	pthread_mutex_lock(&faults->lock);
	for (unsigned i = 0; i < FAULT_RULES; i++)
		if (cmd == FAULT_ANY || faults->rule[i].cmd == cmd)
			faults->rule[i].used = false;
	faults->generation++;
	pthread_cond_broadcast(&faults->released);
	pthread_mutex_unlock(&faults->lock);
}

void faults_stop(struct faults *faults)
{
	__atomic_store_n(&faults->stopping, true, __ATOMIC_RELAXED);
}

void faults_count(struct faults *faults, const struct call_record *call)
{
	struct call_record *record = NULL;

	pthread_mutex_lock(&faults->lock);
	faults->calls++;
	for (unsigned i = faults->records; i-- > 0 && !record;) {
		struct call_record *at = &faults->record[i];

		if (at->cmd == call->cmd && at->control == call->control && at->tid == call->tid &&
		    at->tgid == call->tgid && at->euid == call->euid && at->admin == call->admin)
			record = at;
	}
	if (!record && faults->records < CALL_RECORDS) {
		record = &faults->record[faults->records++];
		*record = *call;
		record->count = 0;
	}
	if (record)
		record->count++;
	else
		faults->unrecorded++;
	pthread_mutex_unlock(&faults->lock);
}

bool faults_recording(struct faults *faults)
{
	return __atomic_load_n(&faults->recording, __ATOMIC_RELAXED);
}

void faults_record(struct faults *faults, bool on)
{
	__atomic_store_n(&faults->recording, on, __ATOMIC_RELAXED);
}

void faults_reset_counts(struct faults *faults)
{
	pthread_mutex_lock(&faults->lock);
	faults->records = 0;
	faults->calls = 0;
	faults->unrecorded = 0;
	pthread_mutex_unlock(&faults->lock);
}

void faults_write_calls(struct faults *faults, FILE *out)
{
	pthread_mutex_lock(&faults->lock);
	fprintf(out, "{\"calls\":%llu,\"unrecorded\":%llu,\"blocked\":%u,\"by_caller\":[",
		(unsigned long long)faults->calls, (unsigned long long)faults->unrecorded,
		faults->blocked);
	for (unsigned i = 0; i < faults->records; i++) {
		const struct call_record *record = &faults->record[i];

		fprintf(out,
			"%s\n{\"%s\":\"0x%08x\",\"tgid\":%d,\"tid\":%d,\"euid\":%u,\"admin\":%s,"
			"\"count\":%llu}",
			i ? "," : "", record->control ? "control" : "escape", record->cmd,
			record->tgid, record->tid, record->euid, record->admin ? "true" : "false",
			(unsigned long long)record->count);
	}
	fprintf(out, "]}\n");
	pthread_mutex_unlock(&faults->lock);
}
