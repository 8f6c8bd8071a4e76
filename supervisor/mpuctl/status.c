#include "supervisor/mpuctl/ask.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "Usage: mpuctl status [--socket=PATH] [--json]\n"
    "\n"
    "The running mpud: the driver it found, what it uses of the kernel, what each of\n"
    "its processes holds, how its workers fared, and the containers that it serves.\n"
    "\n"
    "  --socket=PATH  the mpud that listens there (/run/mpu/mpud.sock; an ordinary\n"
    "                 user's $XDG_RUNTIME_DIR/mpu/mpud.sock)\n"
    "  --json         as JSON\n"
    "  --help\n";

static void print_driver(struct json_object *status)
{
	const char *match = ask_text(status, "driver.match");

	printf("driver      %s", ask_text(status, "driver.version"));
	if (strcmp(match, "exact") == 0)
		printf(", which is listed");
	else
		printf(", not listed: taken as %s, %s", ask_text(status, "driver.release"),
		       strcmp(match, "neighbour") == 0 ? "the next older one"
						       : "of an older branch");
	printf("%s\n", ask_number(status, "driver.named_by_option") ? " (by option)" : "");
	if (strcmp(ask_text(status, "driver.can_confine"), "false") == 0)
		printf("            of its branch no release is known: NO CONTAINER CAN BE CONFINED\n");
	printf("            records %s; natively its PIDs are, in lists: %s,\n",
	       ask_text(status, "driver.records"), ask_text(status, "driver.pids_natively.lists"));
	printf("            memory: %s, utilisation: %s,\n            accounting: %s\n",
	       ask_text(status, "driver.pids_natively.memory"),
	       ask_text(status, "driver.pids_natively.utilisation"),
	       ask_text(status, "driver.pids_natively.accounting"));
}

static void print_kernel(struct json_object *status)
{
	const char *sync = ask_text(status, "kernel.sync_wake_up");

	printf("kernel      %s: PIDs by %s, descriptors by %s,\n            sync wake-up %s\n",
	       ask_text(status, "kernel.release"), ask_text(status, "kernel.pid_lookup"),
	       ask_number(status, "kernel.pidfd_thread") ? "pidfds of threads"
							 : "the group's leader",
	       !*sync			   ? "not known before the first container"
	       : strcmp(sync, "true") == 0 ? "yes"
					   : "no");
}

static void print_set(const char *role, const char *what, struct json_object *names)
{
	size_t count = names ? json_object_array_length(names) : 0;
	int column = printf("    %-6s  %-14s  ", role, what);

	if (!count)
		printf("none");
	for (size_t i = 0; i < count; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));

		if (column + (int)strlen(name) + 1 > 79)
			column = printf("\n%28s", "") - 1;
		column += printf("%s%s", i ? " " : "", name);
	}
	putchar('\n');
}

/* The name service's libraries crash a static program: the machine's own users only. */
static void find_user(uint64_t uid, char name[16])
{
	cleanup_file FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *user = NULL;

	while (file && (user = fgetpwent(file)) && user->pw_uid != uid)
		;
	if (user)
		snprintf(name, 16, "%.12s", user->pw_name);
	else
		snprintf(name, 16, "%u", (unsigned int)uid);
}

static void print_process(struct json_object *process)
{
	char user[16];

	find_user(ask_number(process, "uid"), user);
	printf(
	    "    %-6s %8" PRIu64 "  %-12s %9" PRIu64 " %7" PRIu64 " %7.1f %7.1f %7" PRIu64 "  %s\n",
	    ask_text(process, "role"), ask_number(process, "pid"), user,
	    ask_number(process, "listeners"), ask_number(process, "descriptors"),
	    (double)ask_number(process, "rss_kib") / 1024,
	    (double)ask_number(process, "pss_kib") / 1024, ask_number(process, "seccomp_filters"),
	    ask_number(process, "no_new_privs") ? "yes" : "no");
}

