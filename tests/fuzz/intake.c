/* What runtimes send, from the socket to the engine: bytes in pieces, descriptors of all kinds beside
 * them, an end or none; and a worker that tells its keeper anything. */
#include "base/cleanup.h"
#include "supervisor/engine.h"
#include "supervisor/mpud/channel.h"
#include "supervisor/mpud/keeper.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PEERS = 3, KINDS = 5, STEPS_MAX = 64 };

static struct keeper keeper;
static struct mpud_options options = {.driver_version = "580.95.05", .watchdog = 1 << 20};
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int kind[KINDS]; /* descriptors to send: the first is a listener */
static int worker_end;
static int peer[PEERS];

int __wrap_engine_add_listener(struct engine *engine, int listener, uint32_t index, bool begins);

/* Only listeners come as far. */
int __wrap_engine_add_listener(struct engine *engine, int listener, uint32_t index, bool begins)
{
	(void)engine, (void)begins;
	fuzz_check(index < JOURNAL_LISTENERS, "listener %u", index);
	fuzz_check(fcntl(listener, F_GETFD) >= 0, "a descriptor that is not open");
	close(listener);
	return index % 7 ? 0 : -ENOMEM;
}

int __wrap_engine_check_confine(const struct engine *engine, const struct driver *now,
				uint32_t confine, struct mpu_error *error);

/* There is no engine to ask; now and then it knows better. */
int __wrap_engine_check_confine(const struct engine *engine, const struct driver *now,
				uint32_t confine, struct mpu_error *error)
{
	(void)engine;
	fuzz_check(confine && now->version.major == 580, "asked of R%u for nothing",
		   now->version.major);
	return confine & NVABI_CAP_RDMA ? mpu_fail(error, ESTALE, "another driver") : 0;
}

/* ---- The world ---- */

static _Atomic int listener_made = -1;

static void *make_listener(void *unused)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffff, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	atomic_store(&listener_made, (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
						  SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
	for (;;)
		pause();
	return unused;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void make_worker(void)
{
	int channel[2];

	fuzz_check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel),
		   "%m");
	worker_end = channel[1];
	keeper.worker = (struct keeper_worker){.pid = getpid(),
					       .pidfd = -1,
					       .channel = channel[0],
					       .ready = true,
					       .was_ready = true,
					       .sign_of_life_ns = now_ns()};
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	pthread_t thread;

	(void)argc, (void)argv;
	fuzz_check(!pthread_create(&thread, NULL, make_listener, NULL), "a thread");
	while (atomic_load(&listener_made) == -1)
		usleep(100);
	kind[0] = atomic_load(&listener_made);
	fuzz_check(kind[0] >= 0, "no listener: run it by tests/fuzz/run.sh");
	kind[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
	kind[2] = memfd_create("fuzz", MFD_CLOEXEC);
	kind[3] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	kind[4] = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	keeper.options = &options;
	keeper.journal = journal_new(true);
	keeper.parcels.socket = &keeper.socket;
	keeper.successors = keeper.signals = keeper.lxc_socket.fd = -1;
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		keeper.listener[i] = -1;
	journal_begin(keeper.journal);
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "fuzz-intake-%d", getpid());
	keeper.socket.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(!bind(keeper.socket.fd, (struct sockaddr *)&address, sizeof(address)) &&
		       !listen(keeper.socket.fd, 64),
		   "%m");
	return 0;
}

/* ---- The steps ---- */

static void connect_peer(int *one)
{
	if (*one >= 0)
		close(*one);
	*one = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(!connect(*one, (struct sockaddr *)&address, sizeof(address)), "%m");
	parcels_work(&keeper.parcels);
}

