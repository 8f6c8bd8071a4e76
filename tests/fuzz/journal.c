/* A journal in which anything may stand, such as a worker leaves that died of a bug of its own: its
 * successor neither dies of it nor writes what it should not. */
#include "supervisor/engine-private.h"
#include "supervisor/execute.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/target.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LISTENERS = 3, USED_SLOTS = 24, SLEEPS_MAX = 64 };

struct run {
	struct journal *journal;
	struct fuzz_stream world; /* what the kernel says */
	uint64_t asked;		  /* the last id that was valid */
	unsigned int answers, sleeps;
};

static struct run *current;
static struct engine engine;

int __wrap_memory_read(pid_t tid, uint64_t address, void *buffer, size_t length);
int __wrap_memory_write(pid_t tid, uint64_t address, const void *buffer, size_t length);
bool __wrap_notify_id_valid(int listener, uint64_t id);
void __wrap_listener_answer(struct listener *listener, uint64_t id,
			    struct seccomp_notif_resp response);
int __wrap_target_identify(pid_t tid, struct target *target);
bool __wrap_task_may_be_there(pid_t tgid, uint64_t start);
bool __wrap_task_may_be_alive(pid_t tgid, pid_t tid);
int __wrap_usleep(useconds_t microseconds);
void __wrap_executors_submit(struct engine *of, struct work *work);

/* ---- The kernel ---- */

int __wrap_memory_read(pid_t tid, uint64_t address, void *buffer, size_t length)
{
	(void)tid, (void)address;
	if (fuzz_byte(&current->world) & 1)
		return -EFAULT;
	fuzz_fill(&current->world, buffer, length);
	return 0;
}

static bool is_in(const void *memory, size_t size, const void *place, size_t length)
{
	const char *base = memory, *at = place;

	return at >= base && length <= size && at + length <= base + size;
}

static bool is_of_a_desk(const void *bytes, size_t length)
{
	struct journal_slot slot = {0};

	for (slot.desk = 1; slot.desk <= JOURNAL_DESKS; slot.desk++) {
		const struct journal_desk *desk = journal_desk(current->journal, &slot);

		if (is_in(desk->params, sizeof(desk->params), bytes, length) ||
		    is_in(desk->buffer, sizeof(desk->buffer), bytes, length))
			return true;
	}
	return false;
}

/* Small ones come from the stack: the status. */
int __wrap_memory_write(pid_t tid, uint64_t address, const void *buffer, size_t length)
{
	static volatile char seen;

	(void)tid, (void)address, (void)seen;
	fuzz_check(current->asked, "written to a target that does not wait");
	current->asked = 0;
	fuzz_check(length == sizeof(struct nvos54_parameters) || is_of_a_desk(buffer, length),
		   "%zu bytes from nowhere", length);
	seen = length ? ((const char *)buffer)[0] + ((const char *)buffer)[length - 1] : 0;
	return fuzz_byte(&current->world) & 3 ? 0 : -EFAULT;
}

bool __wrap_notify_id_valid(int listener, uint64_t id)
{
	bool valid = fuzz_byte(&current->world) & 3;

	(void)listener;
	current->asked = valid ? id | UINT64_C(1) << 63 : 0;
	return valid;
}

void __wrap_listener_answer(struct listener *listener, uint64_t id,
			    struct seccomp_notif_resp response)
{
	(void)listener, (void)id;
	fuzz_check(response.error != -ENOSYS, "ENOSYS");
	current->answers++;
}

int __wrap_target_identify(pid_t tid, struct target *target)
{
	(void)tid, (void)target;
	return -ESRCH;
}

/* Who was writing ends some time. */
bool __wrap_task_may_be_there(pid_t tgid, uint64_t start)
{
	(void)tgid, (void)start;
	return current->sleeps < SLEEPS_MAX && fuzz_byte(&current->world) & 7;
}

bool __wrap_task_may_be_alive(pid_t tgid, pid_t tid)
{
	(void)tgid, (void)tid;
	return current->sleeps < SLEEPS_MAX && fuzz_byte(&current->world) & 7;
}

int __wrap_usleep(useconds_t microseconds)
{
	(void)microseconds;
	current->sleeps++;
	return 0;
}

/* ---- The engine, on this thread alone ---- */

void __wrap_executors_submit(struct engine *of, struct work *work)
{
	static struct thread_counters counters;
	struct executor executor = {.engine = of, .counters = &counters};
	unsigned int before = current->answers;

	fuzz_check(work->record, "a listener to serve");
	call_taken_up(&executor, work->listener, work->record);
	fuzz_check(current->answers - before <= 1, "answered %u times", current->answers - before);
	journal_give(of->journal, work->record);
	listener_release(work->listener);
}

/* ---- What stands in the journal ---- */

#define FIELD(name)                                                                                \
	{                                                                                          \
		offsetof(struct journal_slot, name), sizeof(((struct journal_slot *)NULL)->name)   \
	}

static const struct {
	size_t at, size;
} fields[] = {FIELD(notification.id), FIELD(notification.pid), FIELD(notification.data.args[1]),
	      FIELD(control),	      FIELD(control_address),  FIELD(listener),
	      FIELD(generation),      FIELD(index),	       FIELD(desk),
	      FIELD(deaths),	      FIELD(retries),	       FIELD(phase),
	      FIELD(owner),	      FIELD(owner_process),    FIELD(writer),
	      FIELD(writer_process),  FIELD(answer.params_address), FIELD(answer.params_size),
	      FIELD(answer.buffer_size), FIELD(answer.status), FIELD(answer.errnum)};

/* Small numbers are as likely as any. */
static void put_value(struct fuzz_stream *input, void *place, size_t size)
{
	uint8_t how = fuzz_byte(input);

	if (how & 1) {
		fuzz_fill(input, place, size);
		return;
	}
	memset(place, 0, size);
	*(uint8_t *)place = how >> 1;
}

