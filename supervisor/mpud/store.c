/* systemd's file descriptor store keeps the journal and the listeners while mpud is restarted
 * (sd_notify(3), FDSTORE=1; sd_listen_fds(3)). Their names say what they are. */
#include "supervisor/mpud/keeper.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOURNAL_NAME "mpu-journal"
#define LISTENER_NAME "mpu-listener-"

enum { FIRST_FD = 3 };

void store_put_journal(const struct keeper *keeper)
{
	int fd = journal_fd(keeper->journal);

	mpud_notify("FDSTORE=1\nFDPOLL=0\nFDNAME=" JOURNAL_NAME, &fd, 1);
}

void store_put_listener(const struct keeper *keeper, uint32_t index)
{
	char state[96];

	/* Without FDPOLL=0 systemd would throw it out at the first hang-up. */
	snprintf(state, sizeof(state), "FDSTORE=1\nFDPOLL=0\nFDNAME=" LISTENER_NAME "%" PRIu32,
		 index);
	mpud_notify(state, &keeper->listener[index], 1);
}

void store_remove_listener(uint32_t index)
{
	char state[64];

	snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=" LISTENER_NAME "%" PRIu32, index);
	mpud_notify(state, NULL, 0);
}

/* How many descriptors systemd passed to this process. */
static int count_passed(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");

	return pid && count && atoi(pid) == getpid() ? atoi(count) : 0;
}

static int take_journal(struct keeper *keeper, int fd, struct mpu_error *error)
{
	keeper->journal = journal_attach(fd, error);
	return keeper->journal ? 0 : -error->code;
}

static int take_listener(struct keeper *keeper, const char *number, int fd)
{
	char *end;
	unsigned long index = strtoul(number, &end, 10);

	if (*end || index >= JOURNAL_LISTENERS) {
		log_error("a stored descriptor has a name that this mpud does not know",
			  "name=" LISTENER_NAME "%s", number);
		close(fd);
		return 0;
	}
	keeper_hold(keeper, (uint32_t)index, fd);
	return 0;
}

static bool is_for_lxc(int fd)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_SEQPACKET;
}

static int take_one(struct keeper *keeper, const char *name, int fd, struct mpu_error *error)
{
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (strcmp(name, JOURNAL_NAME) == 0)
		return take_journal(keeper, fd, error);
	if (strncmp(name, LISTENER_NAME, strlen(LISTENER_NAME)) == 0)
		return take_listener(keeper, name + strlen(LISTENER_NAME), fd);
	return mpud_socket_take(is_for_lxc(fd) ? &keeper->lxc_socket : &keeper->socket, fd, true,
				error);
}

/* Listeners without a journal say nothing of whose they are; it is lost only where systemd was told
 * to keep fewer descriptors than there were. */
static void drop_listeners(struct keeper *keeper)
{
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++)
		if (keeper->listener[i] >= 0) {
			close(keeper->listener[i]);
			keeper->listener[i] = -1;
			store_remove_listener(i);
		}
	if (keeper->listeners)
		log_error("the journal was not kept: the GPU calls of the containers that are there "
			  "fail (raise FileDescriptorStoreMax= of mpud.service)",
			  "listeners=%u", keeper->listeners);
	keeper->listeners = 0;
}

int store_take(struct keeper *keeper, struct mpu_error *error)
{
	int count = count_passed(), result = 0;
	const char *given = getenv("LISTEN_FDNAMES");
	char *names = strdup(given ? given : ""), *rest = names;

	if (!names)
		return mpu_fail(error, ENOMEM, "out of memory");
	for (int i = 0; i < count && !result; i++) {
		const char *name = rest ? strsep(&rest, ":") : "";

		result = take_one(keeper, name, FIRST_FD + i, error);
	}
	free(names);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!result && !keeper->journal)
		drop_listeners(keeper);
	return result;
}