/* A piece of the input, and up to 7 descriptors. */
static void send_piece(int to, struct fuzz_stream *input)
{
	union {
		char room[CMSG_SPACE(7 * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	size_t count = fuzz_byte(input) & 7, length = fuzz_byte(input) * 4u;
	size_t left = input->size - input->at % input->size;
	struct iovec data = {.iov_base = (void *)(uintptr_t)(input->data + input->at % input->size),
			     .iov_len = length < left ? length : left};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	struct cmsghdr *rights;

	input->at += data.iov_len;
	if (count) {
		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(count * sizeof(int));
		for (size_t i = 0; i < count; i++)
			memcpy(CMSG_DATA(rights) + i * sizeof(int),
			       &kind[fuzz_byte(input) % KINDS], sizeof(int));
	}
	(void)!sendmsg(to, &message, MSG_NOSIGNAL);
}

/* The worker takes one parcel, or only seems to. */
static void work(bool really)
{
	struct channel_mail mail;

	if (channel_receive(worker_end, &mail, MSG_DONTWAIT))
		return;
	fuzz_check(mail.message.kind == CHANNEL_PARCEL || mail.message.kind == CHANNEL_PING,
		   "the keeper says %u", mail.message.kind);
	if (really && mail.message.kind == CHANNEL_PARCEL)
		worker_take_parcel(NULL, keeper.journal, worker_end, &options, &mail);
	channel_drop(&mail);
}

static void say_anything(struct fuzz_stream *input)
{
	struct channel_message message = {.kind = fuzz_byte(input) % 16};

	message.parcel = keeper.parcels.next_number - fuzz_byte(input) % 4;
	message.index = fuzz_byte(input) & 1 ? fuzz_u32(input) : fuzz_byte(input);
	message.which = fuzz_byte(input) & 1 ? fuzz_u32(input) : fuzz_byte(input) % 8;
	channel_send(worker_end, &message, kind, fuzz_byte(input) & 3, MSG_DONTWAIT);
}

static void step(struct fuzz_stream *input)
{
	uint8_t what = fuzz_byte(input);
	int *one = &peer[(what >> 4) % PEERS];

	switch (what & 15) {
	case 0:
	case 1:
		connect_peer(one);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		send_piece(*one, input);
		break;
	case 6:
		shutdown(*one, SHUT_WR);
		break;
	case 7:
		close(*one);
		*one = -1;
		break;
	case 8:
		say_anything(input);
		break;
	case 9:
		work(false);
		break;
	default:
		work(true);
		break;
	}
	if (what & 0x80)
		return;
	parcels_work(&keeper.parcels);
	keeper_work(&keeper);
}

static size_t count_descriptors(void)
{
	cleanup_dir DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	while (dir && readdir(dir))
		count++;
	return count;
}

static void check_held(void)
{
	uint32_t held = 0;

	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		held += keeper.listener[i] >= 0;
	fuzz_check(held == keeper.listeners, "%u held, %u counted", held, keeper.listeners);
}

static void end_all(void)
{
	while (keeper.parcels.first)
		parcels_drop(&keeper.parcels, keeper.parcels.first);
	for (int i = 0; i < PEERS; i++) {
		if (peer[i] >= 0)
			close(peer[i]);
		peer[i] = -1;
	}
	close(keeper.worker.channel);
	close(worker_end);
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		if (keeper.listener[i] >= 0)
			atomic_store(&journal_listener(keeper.journal, i)->state,
				     JOURNAL_LISTENER_CLOSED);
	keeper_settle(&keeper);
	fuzz_check(!keeper.listeners, "%u listeners", keeper.listeners);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_stream input = {.data = data, .size = size};
	size_t before = count_descriptors();

	if (!size)
		return 0;
	for (int i = 0; i < PEERS; i++)
		peer[i] = -1;
	make_worker();
	connect_peer(&peer[0]);
	for (int i = 0; i < STEPS_MAX && input.at < size; i++)
		step(&input);
	for (int i = 0; i < 8; i++) {
		keeper_work(&keeper);
		work(true);
	}
	check_held();
	end_all();
	/* Some descriptors are looked at by a thread of their own (foreign.c). */
	for (int i = 0; i < 2000 && count_descriptors() != before; i++)
		usleep(1000);
	fuzz_check(count_descriptors() == before, "%zu descriptors before, %zu now", before,
		   count_descriptors());
	return 0;
}
