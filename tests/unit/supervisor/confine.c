/* A target's parameters gathered for its proxy and scattered back, with this process as the target;
 * what is refused, and how it is counted. */
#include "nvabi/rm.h"
#include "supervisor/bytes.h"
#include "supervisor/confine/callers.h"
#include "supervisor/confine/refuse.h"
#include "supervisor/confine/translate.h"
#include "supervisor/driver.h"
#include "supervisor/settings.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AREA = 64 << 10, ID = 4711 };
#define SEEN UINT64_C(0x7f0012340000)

static _Alignas(16) uint8_t area[AREA];
static struct translation translation;
static struct lane_request request;
static struct target target;

static void begin(void)
{
	target = (struct target){.tid = gettid(), .tgid = getpid(), .pid_ns = -1};
	memset(area, 0xee, sizeof(area));
	translation_begin(&translation, &target, true, area, sizeof(area), ID, &request);
	translation.seen = SEEN;
}

static uint64_t address_of(const void *memory)
{
	return (uint64_t)(uintptr_t)memory;
}

/* What the driver would find at ADDRESS of the proxy. */
static uint8_t *at_driver(uint64_t address)
{
	cr_assert(address >= SEEN && address < SEEN + AREA, "0x%lx is outside of the area",
		  (unsigned long)address);
	return area + (address - SEEN);
}

static void *page_without_access(void)
{
	return mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* u64 list; u32 count; u32 fd; u64 other */
struct params {
	uint64_t list;
	uint32_t count;
	int32_t fd;
	uint64_t only_null;
};

static const struct nvabi_pointer pointers[] = {
    {.offset = 0,
     .directions = NVABI_IN | NVABI_OUT,
     .length = {.constant = 4, .offset = 8, .width = 4, .scale = 8, .limit = 100}},
    {.offset = 16, .directions = 0}};
static const struct nvabi_descriptor descriptors[] = {
    {.offset = 12, .width = 4, .directions = NVABI_IN | NVABI_OUT}};
static const struct nvabi_rule rule = {.name = "MADE_UP",
				       .size = sizeof(struct params),
				       .pointers = pointers,
				       .pointer_count = 2,
				       .descriptors = descriptors,
				       .descriptor_count = 1};

static uint32_t gather(struct params *params, enum translation_form form)
{
	uint32_t offset = translation_take(&translation, address_of(params), sizeof(*params),
					   NVABI_IN | NVABI_OUT);

	cr_assert(offset);
	translation_fields(&translation, &rule, offset, sizeof(*params), form);
	return offset;
}

Test(translate, what_a_pointer_leads_to_lies_in_the_area_and_goes_back)
{
	uint64_t list[4] = {1, 2, 3, 4};
	struct params params = {.list = address_of(list), .count = 2, .fd = -1};
	struct params *seen;
	uint8_t *behind;

	begin();
	seen = (struct params *)(void *)(area + gather(&params, FORM_WHOLE));
	cr_assert_eq(translation.error, 0);
	behind = at_driver(seen->list);
	cr_assert_eq(memcmp(behind, list, 20), 0);
	cr_assert_eq(behind[20], 0, "nothing of another call stands behind it");

	/* The driver answers. */
	put_u64(behind, 0, 77);
	behind[20] = 1;
	seen->count = 1;
	translation_restore(area);
	cr_assert_eq(seen->list, address_of(list));
	cr_assert(translation_is_sound(area, AREA, ID));
	cr_assert_not(translation_is_sound(area, AREA, ID + 1));
}

Test(translate, an_address_that_cannot_be_read_is_one_that_the_driver_cannot_read)
{
	struct params params = {.list = address_of(page_without_access()), .count = 1, .fd = -1};
	struct params *seen;

	begin();
	seen = (struct params *)(void *)(area + gather(&params, FORM_WHOLE));
	cr_assert_eq(seen->list, TRANSLATE_UNREADABLE);
	cr_assert_eq(translation.error, 0);
	translation_restore(area);
	cr_assert_eq(seen->list, params.list);
}

Test(translate, no_address_of_the_targets_choice_is_left)
{
	uint64_t list[101];
	const uint32_t counts[] = {0, 1, 100, 101, 0x20000000, UINT32_MAX};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (int form = FORM_WHOLE; form <= FORM_WRONG; form++) {
			struct params params = {
			    .list = address_of(list), .count = counts[i], .fd = -1};
			struct params *seen;

			begin();
			seen =
			    (struct params *)(void *)(area +
						      gather(&params, (enum translation_form)form));
			if (counts[i] > 100 || form == FORM_WRONG) {
				cr_assert_eq(seen->list, TRANSLATE_UNREADABLE);
				continue;
			}
			at_driver(seen->list);
			at_driver(seen->list + 3 + counts[i] * 8);
		}
	}
}

