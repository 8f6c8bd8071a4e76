/* How a worker comes to a proxy: by the nursery, or by what a former worker's proxy holds. */
#include "supervisor/confine/proxies-private.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/confine/post.h"
#include "supervisor/confine/register.h"
#include "supervisor/kernel/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A nursery that dies takes the request along; its guard has another one there soon. */
enum { ANSWER_MS = 500, TRIES = 8 };

/* What came with the nursery's answer. */
struct newborn {
	int pidfd, memory, lane;
};

static void drop(struct newborn *newborn)
{
	cleanup_close_fd(&newborn->pidfd);
	cleanup_close_fd(&newborn->memory);
	cleanup_close_fd(&newborn->lane);
}

/* Answers to others, who did not wait for them, are passed over: their proxies end by themselves. */
static int await_answer(struct proxies *proxies, uint64_t token, struct nursery_answer *answer,
			struct newborn *newborn)
{
	for (;;) {
		struct pollfd ready = {.fd = proxies->nursery, .events = POLLIN};
		int fds[POST_FDS], result;
		size_t count;

		if (poll(&ready, 1, ANSWER_MS) == 0)
			return -ETIMEDOUT;
		result = post_receive(proxies->nursery, answer, sizeof(*answer), fds, &count,
				      MSG_DONTWAIT);
		if (result == -EPIPE)
			return result;
		if (!result && answer->token == token && count == (answer->error ? 0 : 3)) {
			if (!answer->error)
				*newborn = (struct newborn){fds[0], fds[1], fds[2]};
			return 0;
		}
		while (count)
			close(fds[--count]);
	}
}

static int ask_nursery(struct proxy *proxy, struct nursery_request *request,
		       struct nursery_answer *answer, struct newborn *newborn)
{
	struct proxies *proxies = proxy->proxies;
	int result = -ETIMEDOUT;

	pthread_mutex_lock(&proxies->asking);
	for (int i = 0; result == -ETIMEDOUT && i < TRIES; i++) {
		request->token = ++proxies->token;
		result = post_send(proxies->nursery, request, sizeof(*request), &proxy->target, 1);
		if (!result)
			result = await_answer(proxies, request->token, answer, newborn);
	}
	pthread_mutex_unlock(&proxies->asking);
	return result ? result : answer->error;
}

/* The target chooses its own name, and somebody will see this on a terminal. */
static void make_name(pid_t target, const char *label, char name[PROXY_NAME])
{
	char path[48], comm[32];
	cleanup_close int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/comm", target);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? 0 : read(fd, comm, sizeof(comm) - 1);
	comm[length > 0 ? length : 0] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
	for (char *at = comm; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	snprintf(name, PROXY_NAME, "mpu-proxy: %s[%d] in %s", comm, target, label);
}

int proxy_map(struct proxy *proxy, int fd)
{
	struct stat status;
	int seals = fcntl(fd, F_GET_SEALS);
	void *memory;

	if (fstat(fd, &status) || status.st_size != sizeof(struct proxy_memory) || seals < 0 ||
	    !(seals & F_SEAL_SHRINK))
		return -EPROTO;
	memory = mmap(NULL, sizeof(struct proxy_memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	proxy->memory = memory;
	for (uint32_t i = 0; i < PROXY_LANES; i++) {
		struct lane_memory *of = &proxy->memory->lane[i];

		proxy->lane[i].owner = proxy;
		proxy->lane[i].lane = (struct lane){
		    .area = of->area,
		    .address = proxy->memory->address + (uint64_t)(of->area - (uint8_t *)memory),
		    .record = &of->record,
		    .number = proxy->index * PROXY_LANES + i,
		    .proxy = proxy->entry.proxy.pid};
	}
	return 0;
}

int proxy_take_descriptor(const struct proxy *proxy, int number)
{
	cleanup_close int pidfd = pidfd_of_process(proxy->entry.proxy.pid);

	if (pidfd < 0)
		return pidfd;
	if (!register_is_there(&proxy->entry.proxy))
		return -ESRCH;
	return pidfd_take(pidfd, number);
}

static int await_hello(int lane)
{
	struct lane_answer hello;
	int fds[POST_FDS];
	size_t count;
	int result = post_receive(lane, &hello, sizeof(hello), fds, &count, 0);

	return result ? result : hello.result;
}

/* A number is the newborn's only as long as it lives. */
static int know_process(struct proxy *proxy, const struct newborn *newborn, pid_t pid)
{
	proxy->entry.proxy = (struct journal_process){.pid = pid, .start = task_start_ticks(pid)};
	return proxy->entry.proxy.start && !pidfd_has_ended(newborn->pidfd) ? 0 : -EPIPE;
}

/* ESRCH only where the target's end is known. */
static int explain(const struct proxy *proxy, int result)
{
	const struct journal_proxy *entry = &proxy->entry;

	if (pidfd_has_ended(proxy->target))
		return -ESRCH;
	if (result == -EPERM)
		log_error(
		    "no proxy can be what a confined process is: its GPU calls fail (mpud has "
		    "to be root's for processes of other users)",
		    "pid=%d uid=%u gid=%u", entry->target.pid, entry->uid, entry->gid);
	else
		log_error("no proxy can be started for a confined process: its GPU calls fail",
			  "pid=%d error=\"%s\"", entry->target.pid,
			  result == -EPIPE ? "it ended at once" : strerror(-result));
	return result == -EPERM ? -EPERM : -EAGAIN;
}

static void tell_of_stray(const struct proxy *proxy, int error)
{
	static _Atomic bool told;

	if (error && !atomic_exchange(&told, true))
		log_warning("a proxy is not in the cgroup of its process: what it uses counts for "
			    "mpud (told once)",
			    "pid=%d proxy=%d error=\"%s\"", proxy->entry.target.pid,
			    proxy->entry.proxy.pid, strerror(-error));
}

int proxy_start(struct proxy *proxy, const char *label)
{
	struct nursery_request request = {.target = proxy->entry.target.pid,
					  .uid = proxy->entry.uid,
					  .gid = proxy->entry.gid,
					  .capabilities = proxy->entry.capabilities};
	struct newborn newborn __attribute__((cleanup(drop))) = {-1, -1, -1};
	struct nursery_answer answer;
	int result;

	make_name(request.target, label, request.name);
	result = ask_nursery(proxy, &request, &answer, &newborn);
	if (!result)
		result = await_hello(newborn.lane);
	if (!result)
		result = know_process(proxy, &newborn, answer.proxy);
	if (!result)
		result = proxy_map(proxy, newborn.memory);
	if (result)
		return explain(proxy, result);
	proxy->lane[0].socket = steal_fd(&newborn.lane);
	tell_of_stray(proxy, answer.stray);
	return 0;
}

void proxy_free(struct proxy *proxy)
{
	for (int i = 0; i < PROXY_LANES; i++) {
		cleanup_close_fd(&proxy->lane[i].socket);
		cleanup_close_fd(&proxy->lane[i].bell);
	}
	if (proxy->memory)
		munmap(proxy->memory, sizeof(*proxy->memory));
	cleanup_close_fd(&proxy->target);
	free(proxy);
}