static void scribble(struct run *run, struct fuzz_stream *input)
{
	uint8_t what = fuzz_byte(input), which = fuzz_byte(input);
	size_t field = what % (sizeof(fields) / sizeof(fields[0]) + 3);
	char *memory = (char *)journal_header(run->journal);

	if (field < sizeof(fields) / sizeof(fields[0])) {
		char *slot = (char *)journal_slot(run->journal, which % USED_SLOTS);

		put_value(input, slot + fields[field].at, fields[field].size);
	} else if (field == sizeof(fields) / sizeof(fields[0])) {
		struct journal_listener *entry =
			journal_listener(run->journal, which % LISTENERS);

		put_value(input, entry->label, sizeof(entry->label));
		put_value(input, &entry->generation, sizeof(entry->generation));
		entry->settings.deny_shared_pids = which & 1;
		atomic_store(&entry->quarantined, which & 2);
	} else {
		/* Anywhere but in the desks. The bool of a listener's settings would be no bool. */
		size_t size = (size_t)((char *)journal_listener(run->journal, 0) - memory);
		size_t roster = (size_t)((char *)journal_roster(run->journal) - memory);
		size_t at = fuzz_u32(input);

		if (field & 1)
			put_value(input, memory + at % (size - 8), 8);
		else
			put_value(input, memory + roster + at % ((1 << 20) - 8), 8);
	}
}

/* Every slot and every desk is there once. */
static void check_free(struct journal *journal)
{
	static struct journal_slot *slot[JOURNAL_SLOTS];
	bool seen[JOURNAL_SLOTS] = {false}, desk_seen[JOURNAL_DESKS + 1] = {false};
	size_t desks = 0;

	for (size_t i = 0; i < JOURNAL_SLOTS; i++) {
		slot[i] = journal_take(journal);
		fuzz_check(slot[i], "slot %zu is lost", i);
		fuzz_check(slot[i] == journal_slot(journal, slot[i]->index), "a slot of nowhere");
		fuzz_check(!seen[slot[i]->index], "slot %u twice", slot[i]->index);
		seen[slot[i]->index] = true;
	}
	fuzz_check(!journal_take(journal), "more slots than there are");
	while (desks < JOURNAL_SLOTS && journal_desk(journal, slot[desks])) {
		uint32_t desk = slot[desks++]->desk;

		fuzz_check(desk && desk <= JOURNAL_DESKS && !desk_seen[desk], "desk %u", desk);
		desk_seen[desk] = true;
	}
	fuzz_check(desks == JOURNAL_DESKS, "%zu desks", desks);
}

static void use_roster(struct roster *roster)
{
	pid_t found[8];

	roster_note(roster, getpid(), true);
	roster_number_of(roster, 1, 0, getpid(), 0);
	roster_hosts_of(roster, 1, 0, 1, found, 8);
	roster_processes_of_thread(roster, getpid(), found, 8);
	roster_threads_of(roster, getpid(), found, 8);
}

static void succeed(struct run *run)
{
	journal_begin(run->journal);
	engine.journal = run->journal;
	engine.roster = journal_roster(run->journal);
	engine.counters = journal_counters(run->journal);
	engine.left_count = 0;
	for (uint32_t i = 0; i < LISTENERS; i++)
		engine.open[i] = listener_new(&engine, open("/dev/null", O_RDWR | O_CLOEXEC), i);
	fuzz_check(!succession_begin(&engine), "no memory");
	engine_take_up(&engine);
	free(engine.left);
	for (uint32_t i = 0; i < LISTENERS; i++) {
		listener_release(engine.open[i]);
		engine.open[i] = NULL;
	}
	use_roster(engine.roster);
	check_free(run->journal);
}

/* One mapping for all runs: the sanitizer marks each byte of a new one. */
static struct journal *empty_journal(void)
{
	static struct journal *journal;
	int fd;

	if (!journal)
		journal = journal_new(true);
	fuzz_check(journal, "%m");
	fd = journal_fd(journal);
	fuzz_check(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      lseek(fd, 0, SEEK_END)),
		   "%m");
	return journal;
}

/* The bytes as a journal that comes along: none of ours, or it is mapped. */
static void attach(const uint8_t *data, size_t size, uint8_t how)
{
	struct journal *journal = journal_new(true), *other;
	struct mpu_error error = {0};
	size_t at = how & 1 ? 0 : 8;
	int fd;

	fuzz_check(journal, "%m");
	memcpy((char *)journal_header(journal) + at, data, size < 256 ? size : 256);
	fd = dup(journal_fd(journal));
	if (how & 2)
		fuzz_check(!ftruncate(fd, (off_t)size), "%m");
	other = journal_attach(fd, &error);
	fuzz_check(!other == !!error.code, "a journal, or an error");
	if (other)
		journal_free(other);
	else
		close(fd);
	journal_free(journal);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	pthread_mutex_init(&engine.lock, NULL);
	engine.open = calloc(JOURNAL_LISTENERS, sizeof(struct listener *));
	engine.process = getpid();
	fuzz_check(!nvabi_pids_compose(nvabi_release_version(100), &engine.options.pids), "tables");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = {.world = {.data = data, .size = size}};
	struct fuzz_stream input = {.data = data, .size = size};
	uint8_t how = fuzz_byte(&input);

	current = &run;
	if (size < 4)
		return 0;
	if ((how & 0xf0) == 0x80) {
		attach(data + 1, size - 1, how);
		return 0;
	}
	run.journal = empty_journal();
	while (input.at + 4 < size)
		scribble(&run, &input);
	succeed(&run);
	return 0;
}
