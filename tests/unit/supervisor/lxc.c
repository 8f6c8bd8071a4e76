/* LXC's proxy protocol, spoken by a monitor that this test plays: a thread of its own is the
 * target, whose filter sends RM control to the monitor. */
#include "supervisor/mpud/lxc.h"

#include "base/cleanup.h"
#include "filter/filter.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/mpud/lxc-message.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum { CONTROL = 0x20002a, PATIENCE_MS = 5000 };

/* What the sink does with calls. */
enum plan { PASS, HANDLE, KEEP };

struct house {
	char path[64];
	int socket, connection, listener;
	struct lxc_proxy *proxy;
	struct lxc_container container;
	_Atomic(struct lxc_call *) kept;
	_Atomic int opened, closed;
	enum plan plan;
	pthread_t target;
	int errnum;
	long result;
	pthread_barrier_t ready;
};

static void *sink_open(void *context, const struct lxc_container *container)
{
	struct house *house = context;

	house->container = *container;
	house->opened++;
	return house;
}

static void sink_call(void *client, int listener, const struct seccomp_notif *notification,
		      struct lxc_call *call)
{
	struct house *house = client;

	cr_assert(notify_is_listener(listener));
	cr_assert_eq(notification->data.args[1], CONTROL);
	if (house->plan == KEEP)
		atomic_store(&house->kept, call);
	else if (house->plan == HANDLE)
		lxc_answer(call, (struct seccomp_notif_resp){.val = 77});
	else
		lxc_answer(call,
			   (struct seccomp_notif_resp){.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

static void sink_close(void *client)
{
	struct house *house = client;

	house->closed++;
}

static const struct lxc_sink sink = {sink_open, sink_call, sink_close};

static void *target(void *context)
{
	struct house *house = context;
	struct mpu_error error = {0};
	cleanup_filter struct filter_program program = {0};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	cr_assert_eq(filter_build(filter_native_architectures(), &program, &error), 0);
	house->listener = filter_install(&program, filter_probe_flags(&error), &error);
	cr_assert_geq(house->listener, 0, "%s", error.text);
	pthread_barrier_wait(&house->ready);
	house->result = syscall(SYS_ioctl, -1, CONTROL, 0);
	house->errnum = house->result < 0 ? errno : 0;
	return NULL;
}

static int connect_to(const struct house *house)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, house->path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void open_house(struct house *house, enum plan plan)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*house = (struct house){.plan = plan};
	snprintf(house->path, sizeof(house->path), "/tmp/mpu-lxc-%d.sock", getpid());
	strcpy(address.sun_path, house->path);
	house->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(house->path);
	cr_assert_eq(bind(house->socket, (struct sockaddr *)&address, sizeof(address)), 0);
	chmod(house->path, 0777);
	cr_assert_eq(listen(house->socket, 8), 0);
	cr_assert_eq(lxc_open(&house->proxy, house->socket, &sink, house), 0);
	pthread_barrier_init(&house->ready, NULL, 2);
	cr_assert_eq(pthread_create(&house->target, NULL, target, house), 0);
	pthread_barrier_wait(&house->ready);
	house->connection = connect_to(house);
}

static void close_house(struct house *house)
{
	pthread_join(house->target, NULL);
	lxc_close(house->proxy);
	cr_assert_eq(house->opened, house->closed);
	close(house->connection);
	close(house->listener);
	close(house->socket);
	unlink(house->path);
}

static void send_bytes(const struct house *house, const void *bytes, size_t size, const int *fds,
		       size_t count)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = {0};
	struct iovec data = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
	struct cmsghdr *part;

	if (count) {
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		part = CMSG_FIRSTHDR(&header);
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(part), fds, count * sizeof(int));
	}
	cr_assert_eq(sendmsg(house->connection, &header, MSG_NOSIGNAL), (ssize_t)size);
}

/* A message as LXC sends it. */
struct packet {
	struct lxc_head head;
	struct seccomp_notif notification;
	struct seccomp_notif_resp response;
	char cookie[16];
};

enum { PLAIN = offsetof(struct packet, cookie), WHOLE = PLAIN + 13 };

static struct packet receive_call(const struct house *house)
{
	struct packet packet = {.head = {.monitor = getpid(),
					 .init = 4711,
					 .notification_size = sizeof(struct seccomp_notif),
					 .response_size = sizeof(struct seccomp_notif_resp),
					 .data_size = sizeof(struct seccomp_data),
					 .cookie_length = 13},
				.cookie = "mpu.view=host"};

	cr_assert_eq(notify_receive(house->listener, &packet.notification), 0);
	return packet;
}

static struct packet forward(const struct house *house)
{
	struct packet packet = receive_call(house);
	int fds[] = {STDIN_FILENO, STDIN_FILENO, house->listener};

	send_bytes(house, &packet, WHOLE, fds, 3);
	return packet;
}

/* Receives what mpud answers into PACKET. Returns its size, 0 at the connection's end. */
static ssize_t await(const struct house *house, struct packet *packet)
{
	struct pollfd ready = {.fd = house->connection, .events = POLLIN};
	ssize_t got;

	cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1);
	got = recv(house->connection, packet, sizeof(*packet), 0);
	return got < 0 && errno == ECONNRESET ? 0 : got;
}

Test(lxc, a_call_is_answered_through_its_monitor)
{
	struct house house;
	struct packet call, answer = {0};

	open_house(&house, HANDLE);
	call = forward(&house);
	cr_assert_eq(await(&house, &answer), PLAIN);
	cr_assert_eq(memcmp(&answer, &call, offsetof(struct packet, response)), 0);
	cr_assert_eq(answer.response.id, call.notification.id);
	cr_assert_eq(notify_respond(house.listener, &answer.response), 0);
	close_house(&house);
	cr_assert_eq(house.result, 77);
}

