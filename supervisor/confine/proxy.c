#include "supervisor/confine/proxy.h"

#include "supervisor/confine/bell.h"
#include "supervisor/confine/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A proxy of which nobody has made use by then was forgotten by a worker that died. */
enum { ADOPTION_MS = 10000, STACK = 64 << 10, DESCRIPTORS = 256 };

static struct proxy_memory *memory;

/* The proxy's own knowledge of a lane. */
static struct {
	uint64_t turn; /* of the last call */
	int32_t result;
	int returned; /* descriptor that the driver returned and nobody has taken for sure, or -1 */
} lanes[PROXY_LANES];

/* ---- Calls ---- */

static void forget(unsigned int lane)
{
	if (lanes[lane].returned >= 0)
		close(lanes[lane].returned);
	lanes[lane].returned = -1;
}

static void put_number(unsigned char *area, uint32_t offset, uint32_t width, int64_t number)
{
	memcpy(area + offset, &number, width);
}

/* New descriptors have low numbers; what was there before the call and is ours is never given away. */
static int returned_descriptor(const unsigned char *area, uint32_t offset, uint32_t width)
{
	int number = -1;

	if (width)
		memcpy(&number, area + offset, sizeof(number));
	return number > STDERR_FILENO && number < PROXY_FIRST ? number : -1;
}

/* The first descriptor is the device, the others are named by the params. */
static void call(unsigned int lane, const int *fds, size_t count)
{
	const struct lane_record *record = &memory->lane[lane].record;
	unsigned char *area = memory->lane[lane].area;

	if (count != record->in_count + 1) {
		lanes[lane].result = -EMFILE; /* they did not all arrive */
		return;
	}
	for (size_t i = 1; i < count; i++)
		put_number(area, record->in[i - 1].offset, record->in[i - 1].width, fds[i]);
	lanes[lane].result = ioctl(fds[0], record->request, area + record->offset) < 0 ? -errno : 0;
	if (!lanes[lane].result)
		lanes[lane].returned =
		    returned_descriptor(area, record->out_offset, record->out_width);
}

static void answer(unsigned int lane, const struct lane_message *message, enum lane_status status)
{
	struct lane_answer answer = {
	    .turn = message->turn, .nonce = message->nonce, .status = status};
	size_t returned = 0;

	if (status == LANE_RESULT) {
		answer.result = lanes[lane].result;
		returned = lanes[lane].returned >= 0;
		answer.returned = (uint32_t)returned;
	}
	/* What the driver called a descriptor is none: the number alone says nothing. */
	if (post_send(PROXY_OWN_ENDS + (int)lane, &answer, sizeof(answer), &lanes[lane].returned,
		      returned) == -EBADF) {
		answer.returned = 0;
		lanes[lane].returned = -1;
		post_send(PROXY_OWN_ENDS + (int)lane, &answer, sizeof(answer), NULL, 0);
	}
}

/* Closes what came with an order, but for what the call has returned. */
static void put_away(int *fds, size_t *count, int returned)
{
	for (; *count; --*count)
		if (fds[*count - 1] != returned)
			close(fds[*count - 1]);
}

static void answer_call(unsigned int lane, const struct lane_message *message)
{
	struct lane_word *word = &memory->word[lane];

	if (!message->rings || lanes[lane].returned >= 0) {
		answer(lane, message, LANE_RESULT);
		return;
	}
	word->result = lanes[lane].result;
	atomic_store_explicit(&word->done, message->turn, memory_order_release);
}

/* Takes one order on LANE, for which it waits unless there is a bell, and obeys. The target's close()
 * must be the last once its call has returned: nothing of its files is held any more when the answer goes
 * out. Returns whether to wait at the bell for the next. */
static bool obey(unsigned int lane, bool rings)
{
	struct lane_message message;
	int fds[POST_FDS];
	size_t count;

	if (post_receive(PROXY_OWN_ENDS + (int)lane, &message, sizeof(message), fds, &count,
			 rings ? MSG_DONTWAIT : 0))
		return rings;
	switch (message.order) {
	case LANE_CALL:
		/* Sent twice is made once. */
		if (message.turn != lanes[lane].turn) {
			forget(lane);
			lanes[lane].turn = message.turn;
			call(lane, fds, count);
		}
		put_away(fds, &count, lanes[lane].returned);
		answer_call(lane, &message);
		break;
	case LANE_ASK:
		answer(lane, &message,
		       message.turn == lanes[lane].turn ? LANE_RESULT : LANE_UNKNOWN);
		break;
	case LANE_FORGET:
		forget(lane);
		break;
	}
	put_away(fds, &count, lanes[lane].returned);
	return message.rings;
}

static void *lane_thread(void *argument)
{
	unsigned int lane = (unsigned int)(uintptr_t)argument;
	struct lane_word *word = &memory->word[lane];
	bool rings = false;

	atomic_store(&word->has_bell, !bell_hang(PROXY_BELLS + (int)lane));
	for (;;) {
		if (rings) {
			atomic_store(&word->waits, 1);
			bell_wait();
			atomic_store(&word->waits, 0);
		}
		rings = obey(lane, rings);
	}
	return NULL;
}