Test(translate, null_stays_null_and_a_pointer_that_must_be_null_is_refused)
{
	struct params params = {.list = 0, .count = 5, .fd = -1};
	struct params *seen;

	begin();
	seen = (struct params *)(void *)(area + gather(&params, FORM_WHOLE));
	cr_assert_eq(seen->list, 0);
	cr_assert(translation_is_allowed(&rule, (uint8_t *)&params, sizeof(params)));
	params.only_null = 1;
	cr_assert_not(translation_is_allowed(&rule, (uint8_t *)&params, sizeof(params)));
	cr_assert(translation_is_allowed(&rule, (uint8_t *)&params, 20), "a part of it is none");
}

Test(translate, a_pointer_that_the_params_end_in_is_left_alone)
{
	uint8_t bytes[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
	uint32_t offset;

	begin();
	offset = translation_take(&translation, address_of(bytes), 4, NVABI_IN);
	translation_fields(&translation, &rule, offset, 4, FORM_WRONG);
	cr_assert_eq(get_u32(area, offset), UINT32_MAX);
	cr_assert_eq(translation.record->field_count, 0);
}

static const struct nvabi_pointer squares[] = {
    {.offset = 0,
     .directions = NVABI_OUT,
     .length = {.offset = 8, .width = 4, .scale = 4, .square = true, .limit = 32}}};
static const struct nvabi_rule square = {
    .size = sizeof(struct params), .pointers = squares, .pointer_count = 1};

Test(translate, lengths_are_squared_where_the_driver_squares_them)
{
	uint32_t table[32 * 32] = {[32 * 32 - 1] = 9};
	struct params params = {.list = address_of(table), .count = 32, .fd = -1};
	uint32_t offset;

	begin();
	offset = translation_take(&translation, address_of(&params), sizeof(params), NVABI_IN);
	translation_fields(&translation, &square, offset, sizeof(params), FORM_WHOLE);
	cr_assert_eq(translation.record->piece[1].length, sizeof(table));
	cr_assert_eq(get_u32(at_driver(get_u64(area, offset)), sizeof(table) - 4), 9);
}

Test(translate, more_than_there_is_room_for_is_not_readable)
{
	static uint8_t big[AREA];
	struct params params = {.fd = -1};

	begin();
	cr_assert(translation_take(&translation, address_of(&params), sizeof(params), NVABI_IN));
	cr_assert_eq(translation_take(&translation, address_of(big), sizeof(big), NVABI_IN), 0);
	cr_assert_eq(translation_take(&translation, address_of(big), UINT64_MAX, NVABI_IN), 0);
	cr_assert_eq(translation_take(&translation, address_of(big), 0, NVABI_IN), 0);
	cr_assert_eq(translation.error, 0);
	for (int i = 0; i < RECORD_PIECES; i++)
		translation_take(&translation, address_of(big), 1, NVABI_IN);
	cr_assert_eq(translation_take(&translation, address_of(big), 1, NVABI_IN), 0);
}

Test(translate, a_descriptor_travels_and_its_number_comes_back)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct params params = {.fd = fd};
	struct stat own, taken;
	struct params *seen;
	uint32_t offset;

	begin();
	offset = gather(&params, FORM_WHOLE);
	seen = (struct params *)(void *)(area + offset);
	cr_assert_eq(request.in_count, 1);
	cr_assert_eq(request.in[0].offset, offset + 12);
	cr_assert_eq(request.in[0].width, 4);
	fstat(fd, &own);
	fstat(request.in[0].fd, &taken);
	cr_assert_eq(own.st_ino, taken.st_ino);
	cr_assert_neq(seen->fd, fd, "the proxy's number is the proxy's to say");
	translation_end(&request);
	cr_assert_eq(request.in_count, 0);
	seen->fd = 99; /* the proxy's */
	translation_restore(area);
	cr_assert_eq(seen->fd, fd);
}

