/* JSON that comes from elsewhere, as the programs read it. */
#ifndef FUZZ_JSON_INPUT_H
#define FUZZ_JSON_INPUT_H

#include "base/json.h"
#include "tests/fuzz/fuzz.h"

/* Parses SIZE bytes. Returns a reference, or NULL for what is refused. */
static inline struct json_object *fuzz_parse(const uint8_t *data, size_t size)
{
	struct json_text text = {.bytes = malloc(size + 1), .length = size};
	struct mpu_error error = {0};
	struct json_object *object;

	memcpy(text.bytes, data, size);
	text.bytes[size] = '\0';
	object = json_parse_text(&text, "the input", &error);
	fuzz_check(!object == !!error.code, "an object, or an error: %d", error.code);
	free(text.bytes);
	return object;
}

/* What is written can be read again, and is the same. */
static inline void fuzz_check_written(struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(
	    object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	struct json_object *again = fuzz_parse((const uint8_t *)text, strlen(text));

	fuzz_check(again, "cannot be read again: %s", text);
	fuzz_check(json_object_equal(object, again), "reads as something else: %s", text);
	json_object_put(again);
}

#endif
