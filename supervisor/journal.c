#include "supervisor/journal.h"

#include "supervisor/roster.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the format, not of the program. */
static const char magic[8] = "mpu-jrnl";

enum { PAGE = 4096, ROSTER_ROOM = 1 << 20 };

struct journal_memory {
	struct journal_header header;
	_Alignas(PAGE) unsigned char counters[JOURNAL_COUNTERS];
	_Alignas(PAGE) unsigned char slot[JOURNAL_SLOTS][JOURNAL_SLOT_SIZE];
	_Alignas(PAGE) struct journal_listener listener[JOURNAL_LISTENERS];
	_Alignas(PAGE) struct journal_proxy proxy[JOURNAL_PROXIES];
	_Alignas(PAGE) unsigned char roster[ROSTER_ROOM];
	_Alignas(PAGE) struct journal_refusals refusals;
	_Alignas(PAGE) struct journal_desk desk[JOURNAL_DESKS];
};

/* Numbers of what is free, the last given back first, so that memory that was used is used again. */
struct free_list {
	uint32_t count;
	uint32_t number[JOURNAL_SLOTS];
};

_Static_assert(JOURNAL_DESKS <= JOURNAL_SLOTS, "one list serves both");

struct journal {
	struct journal_memory *memory;
	int fd;
	pthread_mutex_t lock; /* of this process's own knowledge: */
	struct free_list slots, desks;
};

static struct journal *new_handle(int fd)
{
	struct journal *journal = calloc(1, sizeof(*journal));

	if (!journal)
		return NULL;
	journal->fd = fd;
	journal->memory = mmap(NULL, sizeof(*journal->memory), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (journal->memory == MAP_FAILED) {
		free(journal);
		return NULL;
	}
	pthread_mutex_init(&journal->lock, NULL);
	return journal;
}

struct journal *journal_new(bool memfd)
{
	int fd = memfd ? memfd_create("mpu-journal", MFD_CLOEXEC) : -1;
	struct journal *journal = NULL;

	if (memfd && fd < 0)
		return NULL;
	if (!memfd || !ftruncate(fd, sizeof(struct journal_memory)))
		journal = new_handle(fd);
	if (!journal) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	memcpy(journal->memory->header.magic, magic, sizeof(magic));
	journal->memory->header.format = JOURNAL_FORMAT;
	journal->memory->header.size = sizeof(struct journal_memory);
	roster_make(journal->memory->roster, ROSTER_ROOM);
	return journal;
}

/* Of the bytes alone: the size comes first, as memory behind the end of a file kills who reads it. */
static int check(int fd, struct mpu_error *error)
{
	struct journal_header header;

	if (lseek(fd, 0, SEEK_END) < (off_t)sizeof(header) ||
	    pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.magic, magic, sizeof(magic)) != 0)
		return mpu_fail(error, EINVAL, "the memory that came along is no journal of mpud");
	if (header.format != JOURNAL_FORMAT || header.size != sizeof(struct journal_memory) ||
	    lseek(fd, 0, SEEK_END) != (off_t)header.size)
		return mpu_fail(error, EPROTO,
				"the running mpud keeps a journal of format %u and %u bytes, this one "
				"knows format %d of %zu bytes: its containers cannot be taken over "
				"(end them first, or start the mpud that they began with)",
				header.format, header.size, JOURNAL_FORMAT,
				sizeof(struct journal_memory));
	return 0;
}

struct journal *journal_attach(int fd, struct mpu_error *error)
{
	struct journal *journal = NULL;

	if (check(fd, error))
		return NULL;
	journal = new_handle(fd);
	if (!journal)
		mpu_fail(error, errno, "cannot map the journal: %s", strerror(errno));
	return journal;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	pthread_mutex_destroy(&journal->lock);
	munmap(journal->memory, sizeof(*journal->memory));
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal);
}

int journal_fd(const struct journal *journal)
{
	return journal->fd;
}

struct journal_header *journal_header(struct journal *journal)
{
	return &journal->memory->header;
}

void *journal_counters(struct journal *journal)
{
	return journal->memory->counters;
}

struct roster *journal_roster(struct journal *journal)
{
	return (struct roster *)(void *)journal->memory->roster;
}

struct journal_refusals *journal_refusals(struct journal *journal)
{
	return &journal->memory->refusals;
}

struct journal_slot *journal_slot(struct journal *journal, uint32_t index)
{
	return (struct journal_slot *)(void *)journal->memory->slot[index];
}

struct journal_listener *journal_listener(struct journal *journal, uint32_t index)
{
	return &journal->memory->listener[index];
}

struct journal_proxy *journal_proxy(struct journal *journal, uint32_t index)
{
	return &journal->memory->proxy[index];
}

