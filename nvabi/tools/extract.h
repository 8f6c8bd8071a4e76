/* Reads the driver's ABI from its public source with libclang: what a compiler sees in the headers,
 * never the text. The result is rows as in nvabi/data/abi, for one release. */
#ifndef NVABI_TOOLS_EXTRACT_H
#define NVABI_TOOLS_EXTRACT_H

#include "base/error.h"

#include <clang-c/Index.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum extract_kind { EXTRACT_ESCAPE, EXTRACT_UVM, EXTRACT_CONTROL, EXTRACT_CLASS, EXTRACT_KINDS };

/* A call by name: number and parameter structure are found later. */
struct extract_call {
	enum extract_kind kind;
	char *name;
	char *params; /* structure, or NULL */
	char *told;   /* the structure that nvabi/data/call-params gives it, or NULL */
	uint32_t number;
	bool known;   /* the number is */
	bool listed;  /* classes: the driver's list of resources says what its parameters are */
	bool unnamed; /* controls: no header has its name */
};

/* "X_MESSAGE_ID" in a class's header: X are the parameters of class NUMBER. */
struct extract_message {
	char *params;
	uint32_t number;
};

/* The driver's source and what was found in it. Free it with extract_free(). */
struct extract {
	char *tree; /* root of the source */
	char **header;
	uint32_t header_count;
	struct extract_call *call;
	uint32_t call_count;
	struct extract_message *message;
	uint32_t message_count;
	CXIndex index;
	CXTranslationUnit unit;
};

/* The word that begins a row of that kind. */
const char *extract_kind_word(enum extract_kind kind);

/* Lists the headers of the tree that hold its ABI. Refuses a tree that is not the driver's. */
int extract_find_headers(struct extract *extract, struct mpu_error *error);

/* Parses all headers, followed by TAIL (may be ""), into extract->unit. Refuses headers with
 * errors, naming the first one's file and line. */
int extract_parse(struct extract *extract, const char *tail, struct mpu_error *error);

/* Adds every macro of the headers that numbers a call. */
int extract_macros(struct extract *extract, struct mpu_error *error);

/* Adds the classes of the driver's list of resources, with their parameter structures. */
int extract_classes(struct extract *extract, struct mpu_error *error);

/* Finds the number of each call. Calls extract_parse(). */
int extract_numbers(struct extract *extract, struct mpu_error *error);

/* Reads the table of parameter structures that no header tells (nvabi/data/call-params). */
int extract_read_params(struct extract *extract, const char *path, struct mpu_error *error);

/* Adds the controls of nvabi/data/unnamed-controls which the driver in the tree exports. */
int extract_unnamed(struct extract *extract, const char *path, struct mpu_error *error);

/* Writes the rows of all calls and of all structures that they reach. */
int extract_write(struct extract *extract, FILE *out, struct mpu_error *error);

/* Adds a call, or finds the one that there is. Returns NULL without memory. NAME is copied. */
struct extract_call *extract_add(struct extract *extract, enum extract_kind kind, const char *name);

/* The whole: from the driver's source at TREE to rows on OUT, with the tables of the folder DATA
 * (nvabi/data). VERSION, when not NULL, must be the version that the tree gives itself. */
int extract_tree(const char *tree, const char *version, const char *data, FILE *out,
		 struct mpu_error *error);

void extract_free(struct extract *extract);

/* The version that the tree gives itself (version.mk). */
int extract_version(const char *tree, char *version, size_t size, struct mpu_error *error);

/* A hash over the tokens of FUNCTION, defined in FILE of the tree, comments and blanks left out; 0
 * in HASH where the tree has no such function. */
int extract_function_hash(const char *tree, const char *file, const char *function, uint64_t *hash,
			  struct mpu_error *error);

#endif
