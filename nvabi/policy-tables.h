/* The rows of nvabi/data/policy, policy-params and unknown-calls as the programs carry them.
 * Private to nvabi; load-policy.c makes the same from text. */
#ifndef NVABI_POLICY_TABLES_H
#define NVABI_POLICY_TABLES_H

#include "nvabi/abi-tables.h"
#include "nvabi/policy.h"

enum { POLICY_MOST_BYTES = 1 << 20 }; /* the driver's own limit (param_copy.h) */

enum nvabi_policy_flags {
	POLICY_ARRAY = 1,    /* any number of the parameters */
	POLICY_NUMBERED = 2, /* the row says the number: no release is asked */
	POLICY_PATTERN = 4,  /* number under mask */
	POLICY_ADDED = 8,    /* read at run time */
	POLICY_WIDENS = 16,  /* of these, for a call that has a row */
};

struct nvabi_policy_row {
	const char *name;
	const char *reason;
	uint8_t kind;
	uint8_t way;
	uint8_t flags;
	uint32_t capabilities;
	uint32_t number, mask, size; /* of those with a number */
};

/* What is behind a field. */
enum nvabi_policy_use {
	POLICY_MEMORY,
	POLICY_DESCRIPTOR,
	POLICY_NESTED, /* for this and the next nothing has to be done */
	POLICY_VALUE,
};

struct nvabi_policy_param {
	const char *structure;
	const char *field;
	const char *count; /* the field that LENGTH counts by; NULL: none */
	uint8_t use;
	uint8_t directions;
	bool whole;
	struct nvabi_length length;
};

/* From RELEASE on, an index of the tree, calls of KIND that the driver does not know are answered
 * so. */
struct nvabi_unknown_change {
	uint16_t release;
	uint8_t kind;
	struct nvabi_answer answer;
};

struct nvabi_policy_tables {
	const struct nvabi_policy_row *row; /* as nvabi_policy_row_order() has them */
	uint32_t row_count;
	const struct nvabi_policy_param *param; /* sorted by structure */
	uint32_t param_count;
	const struct nvabi_unknown_change *unknown;
	uint32_t unknown_count;
};

/* Compiled from data/. */
extern const struct nvabi_policy_tables nvabi_policy_tables;

/* The kind under which the release is asked for the row's name: that of nvabi/abi.h. */
enum nvabi_kind nvabi_policy_asked_kind(const struct nvabi_policy_row *row);

/* Rows in the order in which nvabi_abi_next() walks calls, numbered ones behind them. */
int nvabi_policy_row_order(const struct nvabi_policy_row *a, const struct nvabi_policy_row *b);

/* The first param of STRUCTURE, or the one that would stand behind it. */
uint32_t nvabi_policy_first_param(const struct nvabi_policy_tables *tables, const char *structure);

/* nvabi_policy_open() on the given tables. */
int nvabi_policy_open_from(const struct nvabi_policy_tables *tables,
			   const struct nvabi_abi_tables *abi_tables,
			   const struct nvabi_version *running, struct nvabi_policy **policy);

#endif
