#include "supervisor/mpud/parcels.h"

#include "base/log.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/mpud/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, PAUSE_MS = 100, CHUNK = 65536 };

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void parcels_drop(struct parcels *parcels, struct parcel *parcel)
{
	struct parcel **link = &parcels->first;

	while (*link != parcel)
		link = &(*link)->next;
	*link = parcel->next;
	for (size_t i = 0; i < parcel->fd_count; i++)
		if (parcel->fd[i] >= 0)
			close(parcel->fd[i]);
	close(parcel->connection);
	close(parcel->memory);
	free(parcel);
	parcels->count--;
}

static void refuse(struct parcels *parcels, struct parcel *parcel, const char *why)
{
	log_warning("refused what came over the socket", "error=\"%s\"", why);
	mpud_socket_answer(parcel->connection, why, 0);
	parcels_drop(parcels, parcel);
}

/* Behind the last one: they are worked off in the order in which they came. */
static struct parcel *append(struct parcels *parcels, int connection, int memory)
{
	struct parcel *parcel = calloc(1, sizeof(*parcel));
	struct parcel **link = &parcels->first;

	if (!parcel)
		return NULL;
	while (*link)
		link = &(*link)->next;
	*link = parcel;
	parcel->number = ++parcels->next_number;
	parcel->connection = connection;
	parcel->memory = memory;
	parcel->deadline = now_ms() + PATIENCE_MS;
	parcels->count++;
	return parcel;
}

int parcels_add(struct parcels *parcels, const int *fd, size_t count, size_t length)
{
	struct parcel *parcel =
	    count >= 2 && count <= PARCEL_FDS + 2 ? append(parcels, fd[1], fd[0]) : NULL;

	if (!parcel)
		return -ENOMEM;
	parcel->fd_count = count - 2;
	memcpy(parcel->fd, fd + 2, parcel->fd_count * sizeof(int));
	parcel->length = length;
	parcel->fresh = true;
	return 0;
}

struct parcel *parcels_find(struct parcels *parcels, uint32_t number)
{
	struct parcel *parcel = parcels->first;

	while (parcel && parcel->number != number)
		parcel = parcel->next;
	return parcel;
}

static void accept_connection(struct parcels *parcels)
{
	struct mpu_error error = {0};
	int connection = accept4(parcels->socket->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int memory = connection < 0 ? -1 : memfd_create("mpu-parcel", MFD_CLOEXEC);
	struct parcel *parcel = memory < 0 ? NULL : append(parcels, connection, memory);

	if (connection < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
		return;
	if (!parcel) {
		log_error("cannot accept a connection", "error=\"%s\"", strerror(errno));
		parcels->accept_again = now_ms() + PAUSE_MS;
		if (memory >= 0)
			close(memory);
		if (connection >= 0)
			close(connection);
	} else if (mpud_socket_check_peer(parcels->socket, connection, &error)) {
		refuse(parcels, parcel, error.text);
	}
}

/* What is no listener we do not hold, nor does a worker that is forked: its end could wait for the
 * close of it. Something harmless stands in its place, for the order counts. */
static int vetted(const struct parcel *parcel, int fd)
{
	if (notify_is_listener(fd))
		return fd;
	foreign_close(fd);
	return fcntl(parcel->memory, F_DUPFD_CLOEXEC, 0);
}

/* Keeps the descriptors that came with MESSAGE. Returns false when there are too many. */
static bool keep_fds(struct parcel *parcel, struct msghdr *message)
{
	bool fits = !(message->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
			if (parcel->fd_count < PARCEL_FDS) {
				fd = vetted(parcel, fd);
				fits &= fd >= 0;
				parcel->fd[parcel->fd_count++] = fd;
			} else {
				foreign_close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

/* A connection over which nothing came is somebody who looked whether we are there. */
static void end_of(struct parcels *parcels, struct parcel *parcel)
{
	parcel->ended = parcel->fresh = true;
	if (!parcel->length && !parcel->fd_count)
		parcels_drop(parcels, parcel);
}

static void add_bytes(struct parcel *parcel, size_t count)
{
	parcel->length += count;
	parcel->fresh = true;
}

static void read_parcel(struct parcels *parcels, struct parcel *parcel)
{
	union {
		char room[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char bytes[CHUNK];
	struct iovec data = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	ssize_t got = recvmsg(parcel->connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0)
		refuse(parcels, parcel, "the connection broke");
	else if (!keep_fds(parcel, &message))
		refuse(parcels, parcel, "more descriptors came along than mpud takes (240)");
	else if (got == 0)
		end_of(parcels, parcel);
	else if (parcel->length + (size_t)got > PARCEL_BYTES)
		refuse(parcels, parcel, "a message of more than 1 MiB");
	else if (pwrite(parcel->memory, bytes, (size_t)got, (off_t)parcel->length) != got)
		refuse(parcels, parcel, "out of memory");
	else
		add_bytes(parcel, (size_t)got);
}

bool parcel_is_due(const struct parcel *parcel)
{
	return parcel->fresh && !parcel->sent;
}

/* Not while a worker looks at what has come so far. */
static bool is_read(const struct parcel *parcel)
{
	return !parcel->ended && !parcel->sent;
}

size_t parcels_poll(const struct parcels *parcels, struct pollfd *polls, int *wait_ms)
{
	int64_t now = now_ms(), first = now + *wait_ms;
	size_t count = 0;

	for (const struct parcel *one = parcels->first; one; one = one->next) {
		if (!is_read(one))
			continue;
		polls[count++] = (struct pollfd){.fd = one->connection, .events = POLLIN};
		if (one->deadline < first)
			first = one->deadline;
	}
	if (parcels->accept_again > now)
		first = parcels->accept_again < first ? parcels->accept_again : first;
	else if (parcels->count < PARCELS_MAX)
		polls[count++] = (struct pollfd){.fd = parcels->socket->fd, .events = POLLIN};
	*wait_ms = first > now ? (int)(first - now) + 1 : 0;
	return count;
}

/* All of them, ready or not: reading never blocks, and they are few. */
void parcels_work(struct parcels *parcels)
{
	int64_t now = now_ms();
	struct parcel *next;

	if (parcels->count < PARCELS_MAX && parcels->accept_again <= now)
		accept_connection(parcels);
	for (struct parcel *one = parcels->first; one; one = next) {
		next = one->next;
		if (!is_read(one))
			continue;
		if (one->deadline <= now)
			refuse(parcels, one, "half a message, and then nothing for 5 s");
		else
			read_parcel(parcels, one);
	}
}
