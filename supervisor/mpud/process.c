/* What a process of mpud holds, as /proc tells it. */
#include "supervisor/mpud/control.h"

#include "base/cleanup.h"

#include <cap-ng.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 8192 };

static bool read_file(const char *path, char text[TEXT])
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, TEXT - 1);

	text[length < 0 ? 0 : length] = '\0';
	return length > 0;
}

/* The number behind "NAME:" at the start of a line. */
static uint64_t number_of(const char *text, const char *name, int base)
{
	char line[32];
	const char *found;

	snprintf(line, sizeof(line), "\n%s:", name);
	found = strstr(text, line);
	return found ? strtoull(found + strlen(line), NULL, base) : 0;
}

static void add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static struct json_object *capabilities(uint64_t set)
{
	struct json_object *names = json_object_new_array();

	for (unsigned int i = 0; i < 64; i++) {
		const char *name = set & UINT64_C(1) << i ? capng_capability_to_name(i) : NULL;

		if (name)
			json_object_array_add(names, json_object_new_string(name));
	}
	return names;
}

static uint64_t count_entries(pid_t pid, const char *folder)
{
	char path[48];
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry;
	uint64_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, folder);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	return count;
}

/* Threads by name: how many, and under how many filters one of them is at most. */
static void add_thread(struct json_object *threads, const char *text)
{
	uint64_t filters = number_of(text, "Seccomp_filters", 10), most = filters;
	struct json_object *one, *member;
	char name[32];
	int count = 1;

	if (sscanf(text, "Name: %31[^\n]", name) != 1)
		return;
	if (json_object_object_get_ex(threads, name, &one)) {
		json_object_object_get_ex(one, "count", &member);
		count += json_object_get_int(member);
		json_object_object_get_ex(one, "seccomp_filters", &member);
		if (json_object_get_uint64(member) > most)
			most = json_object_get_uint64(member);
	}
	one = json_object_new_object();
	json_object_object_add(one, "count", json_object_new_int(count));
	add_number(one, "seccomp_filters", most);
	json_object_object_add(threads, name, one);
}

static struct json_object *threads_of(pid_t pid)
{
	struct json_object *threads = json_object_new_object();
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry;
	char path[64], text[TEXT];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, entry->d_name);
		if (entry->d_name[0] != '.' && read_file(path, text))
			add_thread(threads, text);
	}
	return threads;
}

struct json_object *control_process(const char *role, pid_t pid, uint32_t listeners)
{
	struct json_object *process = json_object_new_object();
	char path[48], text[TEXT];
	uint64_t effective;

	json_object_object_add(process, "role", json_object_new_string(role));
	json_object_object_add(process, "pid", json_object_new_int(pid));
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_file(path, text))
		return process;
	effective = number_of(text, "CapEff", 16);
	add_number(process, "uid", number_of(text, "Uid", 10));
	json_object_object_add(process, "effective", capabilities(effective));
	json_object_object_add(process, "permitted_only",
			       capabilities(number_of(text, "CapPrm", 16) & ~effective));
	json_object_object_add(process, "no_new_privs",
			       json_object_new_boolean(number_of(text, "NoNewPrivs", 10) == 1));
	add_number(process, "seccomp_mode", number_of(text, "Seccomp", 10));
	add_number(process, "seccomp_filters", number_of(text, "Seccomp_filters", 10));
	add_number(process, "listeners", listeners);
	add_number(process, "descriptors", count_entries(pid, "fd"));
	add_number(process, "rss_kib", number_of(text, "VmRSS", 10));
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	if (read_file(path, text))
		add_number(process, "pss_kib", number_of(text, "Pss", 10));
	json_object_object_add(process, "threads", threads_of(pid));
	return process;
}