static bool start_lane(unsigned int lane)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int result;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
#ifndef __SANITIZE_ADDRESS__
	pthread_attr_setstacksize(&attributes, STACK);
#endif
	result = pthread_create(&thread, &attributes, lane_thread, (void *)(uintptr_t)lane);
	pthread_attr_destroy(&attributes);
	return !result;
}

/* Until the target ends. Lanes get their threads when they are first used; where none can be had,
 * this one does what comes. */
static _Noreturn void serve(void)
{
	struct pollfd polls[1 + PROXY_LANES] = {{.fd = PROXY_TARGET, .events = POLLIN}};
	int patience_ms = ADOPTION_MS;

	for (unsigned int i = 0; i < PROXY_LANES; i++)
		polls[1 + i] = (struct pollfd){.fd = PROXY_OWN_ENDS + (int)i, .events = POLLIN};
	for (;;) {
		int ready = poll(polls, 1 + PROXY_LANES, patience_ms);

		if (ready == 0 || polls[0].revents)
			_exit(0);
		for (unsigned int i = 0; ready > 0 && i < PROXY_LANES; i++) {
			if (!polls[1 + i].revents)
				continue;
			patience_ms = -1;
			if (start_lane(i))
				polls[1 + i].fd = -1;
			else
				obey(i, false);
		}
	}
}

/* ---- Becoming one ---- */

static void place(int fd, int number)
{
	dup3(fd, number, O_CLOEXEC);
}

/* Every descriptor at its number; nothing else is left open. */
static void arrange_descriptors(const struct proxy_start *start)
{
	place(start->target, PROXY_TARGET);
	place(start->memory, PROXY_MEMORY);
	for (int i = 0; i < PROXY_LANES; i++) {
		place(start->own_end[i], PROXY_OWN_ENDS + i);
		place(start->workers_end[i], PROXY_WORKERS_ENDS + i);
	}
	close_range(STDERR_FILENO + 1, PROXY_FIRST - 1, 0);
	close_range(PROXY_END, ~0u, 0);
}

static void take_name(const struct proxy_start *start)
{
	size_t length = strnlen(start->request->name, PROXY_NAME);

	memset(start->title, 0, start->title_size);
	memcpy(start->title, start->request->name,
	       length < start->title_size ? length : start->title_size - 1);
	prctl(PR_SET_NAME, "mpu-proxy");
}

static void limit(int resource, rlim_t most)
{
	struct rlimit now;

	if (getrlimit(resource, &now))
		return;
	now.rlim_cur = now.rlim_max = now.rlim_max < most ? now.rlim_max : most;
	setrlimit(resource, &now);
}

/* It must not outlive its target in want of memory because mpud is to. */
static void be_as_mortal_as(pid_t target)
{
	char path[48], score[16];
	ssize_t length = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", target);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, score, sizeof(score));
		close(fd);
	}
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* Less than ours is not ours to give: then it is as mpud. */
	if (length > 0 && write(fd, score, (size_t)length) < 0)
		length = 0;
	close(fd);
}

/* A worker without ptrace privilege could not take the lanes of a process that cannot be traced;
 * and where it has none, its targets are of its own user and could reach the worker itself. */
static void be_unreachable(bool workers_have_privilege)
{
	prctl(PR_SET_DUMPABLE, !workers_have_privilege, 0, 0, 0);
	if (!workers_have_privilege)
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
}

/* 1. Nothing of the nursery's but what is meant for it. 2. What the nursery's privilege is needed
 * for.
 * 3. Not to be reached by the target, which is the same user. 4. The target's identity, and none of
 * ours.
 * 5. No system call but those of serve(). */
static int become(const struct proxy_start *start)
{
	const struct nursery_request *request = start->request;
	int result;

	setsid();
	arrange_descriptors(start);
	take_name(start);
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED, PROXY_MEMORY, 0);
	if (memory == MAP_FAILED)
		return -errno;
	memory->address = (uint64_t)(uintptr_t)memory;
	for (unsigned int i = 0; i < PROXY_LANES; i++)
		if (mprotect(memory->lane[i].guard, sizeof(memory->lane[i].guard), PROT_NONE))
			return -errno;
	be_as_mortal_as(request->target);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, DESCRIPTORS);
	limit(RLIMIT_FSIZE, 0);
	be_unreachable(start->privileged);
	result = identity_take(request->uid, request->gid, request->capabilities);
	if (result)
		return result;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return sandbox_enter(start->sandbox, SANDBOX_PROXY, NULL);
}

_Noreturn void proxy_run(const struct proxy_start *start)
{
	struct lane_answer hello = {.status = LANE_HELLO};

	for (unsigned int i = 0; i < PROXY_LANES; i++)
		lanes[i].returned = -1;
	hello.result = become(start);
	post_send(PROXY_OWN_ENDS, &hello, sizeof(hello), NULL, 0);
	if (hello.result)
		_exit(1);
	serve();
}
