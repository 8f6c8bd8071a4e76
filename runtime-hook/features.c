#include "runtime-hook/features.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "filter/filter.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

extern char **environ;

/* Starts `RUNTIME ARGUMENT`. Returns the reading end of its output, or -1. */
static int start_runtime(const char *runtime, const char *argument, pid_t *pid)
{
	char *const argv[] = {(char *)runtime, (char *)argument, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2], failed;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	failed = posix_spawn_file_actions_init(&actions);
	if (!failed) {
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
		failed = posix_spawnp(pid, runtime, &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	if (!failed)
		return ends[0];
	close(ends[0]);
	return -1;
}

/* What `RUNTIME ARGUMENT` prints: text->bytes is the caller's to free, NULL when it fails. */
static void ask_runtime(const char *runtime, const char *argument, struct json_text *text)
{
	cleanup_close int output = -1;
	int status = -1;
	pid_t pid;

	*text = (struct json_text){0};
	output = start_runtime(runtime, argument, &pid);
	if (output < 0)
		return;
	json_read_text(output, "the runtime's answer", text, NULL);
	close(steal_fd(&output)); /* it must not wait for a reader */
	if (waitpid(pid, &status, 0) == pid && status == 0)
		return;
	free(text->bytes);
	text->bytes = NULL;
}

static struct json_object *told_flags(const char *runtime)
{
	cleanup_json struct json_object *features = NULL;
	struct json_text text;

	ask_runtime(runtime, "features", &text);
	if (text.bytes)
		features = json_parse_text(&text, "features", NULL);
	free(text.bytes);
	return json_object_get(
	    json_member(json_member(json_member(features, "linux", json_type_object), "seccomp",
				    json_type_object),
			"supportedFlags", json_type_array));
}

/* crun took WAIT_KILLABLE_RECV (tried with 1.8.1) before it had the command that tells. */
static struct json_object *crun_flags(const char *runtime)
{
	struct json_object *flags;
	struct json_text text;
	unsigned int major = 0, minor = 0, patch = 0;
	bool known;

	ask_runtime(runtime, "--version", &text);
	known =
	    text.bytes && sscanf(text.bytes, "crun version %u.%u.%u", &major, &minor, &patch) >= 2;
	free(text.bytes);
	if (!known || major * 1000000 + minor * 1000 + patch < 1008001)
		return NULL;
	flags = json_object_new_array();
	json_object_array_add(flags, json_object_new_string("SECCOMP_FILTER_FLAG_SPEC_ALLOW"));
	if (filter_probe_flags(NULL) & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		json_object_array_add(
		    flags, json_object_new_string("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"));
	return flags;
}

struct json_object *runtime_seccomp_flags(const char *runtime)
{
	struct json_object *flags = runtime ? told_flags(runtime) : NULL;

	return flags || !runtime ? flags : crun_flags(runtime);
}