/* Under the lock; so are the next two. */
static void put_free(struct free_list *list, uint32_t number)
{
	list->number[list->count++] = number;
}

static bool take_free(struct free_list *list, uint32_t *number)
{
	if (!list->count)
		return false;
	*number = list->number[--list->count];
	return true;
}

/* Has SLOT a finished answer that lies where it should? */
static bool has_answer(const struct journal_slot *slot)
{
	const struct journal_answer *answer = &slot->answer;

	return answer->params_size <= JOURNAL_DESK_PARAMS &&
	       answer->buffer_size <= JOURNAL_DESK_BUFFER &&
	       (slot->desk || !(answer->params_size || answer->buffer_size));
}

/* A worker may have died of what it wrote here. What cannot be is taken for a call for which nothing
 * was done yet, so that nobody dies of it again and a target that waits gets its answer. */
static void mend_slot(struct journal_slot *slot, uint32_t index, bool *desk_in_use)
{
	uint32_t phase = atomic_load(&slot->phase);

	slot->index = index;
	if (slot->desk > JOURNAL_DESKS || (slot->desk && desk_in_use[slot->desk - 1]))
		slot->desk = 0;
	if (slot->desk)
		desk_in_use[slot->desk - 1] = true;
	if (phase > JOURNAL_WRITING || (phase >= JOURNAL_ANSWER_READY && !has_answer(slot)))
		atomic_store(&slot->phase, JOURNAL_RECEIVED);
	if (!has_answer(slot))
		slot->answer = (struct journal_answer){0};
}

void journal_begin(struct journal *journal)
{
	bool desk_in_use[JOURNAL_DESKS] = {false};

	roster_begin(journal_roster(journal));
	pthread_mutex_lock(&journal->lock);
	journal->slots.count = journal->desks.count = 0;
	for (uint32_t i = JOURNAL_SLOTS; i-- > 0;) {
		struct journal_slot *slot = journal_slot(journal, i);

		if (atomic_load(&slot->phase) == JOURNAL_FREE)
			put_free(&journal->slots, i);
		else
			mend_slot(slot, i, desk_in_use);
	}
	for (uint32_t i = JOURNAL_DESKS; i-- > 0;)
		if (!desk_in_use[i])
			put_free(&journal->desks, i);
	pthread_mutex_unlock(&journal->lock);
}

struct journal_slot *journal_take(struct journal *journal)
{
	struct journal_slot *slot = NULL;
	uint32_t index;

	pthread_mutex_lock(&journal->lock);
	if (take_free(&journal->slots, &index)) {
		slot = journal_slot(journal, index);
		memset(slot, 0, sizeof(*slot));
		slot->index = index;
	}
	pthread_mutex_unlock(&journal->lock);
	return slot;
}

/* Answers are small but for those that a target wants large: that memory goes back at once. */
void journal_clear(struct journal *journal, struct journal_slot *slot)
{
	atomic_store_explicit(&slot->phase, JOURNAL_FREE, memory_order_release);
	if (slot->desk && slot->answer.buffer_size > JOURNAL_DESK_PARAMS)
		madvise(journal->memory->desk[slot->desk - 1].buffer, JOURNAL_DESK_BUFFER,
			MADV_REMOVE);
	slot->answer.buffer_size = 0;
}

void journal_give(struct journal *journal, struct journal_slot *slot)
{
	journal_clear(journal, slot);
	pthread_mutex_lock(&journal->lock);
	if (slot->desk)
		put_free(&journal->desks, slot->desk - 1);
	slot->desk = 0;
	put_free(&journal->slots, slot->index);
	pthread_mutex_unlock(&journal->lock);
}

struct journal_desk *journal_desk(struct journal *journal, struct journal_slot *slot)
{
	uint32_t number;

	pthread_mutex_lock(&journal->lock);
	if (!slot->desk && take_free(&journal->desks, &number))
		slot->desk = number + 1;
	pthread_mutex_unlock(&journal->lock);
	return slot->desk ? &journal->memory->desk[slot->desk - 1] : NULL;
}

struct journal_listener *journal_take_listener(struct journal *journal, uint32_t *index)
{
	struct journal_listener *taken = NULL;

	pthread_mutex_lock(&journal->lock);
	for (uint32_t i = 0; i < JOURNAL_LISTENERS && !taken; i++) {
		struct journal_listener *one = journal_listener(journal, i);

		if (atomic_load(&one->state) == JOURNAL_LISTENER_FREE) {
			uint32_t generation = one->generation + 1;

			memset(one, 0, sizeof(*one));
			one->generation = generation;
			atomic_store(&one->state, JOURNAL_LISTENER_PENDING);
			*index = i;
			taken = one;
		}
	}
	pthread_mutex_unlock(&journal->lock);
	return taken;
}
