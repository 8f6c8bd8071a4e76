#include "supervisor/confine/refuse.h"

#include "base/log.h"
#include "supervisor/settings.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *refused_kind_name(uint32_t kind)
{
	return kind == REFUSED_OTHERS ? "others" : nvabi_policy_kind_name(kind);
}

const char *refused_name(struct nvabi_abi *abi, uint32_t kind, uint32_t number)
{
	const uint32_t asked = kind == NVABI_MEMORY_CLASS ? (uint32_t)NVABI_CLASS : kind;
	struct nvabi_call call;
	uint32_t cursor = 0;

	while (abi && nvabi_abi_by_number(abi, number, &cursor, &call))
		if (call.kind == asked)
			return call.name;
	return NULL;
}

/* What the container would need. Where it has the word, the rule is refused for what else it asks.
 */
static const char *needs(const struct nvabi_rule *rule, uint32_t confine,
			 char words[MPU_CONFINE_TEXT])
{
	if (!rule)
		return "?";
	if (!(rule->capabilities & confine & NVABI_CAPS))
		return mpu_confine_words(rule->capabilities, words);
	if (confine & MPU_CONFINE_STRICT && (rule->pattern || rule->way == NVABI_WAY_CONTINUE))
		return "no-strict";
	return rule->way == NVABI_WAY_FIRMWARE ? "the-open-kernel-module" : "other-parameters";
}

static void log_first(unsigned int level, const char *label, uint32_t confine,
		      const struct nvabi_version *driver, const struct refused_call *call)
{
	char words[MPU_CONFINE_TEXT];
	struct nvabi_abi *abi = NULL;
	const char *name;

	nvabi_abi_open(driver, &abi);
	name = refused_name(abi, call->kind, call->number);

	log_line(level,
		 confine & MPU_CONFINE_LOG ? "a driver call that would be refused"
					   : "a driver call was refused",
		 "container=%s %s=0x%x name=%s needs=%s", label, refused_kind_name(call->kind),
		 call->number, name ? name : "?", needs(call->rule, confine, words));
	nvabi_abi_close(abi);
}

/* ---- The table; under the lock ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_row_of(const struct journal_refused *row, const char *label)
{
	return row->used && strncmp(row->label, label, sizeof(row->label) - 1) == 0;
}

static struct journal_refused *find(struct journal_refusals *table, const char *label,
				    uint32_t kind, uint32_t number, uint32_t *rows)
{
	*rows = 0;
	for (uint32_t i = 0; i < JOURNAL_REFUSED; i++) {
		struct journal_refused *row = &table->row[i];

		if (!is_row_of(row, label))
			continue;
		if (row->kind == kind && row->number == number)
			return row;
		++*rows;
	}
	return NULL;
}

/* A free row, or the one that was counted in longest ago, which is forgotten then. */
static struct journal_refused *make_room(struct journal_refusals *table, bool *forgets)
{
	struct journal_refused *oldest = &table->row[0];

	for (uint32_t i = 0; i < JOURNAL_REFUSED; i++) {
		struct journal_refused *row = &table->row[i];

		if (!row->used)
			return row;
		if (table->next - row->last > table->next - oldest->last)
			oldest = row;
	}
	table->forgotten += oldest->count;
	*forgets = true;
	return oldest;
}

static void begin_row(struct journal_refusals *table, struct journal_refused *row,
		      const char *label, uint32_t kind, uint32_t number)
{
	row->used = 0;
	row->kind = kind;
	row->number = number;
	row->count = 0;
	row->last = table->next;
	snprintf(row->label, sizeof(row->label), "%s", label);
	row->used = 1;
}

/* Counts, and returns the row where it is new. */
static const struct journal_refused *count(struct journal_refusals *table, const char *label,
					   uint32_t kind, uint32_t number, bool *forgets)
{
	uint32_t rows;
	struct journal_refused *row = find(table, label, kind, number, &rows);
	bool is_new = !row;

	if (!row && rows >= REFUSED_ROWS && kind != REFUSED_OTHERS)
		return count(table, label, REFUSED_OTHERS, 0, forgets);
	if (!row) {
		row = make_room(table, forgets);
		begin_row(table, row, label, kind, number);
	}
	row->count++;
	row->last = ++table->next;
	return is_new ? row : NULL;
}

void refused_count(struct journal *journal, const char *label, uint32_t confine,
		   const struct nvabi_version *driver, const struct refused_call *call)
{
	const struct journal_refused *row;
	bool is_new, is_other, forgets = false;

	pthread_mutex_lock(&lock);
	row = count(journal_refusals(journal), label, call->kind, call->number, &forgets);
	is_new = row;
	is_other = row && row->kind == REFUSED_OTHERS;
	pthread_mutex_unlock(&lock);
	if (is_other)
		log_warning("a container is refused more different driver calls than are listed",
			    "container=%s listed=%d", label, REFUSED_ROWS);
	else if (is_new)
		/* Rows bound how many there are, unless they come and go. */
		log_first(LOG_LEVEL_WARNING | (forgets ? 0 : (unsigned int)LOG_FEW), label, confine,
			  driver, call);
}

uint32_t refused_rows(struct journal *journal, struct journal_refused rows[JOURNAL_REFUSED],
		      uint64_t *forgotten)
{
	const struct journal_refusals *table = journal_refusals(journal);
	uint32_t count = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < JOURNAL_REFUSED; i++)
		if (table->row[i].used)
			rows[count++] = table->row[i];
	*forgotten = table->forgotten;
	pthread_mutex_unlock(&lock);
	for (uint32_t i = 0; i < count; i++)
		rows[i].label[sizeof(rows[i].label) - 1] = '\0';
	return count;
}
