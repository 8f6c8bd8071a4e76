#include "supervisor/confine/cgroup.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CGROUPS "/sys/fs/cgroup"

int cgroup_read(pid_t process, struct cgroup_paths *paths)
{
	char path[48];
	cleanup_close int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", process);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, paths->text, sizeof(paths->text) - 1);
	paths->text[length < 0 ? 0 : length] = '\0';
	return length < 0 ? -errno : 0;
}

/* One line: "NUMBER:CONTROLLERS:PATH"; the unified hierarchy is number 0 and names no controllers. */
struct line {
	char text[PATH_MAX];
	const char *controllers, *path;
};

static const char *next_line(const char *at, struct line *line)
{
	const char *end = strchr(at, '\n');
	char *controllers, *path;

	if (!end || (size_t)(end - at) >= sizeof(line->text))
		return NULL;
	memcpy(line->text, at, (size_t)(end - at));
	line->text[end - at] = '\0';
	controllers = strchr(line->text, ':');
	path = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!path)
		return NULL;
	*controllers = *path = '\0';
	line->controllers = controllers + 1;
	line->path = path + 1;
	return end + 1;
}

/* The unified hierarchy is mounted alone, or beside those of version 1. A path from outside of our
 * own cgroup namespace ("/..") leads nowhere. */
static int open_directory(const struct line *line)
{
	static const char *const unified[] = {"", "/unified"};
	const char *controllers = line->controllers;
	struct stat status;
	char path[PATH_MAX];
	int fd = -1;

	if (strstr(line->path, "/.."))
		return -ENOENT;
	if (strncmp(controllers, "name=", 5) == 0)
		controllers += 5;
	for (size_t i = 0; fd < 0 && i < sizeof(unified) / sizeof(unified[0]); i++) {
		int length =
		    controllers[0]
			? snprintf(path, sizeof(path), CGROUPS "/%s%s", controllers, line->path)
			: snprintf(path, sizeof(path), CGROUPS "%s%s/.", unified[i], line->path);

		if ((size_t)length >= sizeof(path))
			return -ENAMETOOLONG;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* Where the hierarchies of version 1 have their directories there is no such file. */
		if (fd >= 0 && fstatat(fd, "cgroup.procs", &status, 0)) {
			close(fd);
			fd = -1;
		}
	}
	return fd < 0 ? -errno : fd;
}

int cgroup_open(const struct cgroup_paths *paths)
{
	const char *at = paths->text;
	struct line line;

	while ((at = next_line(at, &line)))
		if (!line.controllers[0])
			return open_directory(&line);
	return -ENOENT;
}

static int move_to(pid_t process, const struct line *line)
{
	cleanup_close int directory = open_directory(line);
	cleanup_close int procs = -1;
	char number[16];
	int length = snprintf(number, sizeof(number), "%d", process);

	if (directory < 0)
		return directory;
	procs = openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return procs < 0 || write(procs, number, (size_t)length) < 0 ? -errno : 0;
}

static bool has_line(const struct cgroup_paths *paths, const char *start, size_t length)
{
	for (const char *at = paths->text; at && *at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, start, length) == 0)
			return true;
	}
	return false;
}

int cgroup_move(pid_t process, const struct cgroup_paths *old, const struct cgroup_paths *paths)
{
	const char *at = paths->text, *next;
	struct line line;
	int result = 0;

	for (; (next = next_line(at, &line)); at = next) {
		int moved = has_line(old, at, (size_t)(next - at)) ? 0 : move_to(process, &line);

		result = result ? result : moved;
	}
	return result;
}
