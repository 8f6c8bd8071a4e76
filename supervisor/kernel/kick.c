#include "supervisor/kernel/kick.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

static _Thread_local volatile unsigned int kicks;

static void on_kick(int number)
{
	(void)number;
	kicks++;
}

void kick_prepare(void)
{
	const struct sigaction action = {.sa_handler = on_kick};

	sigaction(KICK_SIGNAL, &action, NULL);
}

void kick_thread(pid_t tid)
{
	syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
}

unsigned int kick_count(void)
{
	return kicks;
}

bool kick_is_blocked(pid_t tid)
{
	char path[48], text[512];
	cleanup_close int fd = -1;
	const char *at;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return true;
	text[length] = '\0';
	at = strrchr(text, ')');
	return !at || at[1] != ' ' || at[2] != 'R';
}
