/* journal-look PID: says as JSON what stands in the journal of the mpud whose keeper is PID. */
#include "supervisor/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_journal(const char *pid)
{
	char path[300], name[300];
	struct dirent *entry;
	int found = -1;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	folder = opendir(path);
	while (folder && found < 0 && (entry = readdir(folder))) {
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, entry->d_name);
		length = readlink(path, name, sizeof(name) - 1);
		if (length > 0 && strncmp(name, "/memfd:mpu-journal", 18) == 0)
			found = open(path, O_RDWR | O_CLOEXEC);
	}
	if (folder)
		closedir(folder);
	return found;
}

static void print(struct journal *journal)
{
	const struct journal_header *header = journal_header(journal);
	unsigned int slots = 0, desks = 0, listeners = 0, quarantined = 0;

	for (uint32_t i = 0; i < JOURNAL_SLOTS; i++) {
		const struct journal_slot *slot = journal_slot(journal, i);

		slots += atomic_load(&slot->phase) != JOURNAL_FREE;
		desks += slot->desk != 0;
	}
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		const struct journal_listener *one = journal_listener(journal, i);

		listeners += atomic_load(&one->state) != JOURNAL_LISTENER_FREE;
		quarantined += atomic_load(&one->state) != JOURNAL_LISTENER_FREE &&
			       atomic_load(&one->quarantined);
	}
	printf("{\"slots\":%u,\"desks\":%u,\"listeners\":%u,\"quarantined\":%u,\"worker\":%d,"
	       "\"workers\":%llu,\"crashes\":%llu,\"hangs\":%llu}\n",
	       slots, desks, listeners, quarantined, header->worker.pid,
	       (unsigned long long)header->workers, (unsigned long long)header->crashes,
	       (unsigned long long)header->hangs);
}

int main(int argc, char **argv)
{
	struct mpu_error error = {0};
	int fd = argc == 2 ? open_journal(argv[1]) : -1;
	struct journal *journal = fd < 0 ? NULL : journal_attach(fd, &error);

	if (!journal) {
		fprintf(stderr, "journal-look: %s\n", fd < 0 ? "no journal there" : error.text);
		return 1;
	}
	print(journal);
	journal_free(journal);
	return 0;
}
