#include "supervisor/roster.h"

#include "supervisor/target.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROCESSES = 8192, THREADS = 8192, BUCKETS = 2048 };

/* Of so many of the oldest entries the one goes whose container has most, by a hash of its name. */
enum { WINDOW = 16, SHARES = 1024 };

/* A process as one namespace numbers it. */
struct known_process {
	uint64_t ns_id;
	pid_t number;
	pid_t host;
	uint64_t start_ticks;
	uint64_t first_us, last_us; /* life as far as it was seen */
	uint64_t top;		    /* the outermost namespace around it: its container's */
	uint32_t next;		    /* index + 1 of the next in the bucket of its host number */
};

struct known_thread {
	pid_t tid;
	pid_t tgid;
	uint64_t start_ticks; /* of the process */
	uint64_t top;	      /* as above */
	uint32_t next;	      /* index + 1 of the next in the bucket of its tid */
};

struct roster {
	pthread_mutex_t lock;
	uint32_t process_cursor, thread_cursor; /* about the oldest entry */
	uint16_t process_share[SHARES], thread_share[SHARES];
	uint32_t process_bucket[BUCKETS], thread_bucket[BUCKETS];
	struct known_process process[PROCESSES];
	struct known_thread thread[THREADS];
};

static void make_lock(struct roster *roster)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&roster->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

struct roster *roster_make(void *memory, size_t size)
{
	struct roster *roster = memory;

	if (size < sizeof(*roster))
		return NULL;
	make_lock(roster);
	return roster;
}

