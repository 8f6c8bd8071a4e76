/* Leaving the supervision to a running mpud, as an OCI runtime does. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"
#include "supervisor/mpud-protocol.h"

#include <errno.h>
#include <string.h>

static void release_json(struct json_object **object)
{
	json_object_put(*object);
}

static int set_word(struct json_object *annotations, const char *name, const char *word)
{
	struct json_object *value = json_object_new_string(word);

	return value ? json_object_object_add(annotations, name, value) : -1;
}

int run_hand_to_daemon(const struct run_options *options, pid_t child, int listener,
		       struct mpu_error *error)
{
	static const char *const views[] = {"container", "host"};
	static const char *const policies[] = {"auto", "always", "off"};
	struct json_object *annotations __attribute__((cleanup(release_json))) =
		json_object_new_object();
	const struct mpu_settings *settings = &options->settings;
	char id[32], words[MPU_CONFINE_TEXT], metadata[64] = "";
	const struct mpud_container container = {.id = id,
						 .bundle = "/",
						 .metadata = metadata,
						 .pid = child,
						 .process = child,
						 .annotations = annotations,
						 .confine = settings->confine};
	cleanup_close int connection = -1;

	snprintf(id, sizeof(id), "mpu-run-%d", child);
	if (!annotations || set_word(annotations, "mpu.enable", "1") ||
	    set_word(annotations, "mpu.view", views[settings->view]) ||
	    set_word(annotations, "mpu.policy", policies[settings->policy]) ||
	    set_word(annotations, "mpu.shared-pids", settings->deny_shared_pids ? "deny" : "allow"))
		return mpu_fail(error, ENOMEM, "cannot hand the command to mpud: %s",
				strerror(ENOMEM));
	if (settings->confine) {
		snprintf(metadata, sizeof(metadata), MPUD_FILTER_WORD "=%s",
			 filter_kind_name(mpu_confine_filter(settings->confine)));
		if (set_word(annotations, "mpu.confine",
			     mpu_confine_words(settings->confine, words)))
			return mpu_fail(error, ENOMEM, "cannot hand the command to mpud: %s",
					strerror(ENOMEM));
	}
	connection = mpud_connect(options->socket, error);
	return connection < 0 ? connection
			      : mpud_send_listener(connection, listener, &container, error);
}
