#include "runtime-hook/features.h"

#include "base/cleanup.h"
#include "base/json.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

/* Starts `RUNTIME features`. Returns the reading end of its output, or -1. */
static int start_features(const char *runtime, pid_t *pid)
{
	char *const argv[] = {(char *)runtime, (char *)"features", NULL};
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

struct json_object *runtime_seccomp_flags(const char *runtime)
{
	struct json_text text = {0};
	cleanup_json struct json_object *features = NULL;
	cleanup_close int output = -1;
	int status = -1;
	pid_t pid;

	if (!runtime)
		return NULL;
	output = start_features(runtime, &pid);
	if (output < 0)
		return NULL;
	if (json_read_text(output, "features", &text, NULL) == 0)
		features = json_parse_text(&text, "features", NULL);
	free(text.bytes);
	close(steal_fd(&output)); /* it must not wait for a reader */
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return NULL;
	return json_object_get(
	    json_member(json_member(json_member(features, "linux", json_type_object), "seccomp",
				    json_type_object),
			"supportedFlags", json_type_array));
}