Test(translate, a_number_that_is_no_descriptor_is_none_for_the_driver)
{
	struct params params = {.fd = 1000};
	struct params *seen;

	begin();
	seen = (struct params *)(void *)(area + gather(&params, FORM_WHOLE));
	cr_assert_eq(request.in_count, 0);
	cr_assert_eq(seen->fd, INT32_MAX);
	cr_assert_eq(translation.error, 0);
	translation_restore(area);
	cr_assert_eq(seen->fd, 1000);
}

Test(translate, a_descriptor_of_the_drivers_gets_the_targets_number)
{
	struct params params = {.fd = -1};
	struct params *seen;
	uint32_t offset;

	begin();
	offset = gather(&params, FORM_WHOLE);
	seen = (struct params *)(void *)(area + offset);
	cr_assert_eq(request.out_offset, offset + 12);
	cr_assert_eq(request.out_width, 4);
	seen->fd = 5; /* the driver's, in the proxy */
	translation.record->installed = 42;
	translation_restore(area);
	cr_assert_eq(seen->fd, 42);
	translation.record->installed = -1;
	translation_restore(area);
	cr_assert_eq(seen->fd, -1, "none was made");
}

Test(translate, a_record_that_leads_out_of_the_area_is_not_taken_up)
{
	struct params params = {.fd = -1};

	begin();
	gather(&params, FORM_WHOLE);
	cr_assert(translation_is_sound(area, AREA, ID));
	translation.record->piece[0].offset = AREA - 8;
	cr_assert_not(translation_is_sound(area, AREA, ID));
	translation.record->piece[0].offset = 8;
	cr_assert_not(translation_is_sound(area, AREA, ID), "the record itself");
	translation.record->piece[0].offset = TRANSLATE_FIRST;
	translation.record->field_count = RECORD_FIELDS + 1;
	cr_assert_not(translation_is_sound(area, AREA, ID));
}

/* Real rules: every pointer that one has leads into the area, or nowhere. */
Test(translate, rules_of_all_releases_leave_no_address)
{
	static const char *const releases[] = {"515.43.04", "535.104.05", "550.54.14",
					       "570.86.15", "580.95.05",  "595.45.04"};
	static uint8_t params[1 << 20];
	unsigned int seen = 0;

	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++) {
		struct nvabi_version version;
		struct nvabi_policy *policy;
		const struct nvabi_rule *one;

		nvabi_version_parse(releases[i], &version);
		cr_assert_eq(nvabi_policy_open(&version, &policy), 0);
		for (uint32_t j = 0; (one = nvabi_policy_rule(policy, j)); j++) {
			uint32_t size = one->size ? one->size : 64, offset;

			if (!one->pointer_count || size > AREA / 2)
				continue;
			memset(params, 1, size); /* lengths of 1 or 0x1010101 */
			for (uint32_t k = 0; k < one->pointer_count; k++)
				put_u64(params, one->pointers[k].offset, address_of(params));
			begin();
			offset = translation_take(&translation, address_of(params), size, NVABI_IN);
			translation_fields(&translation, one, offset, size, FORM_WHOLE);
			for (uint32_t k = 0; k < one->pointer_count; k++) {
				uint64_t to = get_u64(area, offset + one->pointers[k].offset);

				cr_assert(to == TRANSLATE_UNREADABLE ||
					      (to >= SEEN && to < SEEN + AREA),
					  "%s of %s", one->name, releases[i]);
				seen++;
			}
		}
		nvabi_policy_close(policy);
	}
	cr_assert_geq(seen, 100);
}

Test(driver, nothing_is_confined_on_a_branch_that_is_not_known)
{
	static const uint32_t words = MPU_CONFINE_ON | NVABI_CAP_COMPUTE | NVABI_CAP_UTILITY;
	static const uint32_t all = MPU_CONFINE_ON | NVABI_CAPS | MPU_CONFINE_STRICT;
	const struct nvabi_version listed = {580, 95, 5, 3}, unlisted = {580, 95, 99, 3},
				   newer = {999, 10, 1, 3}, between = {540, 10, 0, 2};
	struct mpu_error error = {0};

	cr_assert_eq(driver_check_confine(&listed, words, &error), 0);
	cr_assert_eq(driver_check_confine(&unlisted, words, &error), 0);
	cr_assert_eq(driver_check_confine(&newer, 0, &error), 0);
	cr_assert_eq(driver_check_confine(&newer, words | MPU_CONFINE_LOG, &error), 0);
	cr_assert_eq(error.code, 0);
	cr_assert_eq(driver_check_confine(&between, all, &error), -ENOTSUP);
	cr_assert_lt(strlen(error.text), sizeof(error.text) - JOURNAL_LABEL - 32,
		     "no room for whose it is: %s", error.text);
	error = (struct mpu_error){0};
	cr_assert_eq(driver_check_confine(&newer, words, &error), -ENOTSUP);
	cr_assert_not_null(strstr(error.text, "compute,utility on driver 999.10.01"));
	cr_assert_not_null(strstr(error.text, "or do not confine)"), "cut off: %s", error.text);
}