struct roster *roster_new(void)
{
	void *memory = mmap(NULL, sizeof(struct roster), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : roster_make(memory, sizeof(struct roster));
}

void roster_free(struct roster *roster)
{
	if (roster)
		munmap(roster, sizeof(*roster));
}

static void unlock(struct roster **roster)
{
	pthread_mutex_unlock(&(*roster)->lock);
}

/* A worker that died inside left at most one entry half written, which no chain reaches yet. */
static struct roster *lock(struct roster *roster)
{
	if (pthread_mutex_lock(&roster->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&roster->lock);
	return roster;
}

#define locked(roster) __attribute__((cleanup(unlock))) struct roster *held_ = lock(roster)

static uint32_t bucket_of(pid_t pid)
{
	return (uint32_t)pid % BUCKETS;
}

/* Who makes many entries pushes out his own before he gets at those of others. */
static uint32_t choose(const uint16_t share[SHARES], const uint64_t top[WINDOW])
{
	uint32_t chosen = 0;

	for (uint32_t i = 1; i < WINDOW; i++)
		if (share[top[i] % SHARES] > share[top[chosen] % SHARES])
			chosen = i;
	return chosen;
}

static void count_out(uint16_t share[SHARES], uint64_t top)
{
	if (share[top % SHARES])
		share[top % SHARES]--;
}

static void unlink_process(struct roster *roster, uint32_t index)
{
	uint32_t *link = &roster->process_bucket[bucket_of(roster->process[index].host)];

	while (*link && *link != index + 1)
		link = &roster->process[*link - 1].next;
	if (*link)
		*link = roster->process[index].next;
}

static uint32_t place_of_process(struct roster *roster)
{
	uint32_t first = roster->process_cursor++, index;
	uint64_t top[WINDOW];

	if (!roster->process[first % PROCESSES].host)
		return first % PROCESSES;
	for (uint32_t i = 0; i < WINDOW; i++)
		top[i] = roster->process[(first + i) % PROCESSES].top;
	index = (first + choose(roster->process_share, top)) % PROCESSES;
	if (roster->process[index].host) {
		unlink_process(roster, index);
		count_out(roster->process_share, roster->process[index].top);
	}
	return index;
}

static void note_process(struct roster *roster, struct known_process seen)
{
	uint32_t *bucket = &roster->process_bucket[bucket_of(seen.host)];
	uint32_t index;

	for (uint32_t at = *bucket; at; at = roster->process[at - 1].next) {
		struct known_process *known = &roster->process[at - 1];

		if (known->host == seen.host && known->ns_id == seen.ns_id &&
		    known->start_ticks == seen.start_ticks) {
			known->last_us = seen.last_us;
			return;
		}
	}
	index = place_of_process(roster);
	seen.next = *bucket;
	roster->process[index] = seen;
	roster->process_share[seen.top % SHARES]++;
	*bucket = index + 1;
}

static void unlink_thread(struct roster *roster, uint32_t index)
{
	uint32_t *link = &roster->thread_bucket[bucket_of(roster->thread[index].tid)];

	while (*link && *link != index + 1)
		link = &roster->thread[*link - 1].next;
	if (*link)
		*link = roster->thread[index].next;
}

static uint32_t place_of_thread(struct roster *roster)
{
	uint32_t first = roster->thread_cursor++, index;
	uint64_t top[WINDOW];

	if (!roster->thread[first % THREADS].tid)
		return first % THREADS;
	for (uint32_t i = 0; i < WINDOW; i++)
		top[i] = roster->thread[(first + i) % THREADS].top;
	index = (first + choose(roster->thread_share, top)) % THREADS;
	if (roster->thread[index].tid) {
		unlink_thread(roster, index);
		count_out(roster->thread_share, roster->thread[index].top);
	}
	return index;
}

static void note_thread(struct roster *roster, struct known_thread seen)
{
	uint32_t *bucket = &roster->thread_bucket[bucket_of(seen.tid)];
	uint32_t index;

	for (uint32_t at = *bucket; at; at = roster->thread[at - 1].next) {
		const struct known_thread *known = &roster->thread[at - 1];

		if (known->tid == seen.tid && known->tgid == seen.tgid &&
		    known->start_ticks == seen.start_ticks)
			return;
	}
	index = place_of_thread(roster);
	seen.next = *bucket;
	roster->thread[index] = seen;
	roster->thread_share[seen.top % SHARES]++;
	*bucket = index + 1;
}

void roster_note(struct roster *roster, pid_t tid, bool with_thread)
{
	uint64_t ids[TARGET_LEVELS], ticks, now = task_clock_us();
	pid_t numbers[TARGET_LEVELS];
	int levels = pidmap_namespaces(tid, ids, numbers, TARGET_LEVELS);
	struct task_status status;
	uint64_t top;

	if (levels < 0 || (!levels && !with_thread) || task_status_read(tid, &status))
		return;
	ticks = task_start_ticks(status.tgid);
	top = levels ? ids[levels - 1] : 0;
	locked(roster);
	for (int i = 0; i < levels; i++)
		note_process(held_, (struct known_process){.ns_id = ids[i],
							   .number = numbers[i],
							   .host = status.tgid,
							   .start_ticks = ticks,
							   .first_us = task_ticks_to_us(ticks),
							   .last_us = now,
							   .top = top});
	if (with_thread)
		note_thread(held_,
			    (struct known_thread){
				.tid = tid, .tgid = status.tgid, .start_ticks = ticks, .top = top});
}

/* It began after its target, and so after the namespace. */
void roster_note_proxy(struct roster *roster, pid_t tid, pid_t proxy)
{
	uint64_t ids[TARGET_LEVELS], now = task_clock_us();
	uint64_t ticks = task_start_ticks(proxy);
	pid_t numbers[TARGET_LEVELS];
	int levels = pidmap_namespaces(tid, ids, numbers, TARGET_LEVELS);

	if (!ticks)
		return;
	locked(roster);
	for (int i = 0; i < levels; i++)
		note_process(held_, (struct known_process){.ns_id = ids[i],
							   .number = numbers[i],
							   .host = proxy,
							   .start_ticks = ticks,
							   .first_us = task_ticks_to_us(ticks),
							   .last_us = now,
							   .top = ids[levels - 1]});
}

/* So long after it was last noted a process may have begun a record: not all of its calls are
 * trapped, and not at all of them is it noted. */
enum { UNSEEN_US = 1000000 + ROSTER_STALE_MS * 1000 };

/* An entry for this namespace, not for an earlier one of the same inode number. */
static bool is_of(const struct known_process *known, uint64_t ns_id, uint64_t born_ticks)
{
	return known->host && known->ns_id == ns_id && known->start_ticks >= born_ticks;
}

static bool are_processes_sound(const struct roster *roster)
{
	uint32_t steps = 0;

	for (uint32_t i = 0; i < BUCKETS; i++)
		for (uint32_t at = roster->process_bucket[i]; at;
		     at = roster->process[at - 1].next)
			if (at > PROCESSES || ++steps > PROCESSES ||
			    bucket_of(roster->process[at - 1].host) != i)
				return false;
	return true;
}

static bool are_threads_sound(const struct roster *roster)
{
	uint32_t steps = 0;

	for (uint32_t i = 0; i < BUCKETS; i++)
		for (uint32_t at = roster->thread_bucket[i]; at; at = roster->thread[at - 1].next)
			if (at > THREADS || ++steps > THREADS ||
			    bucket_of(roster->thread[at - 1].tid) != i)
				return false;
	return true;
}

void roster_begin(struct roster *roster)
{
	if (!are_processes_sound(roster) || !are_threads_sound(roster))
		memset(roster, 0, sizeof(*roster));
	make_lock(roster);
}

/* The next entry of HOST in its bucket behind AT (index + 1, or the bucket's head), or NULL. */
static const struct known_process *next_of(const struct roster *roster, uint32_t *at, pid_t host)
{
	while (*at) {
		const struct known_process *known = &roster->process[*at - 1];

		*at = known->next;
		if (known->host == host)
			return known;
	}
	return NULL;
}

pid_t roster_number_of(struct roster *roster, uint64_t ns_id, uint64_t born_ticks, pid_t host,
		       uint64_t at_us)
{
	const struct known_process *known;
	uint32_t at;

	locked(roster);
	at = held_->process_bucket[bucket_of(host)];
	while ((known = next_of(held_, &at, host)))
		if (is_of(known, ns_id, born_ticks) &&
		    at_us + TASK_CLOCK_SLACK_US >= known->first_us &&
		    at_us <= known->last_us + UNSEEN_US)
			return known->number;
	return 0;
}

bool roster_knows(struct roster *roster, uint64_t ns_id, uint64_t born_ticks, pid_t host)
{
	const struct known_process *known;
	uint32_t at;

	locked(roster);
	at = held_->process_bucket[bucket_of(host)];
	while ((known = next_of(held_, &at, host)))
		if (is_of(known, ns_id, born_ticks))
			return true;
	return false;
}

size_t roster_hosts_of(struct roster *roster, uint64_t ns_id, uint64_t born_ticks, pid_t number,
		       pid_t *hosts, size_t size)
{
	size_t count = 0;

	locked(roster);
	for (uint32_t i = 1; i <= PROCESSES && count < size; i++) {
		const struct known_process *known =
		    &held_->process[(held_->process_cursor - i) % PROCESSES];

		if (is_of(known, ns_id, born_ticks) && known->number == number)
			hosts[count++] = known->host;
	}
	return count;
}

size_t roster_processes_of_thread(struct roster *roster, pid_t tid, pid_t *processes, size_t size)
{
	size_t count = 0;

	locked(roster);
	for (uint32_t at = held_->thread_bucket[bucket_of(tid)]; at && count < size;
	     at = held_->thread[at - 1].next) {
		const struct known_thread *known = &held_->thread[at - 1];

		if (known->tid == tid && task_start_ticks(known->tgid) == known->start_ticks)
			processes[count++] = known->tgid;
	}
	return count;
}

size_t roster_threads_of(struct roster *roster, pid_t tgid, pid_t *threads, size_t size)
{
	uint64_t ticks = task_start_ticks(tgid);
	size_t count = 0;

	locked(roster);
	for (uint32_t i = 0; i < THREADS && count < size; i++) {
		const struct known_thread *known = &held_->thread[i];

		if (known->tgid == tgid && known->start_ticks == ticks)
			threads[count++] = known->tid;
	}
	return count;
}
