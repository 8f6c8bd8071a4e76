#include "supervisor/journal.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

struct journal {
	pthread_mutex_t lock;
	uint32_t free_count;
	uint32_t free[JOURNAL_SLOTS];
	_Alignas(4096) unsigned char slot[JOURNAL_SLOTS][JOURNAL_SLOT_SIZE];
};

static struct journal_slot *slot_at(struct journal *journal, uint32_t index)
{
	return (struct journal_slot *)(void *)journal->slot[index];
}

struct journal *journal_new(void)
{
	struct journal *journal = mmap(NULL, sizeof(*journal), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (journal == MAP_FAILED)
		return NULL;
	pthread_mutex_init(&journal->lock, NULL);
	for (uint32_t i = 0; i < JOURNAL_SLOTS; i++)
		journal->free[i] = JOURNAL_SLOTS - 1 - i;
	journal->free_count = JOURNAL_SLOTS;
	return journal;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	pthread_mutex_destroy(&journal->lock);
	munmap(journal, sizeof(*journal));
}

struct journal_slot *journal_take(struct journal *journal)
{
	struct journal_slot *slot = NULL;
	uint32_t index;

	pthread_mutex_lock(&journal->lock);
	if (journal->free_count) {
		index = journal->free[--journal->free_count];
		slot = slot_at(journal, index);
		memset(slot, 0, sizeof(*slot));
		slot->index = index;
	}
	pthread_mutex_unlock(&journal->lock);
	return slot;
}

void journal_give(struct journal *journal, struct journal_slot *slot)
{
	atomic_store(&slot->phase, JOURNAL_FREE);
	pthread_mutex_lock(&journal->lock);
	journal->free[journal->free_count++] = slot->index;
	pthread_mutex_unlock(&journal->lock);
}