Test(lxc, a_call_that_passes_is_continued_by_its_monitor)
{
	struct house house;
	struct packet answer = {0};

	open_house(&house, PASS);
	forward(&house);
	cr_assert_eq(await(&house, &answer), PLAIN);
	cr_assert_eq(answer.response.flags, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	cr_assert_eq(notify_respond(house.listener, &answer.response), 0);
	close_house(&house);
	cr_assert_eq(house.errnum, EBADF);
}

Test(lxc, the_first_message_tells_the_container)
{
	struct house house;
	struct packet answer = {0};

	open_house(&house, PASS);
	forward(&house);
	await(&house, &answer);
	notify_respond(house.listener, &answer.response);
	close_house(&house);
	cr_assert_eq(house.opened, 1);
	cr_assert_eq(house.container.init, 4711);
	cr_assert_eq(house.container.monitor, getpid());
	cr_assert_str_eq(house.container.cookie, "mpu.view=host");
	cr_assert_str_eq(house.container.name, "lxc-4711");
}

static struct lxc_call *wait_for_call(struct house *house)
{
	for (int i = 0; i < PATIENCE_MS && !atomic_load(&house->kept); i++)
		usleep(1000);
	cr_assert(atomic_load(&house->kept));
	return atomic_load(&house->kept);
}

Test(lxc, a_slow_call_releases_its_monitor_and_is_answered_directly)
{
	struct house house;
	struct packet call, answer = {0};

	open_house(&house, KEEP);
	call = forward(&house);
	cr_assert_eq(await(&house, &answer), PLAIN);
	cr_assert_eq(notify_respond(house.listener, &answer.response), -EINVAL);
	cr_assert(notify_id_valid(house.listener, call.notification.id));
	lxc_answer(wait_for_call(&house), (struct seccomp_notif_resp){.val = 5});
	close_house(&house);
	cr_assert_eq(house.result, 5);
}

Test(lxc, a_call_outlives_its_monitor)
{
	struct house house;

	open_house(&house, KEEP);
	forward(&house);
	wait_for_call(&house);
	shutdown(house.connection, SHUT_RDWR);
	for (int i = 0; i < PATIENCE_MS && !house.closed; i++)
		usleep(1000);
	lxc_answer(house.kept, (struct seccomp_notif_resp){.error = -EAGAIN});
	close_house(&house);
	cr_assert_eq(house.errnum, EAGAIN);
}

Test(lxc, a_monitor_that_has_given_up_gets_no_answer_which_it_would_take_for_its_next_call)
{
	struct house house;
	struct packet call, answer = {0};

	open_house(&house, KEEP);
	call = forward(&house);
	notify_answer(house.listener, call.notification.id, 0, ENOSYS);
	lxc_answer(wait_for_call(&house), (struct seccomp_notif_resp){.val = 5});
	cr_assert_eq(await(&house, &answer), 0);
	close_house(&house);
	cr_assert_eq(house.errnum, ENOSYS);
}

/* Each is the one before with one thing wrong. */
Test(lxc, what_is_none_of_the_protocol_ends_the_connection)
{
	struct house house;
	struct packet good, bad, answer;
	int fds[5] = {0};

	open_house(&house, PASS);
	good = receive_call(&house);
	for (int i = 0; i < 3; i++)
		fds[i] = house.listener;
	for (int what = 0; what < 8; what++) {
		size_t size = WHOLE, count = 3;

		bad = good;
		if (what == 0)
			size = sizeof(struct lxc_head) - 1;
		else if (what == 1)
			size = WHOLE - 1;
		else if (what == 2)
			bad.head.notification_size = 8;
		else if (what == 3)
			bad.head.response_size = UINT16_MAX;
		else if (what == 4)
			bad.head.cookie_length = UINT64_MAX;
		else if (what == 5)
			count = 0;
		else if (what == 6)
			count = 5;
		else
			bad.notification.pid = 0;
		send_bytes(&house, &bad, size, fds, count);
		cr_assert_eq(await(&house, &answer), 0, "case %d", what);
		close(house.connection);
		house.connection = connect_to(&house);
	}
	fds[2] = STDIN_FILENO;
	send_bytes(&house, &good, WHOLE, fds, 3);
	cr_assert_eq(await(&house, &answer), 0);
	notify_continue(house.listener, good.notification.id);
	close_house(&house);
	cr_assert_eq(house.opened, 0);
}

/* Runs BECOME in a child, which then connects. Returns whether it is let in: a stranger's
 * connection ends at once. */
static bool is_let_in(const struct house *house, void (*become)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct pollfd ready = {.events = POLLIN | POLLRDHUP};

		become();
		ready.fd = connect_to(house);
		_exit(poll(&ready, 1, 1000));
	}
	waitpid(child, &status, 0);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status) == 0;
}

static void stay(void)
{
}

static void become_nobody(void)
{
	cr_assert_eq(setuid(65534), 0);
}

static void move_out(void)
{
	int status;
	pid_t child;

	cr_assert_eq(unshare(CLONE_NEWPID), 0);
	child = fork();
	if (child == 0)
		return;
	waitpid(child, &status, 0);
	_exit(WEXITSTATUS(status));
}

Test(lxc, strangers_and_monitors_in_other_pid_namespaces_are_refused)
{
	struct house house;
	struct packet call;

	if (geteuid() != 0)
		cr_skip("wants root");
	open_house(&house, PASS);
	cr_assert(is_let_in(&house, stay));
	cr_assert_not(is_let_in(&house, become_nobody));
	cr_assert_not(is_let_in(&house, move_out));
	call = receive_call(&house);
	notify_continue(house.listener, call.notification.id);
	close_house(&house);
}
