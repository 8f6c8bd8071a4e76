#include "supervisor/confine/translate.h"

#include "base/cleanup.h"
#include "nvabi/rm.h"
#include "supervisor/bytes.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/pidfd.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ALIGNMENT = 16 };

void translation_begin(struct translation *translation, const struct target *target,
		       bool use_pidfd_thread, uint8_t *area, uint32_t size, uint64_t id,
		       struct lane_request *request)
{
	*translation = (struct translation){.target = target,
					    .use_pidfd_thread = use_pidfd_thread,
					    .area = area,
					    .size = size,
					    .used = TRANSLATE_FIRST,
					    .record = (struct record *)(void *)area,
					    .request = request};
	memset(area, 0, sizeof(struct record));
	translation->record->id = id;
	translation->record->installed = -1;
	*request = (struct lane_request){.id = id, .fd = -1, .out_fd = -1};
}

void translation_end(struct lane_request *request)
{
	for (uint32_t i = 0; i < request->in_count; i++)
		cleanup_close_fd(&request->in[i].fd);
	request->in_count = 0;
	cleanup_close_fd(&request->out_fd);
	request->out_fd = -1;
}

/* ---- Gathering ---- */

/* Room for LENGTH bytes, or 0. */
static uint32_t find_room(struct translation *translation, uint64_t length)
{
	uint32_t offset = translation->used, end;

	if (translation->record->piece_count == RECORD_PIECES ||
	    length > translation->size - translation->used)
		return 0;
	end = (offset + (uint32_t)length + ALIGNMENT - 1) & ~(uint32_t)(ALIGNMENT - 1);
	translation->used = end < translation->size ? end : translation->size;
	/* Another target's call stood there. */
	memset(translation->area + offset + length, 0,
	       translation->used - offset - (uint32_t)length);
	return offset;
}

void translation_skip(struct translation *translation, uint32_t length)
{
	if (length > translation->size - translation->used)
		length = translation->size - translation->used;
	memset(translation->area + translation->used, 0, length);
	translation->used += length;
	translation->used = (translation->used + ALIGNMENT - 1) & ~(uint32_t)(ALIGNMENT - 1);
}

static void add_piece(struct translation *translation, uint64_t address, uint32_t offset,
		      uint32_t length, uint32_t directions)
{
	struct record *record = translation->record;

	record->piece[record->piece_count++] = (struct piece){
	    .address = address, .offset = offset, .length = length, .directions = directions};
}

uint32_t translation_put(struct translation *translation, uint64_t address, const void *bytes,
			 uint32_t length, uint32_t directions)
{
	uint32_t offset = find_room(translation, length);

	if (!offset)
		return 0;
	memcpy(translation->area + offset, bytes, length);
	add_piece(translation, address, offset, length, directions);
	return offset;
}

/* What the driver will only write is read too: it need not write all of it. */
uint32_t translation_take(struct translation *translation, uint64_t address, uint64_t length,
			  uint32_t directions)
{
	uint32_t offset = length ? find_room(translation, length) : 0;
	int result;

	if (!offset)
		return 0;
	result = memory_read(translation->target->tid, address, translation->area + offset,
			     (size_t)length);
	if (result && result != -EFAULT && !translation->error)
		translation->error = result;
	if (result)
		return 0;
	add_piece(translation, address, offset, (uint32_t)length, directions);
	return offset;
}

static uint64_t get_field(const uint8_t *bytes, uint32_t width)
{
	uint64_t value = 0;

	memcpy(&value, bytes, width);
	return value;
}

/* Makes a note of what the target has at OFFSET. Returns false where there is no room for it. */
static bool note_field(struct translation *translation, uint32_t offset, uint32_t width)
{
	struct record *record = translation->record;

	if (record->field_count == RECORD_FIELDS) {
		translation->error = -E2BIG;
		return false;
	}
	record->field[record->field_count++] =
	    (struct field){.offset = offset,
			   .width = width,
			   .value = get_field(translation->area + offset, width)};
	return true;
}

