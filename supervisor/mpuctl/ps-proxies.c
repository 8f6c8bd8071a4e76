/* Confined processes go by their proxies' numbers at the driver. mpud tells of its own proxies;
 * those of mpu-run are told by their names. */
#include "supervisor/mpuctl/ps-proxies.h"

#include "base/cleanup.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/mpuctl/ask.h"

#include <stdlib.h>
#include <string.h>

#define NAME "mpu-proxy"

static bool read_text(const char *pid, const char *file, char *text, size_t size)
{
	char path[64];
	cleanup_file FILE *opened = NULL;

	snprintf(path, sizeof(path), "/proc/%.16s/%s", pid, file);
	opened = fopen(path, "re");
	text[0] = '\0';
	return opened && fgets(text, (int)size, opened);
}

/* mpu-proxy: python3[4711] in web. The command's name is the target's own choice: the last bracket
 * that is followed by the container's name counts. */
pid_t ps_proxy_target(const char *title)
{
	const char *place = NULL;

	if (strncmp(title, NAME ": ", sizeof(NAME ": ") - 1) != 0)
		return 0;
	for (const char *at = strstr(title, "] in "); at; at = strstr(at + 1, "] in "))
		place = at;
	while (place && place > title && *place != '[')
		place--;
	return place && *place == '[' ? (pid_t)strtol(place + 1, NULL, 10) : 0;
}

static bool is_known(const struct proxied *proxied, pid_t proxy)
{
	for (size_t i = 0; i < proxied->count; i++)
		if (proxied->pair[i].proxy == proxy)
			return true;
	return false;
}

static bool add(struct proxied *proxied, pid_t proxy, pid_t target)
{
	void *grown = realloc(proxied->pair, (proxied->count + 1) * sizeof(proxied->pair[0]));

	if (!grown)
		return false;
	proxied->pair = grown;
	proxied->pair[proxied->count].proxy = proxy;
	proxied->pair[proxied->count++].target = target;
	return true;
}

/* A container could call a process of its own like that, but has it in a PID namespace of its own.
 */
static void add_named(struct proxied *proxied)
{
	cleanup_dir DIR *dir = opendir("/proc");
	char text[512];
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		pid_t target;

		if (pid <= 0 || !read_text(entry->d_name, "comm", text, sizeof(text)) ||
		    strcmp(text, NAME "\n") != 0 ||
		    !read_text(entry->d_name, "cmdline", text, sizeof(text)))
			continue;
		target = ps_proxy_target(text);
		if (target && !is_known(proxied, pid) && nsfs_id_of(pid, "pid") == NSFS_INIT_PID)
			add(proxied, pid, target);
	}
}

void ps_find_proxies(struct json_object *status, struct proxied *proxied)
{
	struct json_object *list = status ? ask_member(status, "proxies") : NULL;
	size_t count = list ? json_object_array_length(list) : 0;

	*proxied = (struct proxied){0};
	for (size_t i = 0; i < count; i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		add(proxied, (pid_t)ask_number(one, "pid"), (pid_t)ask_number(one, "target"));
	}
	add_named(proxied);
}

void ps_free_proxies(struct proxied *proxied)
{
	free(proxied->pair);
}
