/* Fields at byte offsets; parameters are not aligned to anything. */
#ifndef SUPERVISOR_BYTES_H
#define SUPERVISOR_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t get_u32(const uint8_t *base, size_t offset)
{
	uint32_t value;

	memcpy(&value, base + offset, sizeof(value));
	return value;
}

static inline uint64_t get_u64(const uint8_t *base, size_t offset)
{
	uint64_t value;

	memcpy(&value, base + offset, sizeof(value));
	return value;
}

static inline void put_u32(uint8_t *base, size_t offset, uint32_t value)
{
	memcpy(base + offset, &value, sizeof(value));
}

static inline void put_u64(uint8_t *base, size_t offset, uint64_t value)
{
	memcpy(base + offset, &value, sizeof(value));
}

#endif