void translation_point(struct translation *translation, uint32_t offset, uint32_t to)
{
	if (note_field(translation, offset, sizeof(uint64_t)))
		put_u64(translation->area, offset,
			to ? translation->seen + to : TRANSLATE_UNREADABLE);
}

/* The bytes behind a pointer; UINT64_MAX where the driver takes no such call. */
static uint64_t length_behind(const struct nvabi_length *length, const uint8_t *params,
			      uint32_t size)
{
	uint64_t value;

	if (!length->width)
		return length->constant;
	if (length->offset + length->width > size)
		return UINT64_MAX;
	value = get_field(params + length->offset, length->width);
	if ((length->limit && value > length->limit) || value > UINT32_MAX)
		return UINT64_MAX;
	if (length->square)
		value = value > UINT16_MAX ? UINT64_MAX / 8 : value * value;
	if (length->scale && value > UINT32_MAX / length->scale)
		return UINT64_MAX;
	return length->constant + value * length->scale;
}

/* A part of a pointer is one that the driver never reads: the call has the wrong size. */
static void take_pointer(struct translation *translation, const struct nvabi_pointer *pointer,
			 uint32_t base, uint32_t length, enum translation_form form)
{
	uint8_t *params = translation->area + base;
	uint64_t address, behind;
	uint32_t to = 0;

	if (pointer->offset + sizeof(address) > length || (form == FORM_SHORT && pointer->whole))
		return;
	address = get_u64(params, pointer->offset);
	if (!address)
		return;
	behind = length_behind(&pointer->length, params, length);
	if (form != FORM_WRONG && behind != UINT64_MAX && pointer->directions)
		to = translation_take(translation, address, behind, pointer->directions);
	translation_point(translation, base + pointer->offset, to);
}

/* The number that the driver is to find nothing under. */
static void set_unused(struct translation *translation, uint32_t offset, uint32_t width)
{
	uint64_t number = INT32_MAX;

	memcpy(translation->area + offset, &number, width);
}

/* Nothing comes where the target has nothing under NUMBER. */
static void bring(struct translation *translation, int number, uint32_t offset, uint8_t width)
{
	struct lane_request *request = translation->request;
	int copy = request->in_count < LANE_DESCRIPTORS
		       ? pidfd_duplicate(translation->target->tid, translation->target->tgid,
					 number, translation->use_pidfd_thread)
		       : -E2BIG;

	if (copy == -EBADF)
		return;
	if (copy < 0) {
		translation->error = copy;
		return;
	}
	request->in[request->in_count].fd = copy;
	request->in[request->in_count].offset = offset;
	request->in[request->in_count++].width = width;
}

void translation_bring(struct translation *translation, int number)
{
	bring(translation, number, 0, 0);
}

/* The driver looks at the lower 32 bits. A negative number is none in any process. */
static void take_descriptor(struct translation *translation,
			    const struct nvabi_descriptor *descriptor, uint32_t base,
			    uint32_t length, enum translation_form form)
{
	struct lane_request *request = translation->request;
	const uint32_t offset = base + descriptor->offset;
	int32_t number;

	if (descriptor->offset + descriptor->width > length)
		return;
	number = (int32_t)get_u32(translation->area, offset);
	if (number < 0 && !(descriptor->directions & NVABI_OUT))
		return;
	if (number < 0 && form == FORM_WRONG)
		return;
	if (number < 0) {
		translation->record->returned = (struct field){
		    .offset = offset,
		    .width = descriptor->width,
		    .value = get_field(translation->area + offset, descriptor->width)};
		request->out_offset = offset;
		request->out_width = descriptor->width;
		return;
	}
	if (!(descriptor->directions & NVABI_IN) ||
	    !note_field(translation, offset, descriptor->width))
		return;
	set_unused(translation, offset, descriptor->width);
	if (form != FORM_WRONG)
		bring(translation, number, offset, descriptor->width);
}

void translation_fields(struct translation *translation, const struct nvabi_rule *rule,
			uint32_t base, uint32_t length, enum translation_form form)
{
	for (uint32_t i = 0; i < rule->pointer_count; i++)
		take_pointer(translation, &rule->pointers[i], base, length, form);
	for (uint32_t i = 0; i < rule->descriptor_count; i++)
		take_descriptor(translation, &rule->descriptors[i], base, length, form);
}

