#include "supervisor/gpus/whose.h"

#include "base/cleanup.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/pidmap.h"
#include "supervisor/target.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

enum { ID_LENGTH = 64, CGROUP_BYTES = 16384, ANCESTORS = 64 };

/* ---- The cgroup ---- */

static bool is_id(const char *text, size_t length)
{
	if (length != ID_LENGTH)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isdigit((unsigned char)text[i]) && (text[i] < 'a' || text[i] > 'f'))
			return false;
	return true;
}

static void put(char *to, size_t size, const char *text, size_t length)
{
	snprintf(to, size, "%.*s", (int)(length < size ? length : size - 1), text);
}

/* What stands before the id in one component of the path, by the engine that writes it so; "": the
 * component before tells, as /docker/ID. */
static const char *engine_of_prefix(const char *prefix, size_t length)
{
	static const struct {
		const char *prefix, *engine;
	} known[] = {{"docker-", "docker"},
		     {"libpod-", "podman"},
		     {"cri-containerd-", "containerd"},
		     {"crio-", "cri-o"},
		     {"nerdctl-", "containerd"}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (length == strlen(known[i].prefix) && !strncmp(prefix, known[i].prefix, length))
			return known[i].engine;
	/* containerd without systemd's help: kubepods-podUID.slice:cri-containerd:ID */
	if (length > 1 && prefix[length - 1] == ':')
		return "containerd";
	return length ? NULL : "";
}

/* "kubepods-burstable-pod1234_56.slice", "pod1234-56" */
static void read_pod(const char *part, size_t length, struct whose *whose)
{
	const char *pod = memmem(part, length, "pod", 3);
	size_t i, at = 0;

	while (pod && !strncmp(pod, "pods", 4))
		pod = memmem(pod + 3, length - (size_t)(pod + 3 - part), "pod", 3);
	if (!pod || (pod != part && pod[-1] != '-'))
		return;
	for (i = (size_t)(pod - part) + 3; i < length && at < WHOSE_TEXT - 1; i++) {
		if (part[i] != '_' && part[i] != '-' && !isxdigit((unsigned char)part[i]))
			break;
		whose->pod[at++] = part[i] == '_' ? '-' : part[i];
	}
	whose->pod[at] = '\0';
}

static bool read_lxc(const char *part, size_t length, const char *before, size_t before_length,
		     struct whose *whose)
{
	static const char payload[] = "lxc.payload.";
	size_t skip = sizeof(payload) - 1;

	if (length > skip && !strncmp(part, payload, skip))
		put(whose->id, sizeof(whose->id), part + skip, length - skip);
	else if (before_length == 3 && !strncmp(before, "lxc", 3))
		put(whose->id, sizeof(whose->id), part, length);
	else
		return false;
	strcpy(whose->engine, "lxc");
	return true;
}

/* One component of a path, the one before it, and whether the path is a kubelet's. */
static bool read_part(const char *part, size_t length, const char *before, size_t before_length,
		      bool in_pod, struct whose *whose)
{
	const char *engine;
	size_t bare = length;

	if (bare > 6 && !strncmp(part + bare - 6, ".scope", 6))
		bare -= 6;
	engine = bare >= ID_LENGTH && is_id(part + bare - ID_LENGTH, ID_LENGTH)
		     ? engine_of_prefix(part, bare - ID_LENGTH)
		     : NULL;
	if (!engine)
		return read_lxc(part, length, before, before_length, whose);
	if (!*engine && before_length == 6 && !strncmp(before, "docker", 6))
		engine = "docker";
	else if (!*engine)
		engine = in_pod ? "kubernetes" : "oci";
	put(whose->engine, sizeof(whose->engine), engine, strlen(engine));
	put(whose->id, sizeof(whose->id), part + bare - ID_LENGTH, ID_LENGTH);
	return true;
}

/* The innermost container counts: a path may lead through several. */
static bool read_path(const char *path, size_t length, struct whose *whose)
{
	const char *before = "", *end = path + length;
	size_t before_length = 0;
	bool found = false, in_pod = false;

	while (path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t part = (size_t)((slash ? slash : end) - path);

		in_pod |= part >= 8 && !strncmp(path, "kubepods", 8);
		if (in_pod)
			read_pod(path, part, whose);
		found |= read_part(path, part, before, before_length, in_pod, whose);
		before = path;
		before_length = part;
		path += part + 1;
	}
	return found;
}

bool whose_parse_cgroup(const char *text, struct whose *whose)
{
	bool found = false;

	while (*text && !found) {
		size_t line = strcspn(text, "\n");
		const char *path = memchr(text, ':', line);

		path = path ? memchr(path + 1, ':', line - (size_t)(path + 1 - text)) : NULL;
		if (path)
			found = read_path(path + 1, line - (size_t)(path + 1 - text), whose);
		text += line + (text[line] == '\n');
	}
	return found;
}

static bool read_cgroup(pid_t pid, struct whose *whose)
{
	char path[40], text[CGROUP_BYTES];
	cleanup_close int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length <= 0)
		return false;
	text[length] = '\0';
	return whose_parse_cgroup(text, whose);
}

