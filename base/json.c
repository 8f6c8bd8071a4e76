#include "base/json.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

int json_read_text(int fd, const char *what, struct json_text *text, struct mpu_error *error)
{
	cleanup_free char *bytes = NULL;
	size_t length = 0, room = 0;

	for (;;) {
		ssize_t got;

		if (length + 1 >= room) {
			char *more;

			room = room ? room * 2 : 65536;
			more = realloc(bytes, room);
			if (!more)
				return mpu_fail(error, ENOMEM, "cannot read %s: out of memory",
						what);
			bytes = more;
		}
		got = read(fd, bytes + length, room - length - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return mpu_fail(error, errno, "cannot read %s: %s", what, strerror(errno));
		if (got == 0)
			break;
		length += (size_t)got;
		if (length > JSON_MAX_BYTES)
			return mpu_fail(error, EFBIG,
					"%s is larger than %d MiB: not a file that "
					"a container engine writes",
					what, JSON_MAX_BYTES >> 20);
	}
	bytes[length] = '\0';
	text->bytes = steal_ptr(bytes);
	text->length = length;
	return 0;
}

int json_read_file(const char *path, struct json_text *text, struct mpu_error *error)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return mpu_fail(error, errno, "cannot open %s: %s", path, strerror(errno));
	return json_read_text(fd, path, text, error);
}

/* What json-c lets pass and would change in passing, told token by token: it saturates integers
 * beyond 64 bits, ends a member's name at an escaped NUL, and takes 'single quotes', NaN and
 * Infinity. Returns what is wrong, or NULL. */
static const char *lossy_token(const char *at)
{
	bool in_string = false;

	for (; *at; at++) {
		if (in_string) {
			if (strncmp(at, "\\u0000", 6) == 0)
				return "a NUL in a string";
			if (*at == '\\' && at[1])
				at++;
			else if (*at == '"')
				in_string = false;
		} else if (*at == '"') {
			in_string = true;
		} else if (*at == '\'' || *at == 'N' || *at == 'I') {
			return "something that is not JSON";
		} else if (*at == '-' || (*at >= '0' && *at <= '9')) {
			size_t length = strspn(at, "-+.eE0123456789");
			bool real = strcspn(at, ".eE") < length;

			errno = 0;
			if (*at == '-')
				(void)strtoll(at, NULL, 10);
			else
				(void)strtoull(at, NULL, 10);
			if (!real && errno == ERANGE)
				return "an integer of more than 64 bits";
			at += length - 1;
		}
	}
	return NULL;
}

static void cleanup_free_tokener(struct json_tokener **tokener)
{
	if (*tokener)
		json_tokener_free(*tokener);
}

struct json_object *json_parse_text(const struct json_text *text, const char *what,
				    struct mpu_error *error)
{
	struct json_tokener *tokener __attribute__((cleanup(cleanup_free_tokener))) =
	    json_tokener_new_ex(JSON_MAX_DEPTH);
	cleanup_json struct json_object *object = NULL;
	const char *lossy;

	if (!tokener) {
		mpu_fail(error, ENOMEM, "cannot parse %s: out of memory", what);
		return NULL;
	}
	if (memchr(text->bytes, '\0', text->length)) {
		mpu_fail(error, EINVAL, "%s is not JSON: it has a NUL byte", what);
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With its NUL, so that a number or an object that just stops is told from a whole one. */
	object = json_tokener_parse_ex(tokener, text->bytes, (int)text->length + 1);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		enum json_tokener_error code = json_tokener_get_error(tokener);

		mpu_fail(error, EINVAL, "%s is not valid JSON: %s at byte %zu", what,
			 code == json_tokener_continue || code == json_tokener_error_parse_eof
			     ? "it ends too early"
			     : json_tokener_error_desc(code),
			 json_tokener_get_parse_end(tokener));
		return NULL;
	}
	lossy = lossy_token(text->bytes);
	if (lossy) {
		mpu_fail(error, EINVAL, "%s has %s, which could not be passed on unchanged", what,
			 lossy);
		return NULL;
	}
	if (!json_object_is_type(object, json_type_object)) {
		mpu_fail(error, EINVAL, "%s is JSON, but not an object", what);
		return NULL;
	}
	return steal_ptr(object);
}

struct json_object *json_member(struct json_object *object, const char *name, enum json_type type)
{
	struct json_object *member;

	if (!json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, name, &member))
		return NULL;
	return json_object_is_type(member, type) ? member : NULL;
}

const char *json_member_string(struct json_object *object, const char *name)
{
	struct json_object *member = json_member(object, name, json_type_string);

	return member ? json_object_get_string(member) : NULL;
}

int json_write_bytes(int fd, const char *bytes, size_t length, struct mpu_error *error)
{
	while (length) {
		ssize_t written = write(fd, bytes, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return mpu_fail(error, errno, "cannot write JSON: %s", strerror(errno));
		bytes += written;
		length -= (size_t)written;
	}
	return 0;
}

int json_write(int fd, struct json_object *object, struct mpu_error *error)
{
	size_t length;
	const char *text = json_object_to_json_string_length(
	    object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
	int result;

	if (!text)
		return mpu_fail(error, ENOMEM, "cannot write JSON: out of memory");
	result = json_write_bytes(fd, text, length, error);
	return result ? result : json_write_bytes(fd, "\n", 1, error);
}

static int write_successor(int fd, const struct stat *old, struct json_object *object,
			   struct mpu_error *error)
{
	int result = json_write(fd, object, error);

	if (result)
		return result;
	if (fchown(fd, old->st_uid, old->st_gid) || fchmod(fd, old->st_mode & 07777) || fsync(fd))
		return -errno;
	return 0;
}

int json_replace_file(const char *path, struct json_object *object, struct mpu_error *error)
{
	cleanup_free char *fresh = NULL;
	cleanup_close int fd = -1;
	struct stat old;
	int result;

	if (stat(path, &old))
		return mpu_fail(error, errno, "cannot look at %s: %s", path, strerror(errno));
	if (asprintf(&fresh, "%s.mpu-XXXXXX", path) < 0)
		return mpu_fail(error, ENOMEM, "cannot change %s: out of memory", path);
	fd = mkostemp(fresh, O_CLOEXEC);
	if (fd < 0)
		return mpu_fail(error, errno, "cannot write beside %s: %s", path, strerror(errno));
	result = write_successor(fd, &old, object, error);
	if (!result && rename(fresh, path))
		result = -errno;
	if (result) {
		unlink(fresh);
		return mpu_fail(error, -result, "cannot change %s: %s", path, strerror(-result));
	}
	return 0;
}