bool translation_is_allowed(const struct nvabi_rule *rule, const uint8_t *params, uint32_t length)
{
	for (uint32_t i = 0; i < rule->pointer_count; i++) {
		const struct nvabi_pointer *pointer = &rule->pointers[i];

		if (!pointer->directions && pointer->offset + sizeof(uint64_t) <= length &&
		    get_u64(params, pointer->offset))
			return false;
	}
	return true;
}

/* ---- Scattering ---- */

static bool is_inside(uint32_t offset, uint32_t length, uint32_t size)
{
	return offset >= TRANSLATE_FIRST && offset <= size && length <= size - offset;
}

bool translation_is_sound(const uint8_t *area, uint32_t size, uint64_t id)
{
	const struct record *record = (const struct record *)(const void *)area;

	if (record->id != id || !record->piece_count || record->piece_count > RECORD_PIECES ||
	    record->field_count > RECORD_FIELDS)
		return false;
	for (uint32_t i = 0; i < record->piece_count; i++)
		if (!is_inside(record->piece[i].offset, record->piece[i].length, size))
			return false;
	for (uint32_t i = 0; i < record->field_count; i++)
		if (record->field[i].width > sizeof(uint64_t) ||
		    !is_inside(record->field[i].offset, record->field[i].width, size))
			return false;
	if (record->status && !is_inside(record->status, sizeof(uint32_t), size))
		return false;
	return !record->returned.width ||
	       (record->returned.width <= sizeof(uint64_t) &&
		is_inside(record->returned.offset, record->returned.width, size));
}

void translation_restore(uint8_t *area)
{
	const struct record *record = (const struct record *)(const void *)area;

	for (uint32_t i = 0; i < record->field_count; i++)
		memcpy(area + record->field[i].offset, &record->field[i].value,
		       record->field[i].width);
	if (record->returned.width) {
		int64_t number = record->installed;
		const void *value = number < 0 ? (const void *)&record->returned.value : &number;

		memcpy(area + record->returned.offset, value, record->returned.width);
	}
}

/* One write for all of them, directly behind the look whether the target still waits. Returns 0, or
 * -errno; -EFAULT where some could not be written. */
static int write_all(int listener, pid_t tid, uint8_t *area, const uint32_t *chosen,
		     unsigned long count)
{
	const struct record *record = (const struct record *)(const void *)area;
	struct iovec local[RECORD_PIECES], remote[RECORD_PIECES];
	size_t whole = 0;
	ssize_t written;

	for (unsigned long i = 0; i < count; i++) {
		const struct piece *piece = &record->piece[chosen[i]];

		local[i] = (struct iovec){area + piece->offset, piece->length};
		remote[i] = (struct iovec){(void *)(uintptr_t)piece->address, piece->length};
		whole += piece->length;
	}
	if (!notify_id_valid(listener, record->id))
		return -ESRCH;
	written = process_vm_writev(tid, local, count, remote, count, 0);
	if (written < 0)
		return -errno;
	return (size_t)written == whole ? 0 : -EFAULT;
}

/* What the parameters lead to cannot be written: the driver says so in its status. */
static int write_failure(int listener, pid_t tid, uint8_t *area)
{
	const struct record *record = (const struct record *)(const void *)area;
	const uint32_t own = 0;

	if (record->piece_count == 1 || !record->status)
		return -EFAULT;
	put_u32(area, record->status, NV_ERR_INVALID_ADDRESS);
	return write_all(listener, tid, area, &own, 1);
}

int translation_scatter(int listener, pid_t tid, uint8_t *area)
{
	const struct record *record = (const struct record *)(const void *)area;
	uint32_t chosen[RECORD_PIECES];
	unsigned long count = 0;
	int result;

	for (uint32_t i = record->piece_count; i-- > 0;)
		if (record->piece[i].directions & NVABI_OUT && record->piece[i].length)
			chosen[count++] = i;
	if (!count)
		return 0;
	result = write_all(listener, tid, area, chosen, count);
	return result == -EFAULT ? write_failure(listener, tid, area) : result;
}