Test(refuse, a_call_goes_by_the_drivers_name)
{
	const struct nvabi_version version = {.major = 580, .minor = 95, .patch = 5, .parts = 3};
	struct nvabi_abi *abi;

	cr_assert_eq(nvabi_abi_open(&version, &abi), 0);
	cr_assert_str_eq(refused_name(abi, NVABI_CONTROL, 0x2080018d),
			 "NV2080_CTRL_CMD_GPU_GET_PIDS");
	cr_assert_str_eq(refused_name(abi, NVABI_MEMORY_CLASS, 0x71),
			 "NV01_MEMORY_SYSTEM_OS_DESCRIPTOR");
	cr_assert_null(refused_name(abi, NVABI_CONTROL, 0x7fffffff));
	cr_assert_null(refused_name(NULL, NVABI_CONTROL, 0x2080018d));
	nvabi_abi_close(abi);
}

static const struct journal_refused *row_of(const struct journal_refused *rows, uint32_t count,
					    const char *label, uint32_t kind, uint32_t number)
{
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(rows[i].label, label) && rows[i].kind == kind &&
		    rows[i].number == number)
			return &rows[i];
	return NULL;
}

static const struct nvabi_version driver = {.major = 580, .minor = 95, .patch = 5, .parts = 3};

Test(refuse, calls_are_counted_by_container_and_number)
{
	static struct journal_refused rows[JOURNAL_REFUSED];
	struct journal *journal = journal_new(false);
	uint64_t forgotten;
	uint32_t count;

	for (uint32_t i = 0; i < 3; i++)
		refused_count(journal, "one", MPU_CONFINE_ON, &driver,
			      &(struct refused_call){.kind = NVABI_CONTROL, .number = 7});
	refused_count(journal, "two", MPU_CONFINE_ON, &driver,
		      &(struct refused_call){.kind = NVABI_CONTROL, .number = 7});
	refused_count(journal, "one", MPU_CONFINE_ON, &driver,
		      &(struct refused_call){.kind = NVABI_ESCAPE, .number = 7});
	count = refused_rows(journal, rows, &forgotten);
	cr_assert_eq(count, 3);
	cr_assert_eq(row_of(rows, count, "one", NVABI_CONTROL, 7)->count, 3);
	cr_assert_eq(row_of(rows, count, "two", NVABI_CONTROL, 7)->count, 1);
	cr_assert_eq(row_of(rows, count, "one", NVABI_ESCAPE, 7)->count, 1);
	journal_free(journal);
}

Test(refuse, one_container_cannot_fill_the_table)
{
	static struct journal_refused rows[JOURNAL_REFUSED];
	struct journal *journal = journal_new(false);
	uint64_t forgotten;
	uint32_t count;

	for (uint32_t i = 0; i < 10000; i++)
		refused_count(journal, "loud", MPU_CONFINE_ON, &driver,
			      &(struct refused_call){.kind = NVABI_CONTROL, .number = i});
	count = refused_rows(journal, rows, &forgotten);
	cr_assert_eq(count, REFUSED_ROWS + 1);
	cr_assert_eq(row_of(rows, count, "loud", REFUSED_OTHERS, 0)->count, 10000 - REFUSED_ROWS);
	cr_assert_eq(forgotten, 0);
	journal_free(journal);
}

