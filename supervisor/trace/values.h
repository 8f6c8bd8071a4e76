/* Writes values: as strace does, or as JSON. */
#ifndef SUPERVISOR_TRACE_VALUES_H
#define SUPERVISOR_TRACE_VALUES_H

#include "supervisor/trace/text.h"

#include <stdint.h>

struct values {
	struct text *out;
	bool json;
	bool follows; /* something stands before it in the same structure or list */
};

void values_open(struct values *values, char bracket);	/* '{' or '[' */
void values_close(struct values *values, char bracket); /* '}' or ']' */

/* What comes next in a structure, and in a list. */
void values_name(struct values *values, const char *name);
void values_item(struct values *values);

void values_number(struct values *values, uint64_t number);
void values_signed(struct values *values, int64_t number);
void values_real(struct values *values, double number);
void values_bool(struct values *values, bool value);
/* In hexadecimal with DIGITS digits at least; a string in JSON. */
void values_hex(struct values *values, uint64_t number, int digits);
/* A bare word in text, a string in JSON. */
void values_word(struct values *values, const char *word);
/* Quoted; stands for LENGTH bytes of any kind. */
void values_string(struct values *values, const char *bytes, size_t length);
/* As hexadecimal digits in order, MORE where not all are there. */
void values_bytes(struct values *values, const uint8_t *bytes, size_t length, bool more);
/* The rest of a structure or a list is left out. */
void values_more(struct values *values, bool structure);

#endif
