/* Ending a whole tree of processes. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

void run_forwarded_signals(sigset_t *set)
{
	static const int forwarded[] = {SIGHUP,	 SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
					SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(set, forwarded[i]);
}

static pid_t parent_of(pid_t pid)
{
	char path[48], text[512];
	cleanup_file FILE *file = NULL;
	const char *at;
	pid_t parent = 0;
	size_t length;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	at = strrchr(text, ')');
	return at && sscanf(at + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* Only what is a child of ours: its PID cannot be another process's while we have not waited for
 * it. */
static void kill_children(void)
{
	cleanup_dir DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t self = getpid();

	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && parent_of(pid) == self)
			kill(pid, SIGKILL);
	}
}

void run_tree_end(void)
{
	struct timespec moment = {.tv_nsec = 1000000};
	pid_t ended;

	for (;;) {
		kill_children();
		do
			ended = waitpid(-1, NULL, WNOHANG);
		while (ended > 0);
		if (ended < 0 && errno == ECHILD)
			return;
		nanosleep(&moment, NULL);
		/* One that waits in the kernel ends when the kernel lets it. */
		if (moment.tv_nsec < 128000000)
			moment.tv_nsec *= 2;
	}
}
