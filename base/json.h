/* JSON text in and out, by json-c. It keeps 64-bit unsigned integers (a rlimit of 2^64 - 1 is
 * common in config.json) and writes a real number with the very digits that it was read with. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/error.h"

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

enum {
	JSON_MAX_BYTES = 16 << 20, /* a config.json has some 10 KiB, a seccomp profile 20 KiB */
	JSON_MAX_DEPTH = 64,	   /* a config.json nests 8 deep */
};

static inline void cleanup_put_json(struct json_object **object)
{
	json_object_put(*object);
}
/* A reference to a json_object or NULL; given back at the end of the scope. */
#define cleanup_json __attribute__((cleanup(cleanup_put_json)))

/* A text of LENGTH bytes and a NUL behind them, from malloc(). */
struct json_text {
	char *bytes;
	size_t length;
};

/* Reads FD to its end. WHAT names it in errors ("standard input"). Returns 0, or -errno with ERROR
 * filled: -EFBIG above JSON_MAX_BYTES. The caller frees text->bytes. */
int json_read_text(int fd, const char *what, struct json_text *text, struct mpu_error *error);

/* Reads the file PATH likewise. */
int json_read_file(const char *path, struct json_text *text, struct mpu_error *error);

/* Parses the whole of TEXT, which must be one JSON object. Refused, beyond what JSON itself
 * forbids: nesting deeper than JSON_MAX_DEPTH, an integer that does not fit 64 bits, a NUL in a
 * string, invalid UTF-8. Returns the object, of which the caller owns a reference, or NULL with
 * ERROR filled. */
struct json_object *json_parse_text(const struct json_text *text, const char *what,
				    struct mpu_error *error);

/* The member NAME of OBJECT if OBJECT is an object and the member has TYPE, else NULL. Borrowed. */
struct json_object *json_member(struct json_object *object, const char *name, enum json_type type);

/* The string member NAME of OBJECT, or NULL. Borrowed. */
const char *json_member_string(struct json_object *object, const char *name);

/* Writes all of LENGTH bytes to FD. Returns 0 or -errno with ERROR filled. */
int json_write_bytes(int fd, const char *bytes, size_t length, struct mpu_error *error);

/* Writes OBJECT to FD. Returns 0 or -errno with ERROR filled. */
int json_write(int fd, struct json_object *object, struct mpu_error *error);

/* Writes OBJECT in the place of PATH, which exists, in one step (a new file, renamed), with the
 * mode and the owner of the old one. Returns 0 or -errno with ERROR filled; then PATH is as it was.
 */
int json_replace_file(const char *path, struct json_object *object, struct mpu_error *error);

#endif
