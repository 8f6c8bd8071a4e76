/* The sockets beside the main one, for our own user alone: one for successors (mpud --replace), one
 * for mpuctl. mpud does without either. */
#include "supervisor/mpud/keeper.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

static const struct beside {
	const char *suffix, *lack;
	int type;
	size_t place; /* in struct keeper */
} known[] = {
    {BESIDE_SUCCESSORS, "mpud --replace will not find this mpud", SOCK_SEQPACKET,
     offsetof(struct keeper, successors)},
    {BESIDE_CONTROL, "mpuctl will not reach this mpud", SOCK_STREAM,
     offsetof(struct keeper, control)},
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static int *place_of(struct keeper *keeper, const struct beside *one)
{
	return (int *)(void *)((char *)keeper + one->place);
}

int beside_address(const char *socket, const char *suffix, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", socket, suffix) <
		       (int)sizeof(address->sun_path)
		   ? 0
		   : -ENAMETOOLONG;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address)
{
	mode_t before;
	int result;

	unlink(address->sun_path);
	before = umask(0177);
	result = bind(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	umask(before);
	return !result && listen(fd, BACKLOG) ? -errno : result;
}

static void open_one(struct keeper *keeper, const struct beside *one)
{
	struct sockaddr_un address;
	int result = beside_address(keeper->socket.path, one->suffix, &address);
	int fd = socket(AF_UNIX, one->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		result = -errno;
	if (!result)
		result = bind_and_listen(fd, &address);
	if (!result) {
		*place_of(keeper, one) = fd;
		return;
	}
	if (fd >= 0)
		close(fd);
	log_warning("no socket beside the main one", "socket=%s%s error=\"%s\" lack=\"%s\"",
		    keeper->socket.path, one->suffix, strerror(-result), one->lack);
}

void beside_open(struct keeper *keeper)
{
	for (size_t i = 0; i < KNOWN; i++)
		if (*place_of(keeper, &known[i]) < 0)
			open_one(keeper, &known[i]);
}

void beside_close(struct keeper *keeper)
{
	struct sockaddr_un address;

	for (size_t i = 0; i < KNOWN; i++) {
		int *fd = place_of(keeper, &known[i]);

		if (*fd < 0)
			continue;
		close(*fd);
		*fd = -1;
		if (!beside_address(keeper->socket.path, known[i].suffix, &address))
			unlink(address.sun_path);
	}
}