static void print_processes(struct json_object *processes)
{
	size_t count = json_object_array_length(processes);

	printf(
	    "processes       PID  user         listeners     fds RSS MiB PSS MiB filters  nnp\n");
	for (size_t i = 0; i < count; i++)
		print_process(json_object_array_get_idx(processes, i));
	printf("capabilities\n");
	for (size_t i = 0; i < count; i++) {
		struct json_object *one = json_object_array_get_idx(processes, i);

		print_set(ask_text(one, "role"), "effective", ask_member(one, "effective"));
		print_set("", "permitted only", ask_member(one, "permitted_only"));
	}
	printf("threads     of the worker, and the seccomp filters over each\n");
	json_object_object_foreach(
	    ask_member(json_object_array_get_idx(processes, count - 1), "threads"), name, one)
	    printf("    %4" PRIu64 "  %-16s %" PRIu64 "\n", ask_number(one, "count"), name,
		   ask_number(one, "seccomp_filters"));
}

/* Long ids are random digits, of which engines show twelve themselves. */
static int id_width(const char *id)
{
	return strlen(id) == strspn(id, "0123456789abcdef") && strlen(id) > 20 ? 12 : 20;
}

static void print_container(struct json_object *container)
{
	time_t since = (time_t)ask_number(container, "since");
	const char *id = ask_text(container, "id");
	const char *pod = ask_text(container, "pod"), *name = ask_text(container, "name");
	char when[32], called[80];

	strftime(when, sizeof(when), "%m-%d %H:%M", localtime(&since));
	snprintf(called, sizeof(called), "%s%s%s", pod, *pod && *name ? "/" : "", name);
	printf("    %-20.*s %-15.15s %7" PRIu64 " %9" PRIu64 " %7" PRIu64 "  %s\n", id_width(id),
	       id, *called ? called : "-", ask_number(container, "pid"),
	       ask_number(container, "listeners"), ask_number(container, "in_flight"),
	       ask_number(container, "quarantined") ? "QUARANTINED" : when);
}

static void print_containers(struct json_object *containers)
{
	size_t count = json_object_array_length(containers);

	if (count)
		printf("    %-20s %-15s %7s %9s %7s  since\n", "id", "name", "PID", "listeners",
		       "calls");
	for (size_t i = 0; i < count; i++)
		print_container(json_object_array_get_idx(containers, i));
}

static void print(struct json_object *status)
{
	struct json_object *containers = ask_member(status, "containers");
	struct json_object *proxies = ask_member(status, "proxies");

	printf("mpud        %s at %s\n", ask_text(status, "version"), ask_text(status, "socket"));
	print_driver(status);
	print_kernel(status);
	printf("settings    view %s, policy %s, shared PIDs %s, sandbox %s,\n"
	       "            confine %s\n",
	       ask_text(status, "settings.view"), ask_text(status, "settings.policy"),
	       ask_text(status, "settings.shared_pids"),
	       ask_number(status, "settings.sandbox") ? "on" : "OFF",
	       ask_text(status, "settings.confine"));
	print_processes(ask_member(status, "processes"));
	printf("workers     %" PRIu64 " started, %" PRIu64 " replaced: %" PRIu64
	       " crashed, %" PRIu64 " hung\n",
	       ask_number(status, "workers.started"), ask_number(status, "workers.replaced"),
	       ask_number(status, "workers.crashed"), ask_number(status, "workers.hung"));
	if (proxies && json_object_array_length(proxies))
		printf("proxies     %zu: processes that make the calls of confined ones\n",
		       json_object_array_length(proxies));
	printf("containers  %zu; listeners: %" PRIu64 " of %" PRIu64 "\n",
	       json_object_array_length(containers), ask_number(status, "listeners"),
	       ask_number(status, "listeners_max"));
	print_containers(containers);
}

int status_command(int argc, char **argv)
{
	return ask_and_print(argc, argv, usage, print);
}
