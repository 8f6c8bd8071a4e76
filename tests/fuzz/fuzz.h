/* What the fuzz targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer calls these. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant: ends the run, so that the input is kept. */
#define fuzz_check(condition, ...)                                                                 \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);    \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Bytes of the input, taken one after the other, from the start again after the last. An empty
 * stream gives zeros. */
struct fuzz_stream {
	const uint8_t *data;
	size_t size, at;
};

static inline uint8_t fuzz_byte(struct fuzz_stream *stream)
{
	return stream->size ? stream->data[stream->at++ % stream->size] : 0;
}

static inline uint32_t fuzz_u32(struct fuzz_stream *stream)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
		value |= (uint32_t)fuzz_byte(stream) << (8 * i);
	return value;
}

/* SIZE bytes: as many as the stream has, over and over. */
static inline void fuzz_fill(struct fuzz_stream *stream, void *out, size_t size)
{
	uint8_t *bytes = out;
	size_t done = 0;

	for (; done < size && done < stream->size; done++)
		bytes[done] = fuzz_byte(stream);
	if (size && !done)
		memset(bytes, 0, done = size);
	for (size_t count = done; done < size; done += count)
		memcpy(bytes + done, bytes, count = size - done < done ? size - done : done);
}

#endif
