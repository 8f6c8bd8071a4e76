#include "supervisor/members.h"

#include "base/cleanup.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

/* Namespaces that are remembered, how many members of each, how long at most, and how many new ids
 * are looked at one by one before all of /proc is quicker. */
enum { NAMESPACES = 16, KEPT_MAX = 1 << 14, KEPT_MS = 1000, NEW_MAX = 4096 };

/* Ids are given out in a circle. All processes are made under one lock of the kernel, by no machine so
 * many in a millisecond that the circle could close unnoticed before the list is too old. */
enum { MADE_PER_MS = 100 };

struct member {
	pid_t host, number;
};

/* Those that were there when LAST was the last id given out, at SEEN_MS. */
struct members {
	uint64_t ns_id;
	uint64_t seen_ms;
	pid_t last;
	struct member *list;
	size_t count, size;
};

static struct members kept[NAMESPACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void release(struct members *members)
{
	free(members->list);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The last word of a file of one line, as a number; 0 where it cannot be read. */
static pid_t last_number(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[128];
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *last;

	if (length <= 0)
		return 0;
	text[length] = '\0';
	last = strrchr(text, ' ');
	return (pid_t)strtol(last ? last : text, NULL, 10);
}

/* Of the initial namespace, since that is ours. */
static pid_t last_given_out(void)
{
	return last_number("/proc/loadavg");
}

static pid_t ids_in_all(void)
{
	return last_number("/proc/sys/kernel/pid_max");
}

/* ---- What is remembered ---- */

static uint64_t id_of(const struct pid_view *view)
{
	return view->host ? NSFS_INIT_PID : view->ns_id;
}

static bool copy_list(struct members *to, const struct members *from)
{
	struct member *list = malloc((from->count + 1) * sizeof(*list));

	if (!list)
		return false;
	*to = *from;
	to->list = memcpy(list, from->list, from->count * sizeof(*list));
	to->size = from->count + 1;
	return true;
}

static bool recall(uint64_t ns_id, struct members *members)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < NAMESPACES && !found; i++)
		found = kept[i].list && kept[i].ns_id == ns_id && copy_list(members, &kept[i]);
	pthread_mutex_unlock(&lock);
	return found;
}

static void keep(const struct members *members)
{
	struct members copy, *place = &kept[0];

	if (members->count > KEPT_MAX || !copy_list(&copy, members))
		return;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < NAMESPACES && place->ns_id != members->ns_id; i++)
		if (kept[i].ns_id == members->ns_id || kept[i].seen_ms < place->seen_ms)
			place = &kept[i];
	free(place->list);
	*place = copy;
	pthread_mutex_unlock(&lock);
}

/* ---- What is looked at ---- */

static bool add(struct members *members, struct member member)
{
	struct member *list = members->list;

	if (members->count == members->size) {
		size_t size = members->size ? members->size * 2 : 256;

		list = realloc(list, size * sizeof(*list));
		if (!list) {
			shortage_note(ENOMEM);
			return false;
		}
		members->list = list;
		members->size = size;
	}
	list[members->count++] = member;
	return true;
}

/* Returns false where somebody may be missing. The id is read first: who comes later has one behind. */
static bool look_through(struct members *members, const struct pid_view *view)
{
	cleanup_dir DIR *dir = opendir("/proc");
	const struct dirent *entry;
	bool whole = dir != NULL;

	if (!whole)
		shortage_note(errno);
	members->ns_id = id_of(view);
	members->seen_ms = now_ms();
	members->last = last_given_out();
	members->count = 0;
	while (whole && (errno = 0, entry = readdir(dir))) {
		pid_t host = (pid_t)strtol(entry->d_name, NULL, 10);
		pid_t number = pidmap_to_view(view, host);

		if (number)
			whole = add(members, (struct member){host, number});
	}
	if (whole)
		shortage_note(errno);
	return whole && members->last && !shortage_was_noted();
}

static bool is_between(pid_t id, pid_t first, pid_t last)
{
	return id >= first && id <= last;
}

/* The ids from FIRST to LAST are other processes' now, or nobody's, or threads'. */
static bool look_again(struct members *members, const struct pid_view *view, pid_t first, pid_t last)
{
	size_t count = 0;
	bool whole = true;

	for (size_t i = 0; i < members->count; i++)
		if (!is_between(members->list[i].host, first, last))
			members->list[count++] = members->list[i];
	members->count = count;
	for (pid_t host = first; whole && host <= last; host++) {
		pid_t number = pidmap_to_view(view, host);

		if (number && pidmap_process(view->method, host) == host)
			whole = add(members, (struct member){host, number});
	}
	return whole && !shortage_was_noted();
}

/* Whether MEMBERS could be brought up to date. */
static bool renew(struct members *members, const struct pid_view *view)
{
	const pid_t before = members->last, last = last_given_out(), all = ids_in_all();
	const uint64_t age_ms = now_ms() - members->seen_ms;
	bool whole;

	if (!last || age_ms > KEPT_MS || age_ms > (uint64_t)all / MADE_PER_MS)
		return false;
	if (last == before)
		return true;
	if ((last > before ? last - before : all - before + last) > NEW_MAX)
		return false;
	members->last = last;
	whole = last > before ? look_again(members, view, before + 1, last)
			      : look_again(members, view, before + 1, all) &&
					look_again(members, view, 1, last);
	if (whole)
		keep(members);
	return whole;
}

static void visit_all(const struct members *members,
		      void (*visit)(void *context, pid_t host, pid_t number), void *context)
{
	for (size_t i = 0; i < members->count; i++)
		visit(context, members->list[i].host, members->list[i].number);
}

void members_each(const struct pid_view *view,
		  void (*visit)(void *context, pid_t host, pid_t number), void *context)
{
	struct members members __attribute__((cleanup(release))) = {0};

	if ((!recall(id_of(view), &members) || !renew(&members, view)) &&
	    look_through(&members, view))
		keep(&members);
	visit_all(&members, visit, context);
}

void members_each_remembered(const struct pid_view *view,
			     void (*visit)(void *context, pid_t host, pid_t number), void *context)
{
	struct members members __attribute__((cleanup(release))) = {0};

	if (recall(id_of(view), &members))
		visit_all(&members, visit, context);
}
