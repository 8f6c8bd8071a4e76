#include "supervisor/mpud/keeper.h"

#include <stdatomic.h>
#include <unistd.h>

void keeper_hold(struct keeper *keeper, uint32_t index, int fd)
{
	if (keeper->listener[index] >= 0)
		close(keeper->listener[index]);
	else
		keeper->listeners++;
	keeper->listener[index] = fd;
}

/* The descriptor first: a worker takes the place again as soon as it is free. */
void keeper_let_go(struct keeper *keeper, uint32_t index)
{
	struct journal_listener *entry = journal_listener(keeper->journal, index);

	if (atomic_load(&entry->state) != JOURNAL_LISTENER_CLOSED)
		return;
	if (keeper->listener[index] >= 0) {
		close(keeper->listener[index]);
		keeper->listener[index] = -1;
		keeper->listeners--;
		store_remove_listener(index);
	}
	atomic_store(&entry->state, JOURNAL_LISTENER_FREE);
}

void keeper_let_go_all_closed(struct keeper *keeper)
{
	atomic_store(&journal_header(keeper->journal)->closed_cue, 0);
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		keeper_let_go(keeper, i);
}

/* Where descriptor and journal disagree, a worker died between the two: its parcel comes again. */
void keeper_settle(struct keeper *keeper)
{
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		struct journal_listener *entry = journal_listener(keeper->journal, i);
		uint32_t state = atomic_load(&entry->state);

		if (state == JOURNAL_LISTENER_HELD && keeper->listener[i] >= 0)
			continue;
		if (state != JOURNAL_LISTENER_FREE || keeper->listener[i] >= 0)
			atomic_store(&entry->state, JOURNAL_LISTENER_CLOSED);
	}
	keeper_let_go_all_closed(keeper);
}