/* ---- What mpud knows ---- */

void whose_look_up(struct known_container *container)
{
	container->ns_id = nsfs_id_of(container->pid, "pid");
	container->shares_pids = container->ns_id == nsfs_id_of(getpid(), "pid");
	if (container->shares_pids)
		container->ns_id = 0;
}

void whose_read_about(struct known_container *container, const char *about)
{
	const struct {
		const char *name;
		char *to;
	} known[] = {{"name=", container->name},
		     {"pod=", container->pod},
		     {"namespace=", container->namespace}};

	while (*about) {
		size_t line = strcspn(about, "\n");

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			size_t skip = strlen(known[i].name);

			if (line >= skip && !strncmp(about, known[i].name, skip))
				put(known[i].to, WHOSE_TEXT, about + skip, line - skip);
		}
		about += line + (about[line] == '\n');
	}
}

/* ---- A process ---- */

static pid_t parent_of(pid_t pid)
{
	char path[40], text[512];
	cleanup_file FILE *file = NULL;
	const char *rest;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || !fgets(text, sizeof(text), file))
		return 0;
	/* Behind the name, which may hold anything. */
	rest = strrchr(text, ')');
	return rest && sscanf(rest, ") %*c %d", &parent) == 1 ? parent : 0;
}

static const struct known_container *find_ancestor(pid_t pid, const struct known_container *known,
						   size_t count)
{
	for (int i = 0; i < ANCESTORS && pid > 1; i++, pid = parent_of(pid))
		for (size_t j = 0; j < count; j++)
			if (known[j].shares_pids && known[j].pid == pid)
				return &known[j];
	return NULL;
}

/* By the id first: other containers may share its namespace, as those of a pod can. */
static const struct known_container *find_known(pid_t pid, const struct whose *whose,
						const uint64_t *ids, int levels,
						const struct known_container *known, size_t count)
{
	for (size_t i = 0; i < count && *whose->id; i++)
		if (!strcmp(known[i].id, whose->id))
			return &known[i];
	for (int level = 0; level < levels; level++)
		for (size_t i = 0; i < count; i++)
			if (known[i].ns_id && known[i].ns_id == ids[level])
				return &known[i];
	return find_ancestor(pid, known, count);
}

static pid_t number_inside(const struct whose *whose, const uint64_t *ids, const pid_t *numbers,
			   int levels)
{
	for (int level = 0; whose->known && level < levels; level++)
		if (ids[level] == whose->known->ns_id)
			return numbers[level];
	return levels > 0 ? numbers[0] : 0;
}

void whose_find(pid_t pid, const struct known_container *known, size_t count, struct whose *whose)
{
	uint64_t ids[TARGET_LEVELS] = {0};
	pid_t numbers[TARGET_LEVELS];
	struct task_status status;
	int levels = pidmap_namespaces(pid, ids, numbers, TARGET_LEVELS);

	*whose = (struct whose){.known = NULL};
	/* Another user's process does not show its namespace, but its number there. */
	if (levels < 0 && !task_status_read(pid, &status) && status.levels > 1) {
		numbers[0] = status.process[status.levels - 1];
		levels = 1;
	}
	read_cgroup(pid, whose);
	whose->known = find_known(pid, whose, ids, levels, known, count);
	whose->inside = number_inside(whose, ids, numbers, levels);
	if (whose->known) {
		snprintf(whose->id, sizeof(whose->id), "%s", whose->known->id);
		if (levels <= 0)
			whose->inside = pid;
	} else if (!*whose->id && levels > 0) {
		strcpy(whose->engine, "namespace");
		if (ids[0])
			snprintf(whose->id, sizeof(whose->id), "pid:[%llu]",
				 (unsigned long long)ids[0]);
		else
			strcpy(whose->id, "pid:[?]");
	} else if (*whose->id && levels <= 0) {
		whose->inside = pid;
	}
}

void whose_process_name(pid_t pid, char name[WHOSE_ENGINE])
{
	char path[40];
	cleanup_close int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, name, WHOSE_ENGINE - 1);
	if (length <= 0) {
		strcpy(name, "?");
		return;
	}
	length -= name[length - 1] == '\n';
	name[length] = '\0';
	for (char *at = name; *at; at++)
		if (!isascii((unsigned char)*at) || !isprint((unsigned char)*at))
			*at = '?';
}
