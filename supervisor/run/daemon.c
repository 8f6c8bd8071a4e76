/* Leaving the supervision to a running mpud, as an OCI runtime does. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"
#include "supervisor/mpud-protocol.h"

#include <errno.h>
#include <string.h>

/* None of the words needs to be quoted. */
static int write_state(char **text, pid_t child, const struct mpu_settings *settings)
{
	static const char *const views[] = {"container", "host"};
	static const char *const policies[] = {"auto", "always", "off"};
	const struct {
		const char *name, *word;
	} annotations[] = {{"mpu.view", views[settings->view]},
			   {"mpu.policy", policies[settings->policy]},
			   {"mpu.shared-pids", settings->deny_shared_pids ? "deny" : "allow"}};
	const char *kind = filter_kind_name(mpu_confine_filter(settings->confine));
	char words[MPU_CONFINE_TEXT];
	size_t length;
	FILE *out = open_memstream(text, &length);

	if (!out)
		return -ENOMEM;
	fprintf(out,
		"{\"ociVersion\":\"1.0.2\",\"fds\":[\"" MPUD_LISTENER_NAME "\"],\"pid\":%d,"
		"\"state\":{\"ociVersion\":\"1.0.2\",\"id\":\"mpu-run-%d\",\"status\":\"creating\","
		"\"pid\":%d,\"bundle\":\"/\",\"annotations\":{\"mpu.enable\":\"1\"",
		child, child, child);
	for (size_t i = 0; i < sizeof(annotations) / sizeof(annotations[0]); i++)
		fprintf(out, ",\"%s\":\"%s\"", annotations[i].name, annotations[i].word);
	if (settings->confine)
		fprintf(out, ",\"mpu.confine\":\"%s\"", mpu_confine_words(settings->confine, words));
	fputs("}}", out);
	if (settings->confine)
		fprintf(out, ",\"metadata\":\"" MPU_FILTER_WORD "=%s\"", kind);
	fputs("}", out);
	return fclose(out) ? -ENOMEM : 0;
}

int run_hand_to_daemon(const struct run_options *options, pid_t child, int listener,
		       struct mpu_error *error)
{
	cleanup_close int connection = -1;
	cleanup_free char *state = NULL;

	if (write_state(&state, child, &options->settings))
		return mpu_fail(error, ENOMEM, "cannot hand the command to mpud: %s",
				strerror(ENOMEM));
	connection = mpud_connect(options->socket, error);
	return connection < 0 ? connection
			      : mpud_send_state(connection, listener, state, strlen(state),
						options->settings.confine != 0, error);
}
