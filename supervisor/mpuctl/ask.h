/* Questions to a running mpud. */
#ifndef SUPERVISOR_MPUCTL_ASK_H
#define SUPERVISOR_MPUCTL_ASK_H

#include "base/error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/* What the command line of such a question says. */
struct ask_options {
	const char *socket; /* mpud's main one, or NULL: the default */
	bool json;
};

/* Parses the options of the command ARGV[0], whose help text is USAGE, into OPTIONS. Returns -1 to
 * go on, or the exit status. */
int ask_parse(int argc, char **argv, const char *usage, struct ask_options *options);

/* Says of the command ARGV[0] what getopt_long() has refused by ID, ':' or '?'; opterr is 0, and
 * its short options begin with ':'. Returns the exit status. */
int ask_refuse_option(int id, char **argv);

/* Reads WORD, 1 to 3600 seconds. Returns whether it is that. */
bool ask_parse_seconds(const char *word, unsigned int *seconds);

/* Connects to the mpud that OPTIONS say. Returns the connection or -errno with ERROR filled. */
int ask_connect(const struct ask_options *options, struct mpu_error *error);

/* Asks REQUEST of the mpud that OPTIONS say. Returns its answer, of which the caller owns a
 * reference, or NULL with ERROR filled. */
struct json_object *ask(const struct ask_options *options, const char *request,
			struct mpu_error *error);

/* Both, and then PRINT or, with --json, the answer as it is. Returns the exit status. */
int ask_and_print(int argc, char **argv, const char *usage, void (*print)(struct json_object *));

/* The text, number or member at PATH in OBJECT, member by member ("driver.version"); "", 0 or NULL
 * where there is none. Borrowed. */
struct json_object *ask_member(struct json_object *object, const char *path);
const char *ask_text(struct json_object *object, const char *path);
uint64_t ask_number(struct json_object *object, const char *path);

/* The commands. Each returns the exit status. */
int status_command(int argc, char **argv);
int stats_command(int argc, char **argv);
int ps_command(int argc, char **argv);
int trace_command(int argc, char **argv);

#endif