Test(refuse, of_many_containers_the_ones_that_are_quiet_longest_are_forgotten)
{
	static struct journal_refused rows[JOURNAL_REFUSED];
	struct journal *journal = journal_new(false);
	char label[32];
	uint64_t forgotten, sum = 0;
	uint32_t count;

	for (int i = 0; i < JOURNAL_REFUSED + 10; i++) {
		snprintf(label, sizeof(label), "c%d", i);
		refused_count(journal, label, MPU_CONFINE_ON, &driver,
			      &(struct refused_call){.kind = NVABI_CONTROL, .number = 1});
	}
	count = refused_rows(journal, rows, &forgotten);
	cr_assert_eq(count, JOURNAL_REFUSED);
	cr_assert_eq(forgotten, 10);
	cr_assert_not(row_of(rows, count, "c0", NVABI_CONTROL, 1));
	cr_assert(row_of(rows, count, "c10", NVABI_CONTROL, 1));
	for (uint32_t i = 0; i < count; i++)
		sum += rows[i].count;
	cr_assert_eq(sum + forgotten, JOURNAL_REFUSED + 10, "no call is lost from the count");
	journal_free(journal);
}

/* A child that does what it is told through a pipe, and says that it has. */
struct child {
	pid_t pid;
	int order, done;
};

static struct child start_child(void)
{
	int order[2], done[2];
	struct child child;
	char byte;

	cr_assert_eq(pipe(order), 0);
	cr_assert_eq(pipe(done), 0);
	child = (struct child){.pid = fork(), .order = order[1], .done = done[0]};
	if (child.pid)
		return child;
	while (read(order[0], &byte, 1) == 1) {
		if (byte == 'u' && setresuid(1234, 1234, 1234))
			_exit(1);
		(void)!write(done[1], &byte, 1);
	}
	_exit(0);
}

static void tell(const struct child *child, char order)
{
	char byte;

	cr_assert_eq(write(child->order, &order, 1), 1);
	cr_assert_eq(read(child->done, &byte, 1), 1);
}

static void end_child(const struct child *child)
{
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
}

Test(callers, who_changes_its_user_is_seen_as_the_new_one)
{
	struct callers callers = {.next = 0};
	struct child child = start_child();
	const struct caller *caller;

	cr_assert_eq(geteuid(), 0, "must be root");
	cr_assert_eq(callers_identify(&callers, child.pid, &target, &caller), 0);
	cr_assert_eq(target.euid, 0);
	cr_assert_neq(target.capabilities, 0);
	tell(&child, 'u');
	cr_assert_eq(callers_identify(&callers, child.pid, &target, &caller), 0);
	cr_assert_eq(target.euid, 1234);
	cr_assert_eq(target.egid, 0);
	cr_assert_eq(target.capabilities, 0);
	cr_assert_eq(target.tgid, child.pid);
	end_child(&child);
	cr_assert_eq(callers_identify(&callers, child.pid, &target, &caller), -ESRCH);
	callers_release(&callers);
}

Test(callers, a_descriptor_is_the_callers_own)
{
	struct callers callers = {.next = 0};
	struct child child = start_child();
	const struct caller *caller;
	struct stat own, taken;
	int fd;

	cr_assert_eq(callers_identify(&callers, child.pid, &target, &caller), 0);
	for (int use_thread = 0; use_thread < 2; use_thread++) {
		fd = caller_duplicate(caller, &target, child.order, use_thread);
		cr_assert_geq(fd, 0);
		fstat(child.order, &own);
		fstat(fd, &taken);
		cr_assert_eq(own.st_ino, taken.st_ino);
		close(fd);
		cr_assert_eq(caller_duplicate(caller, &target, 1000, use_thread), -EBADF);
	}
	end_child(&child);
	cr_assert_lt(caller_duplicate(caller, &target, child.order, true), 0);
	callers_release(&callers);
}

Test(callers, few_descriptors_are_held)
{
	struct callers callers = {.next = 0};
	struct child child[CALLERS + 2];
	const struct caller *caller;
	int before = dup(0), after;

	close(before);
	for (int i = 0; i < CALLERS + 2; i++) {
		child[i] = start_child();
		cr_assert_eq(callers_identify(&callers, child[i].pid, &target, &caller), 0);
		cr_assert_eq(target.tgid, child[i].pid);
	}
	cr_assert_eq(callers_identify(&callers, child[0].pid, &target, &caller), 0);
	cr_assert_eq(target.tgid, child[0].pid);
	callers_release(&callers);
	for (int i = 0; i < CALLERS + 2; i++)
		end_child(&child[i]);
	after = dup(0);
	cr_assert_leq(after, before + 4 * (CALLERS + 2), "%d, %d", before, after);
}
