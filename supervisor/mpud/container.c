/* One parcel: whose listener it brings, and what is asked for it. */
#include "supervisor/mpud/mpud.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "supervisor/engine.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/mpud/channel.h"
#include "supervisor/mpud/socket.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* What a parcel's descriptors are. */
enum { MEMORY, CONNECTION, FIRST };

/* A bad value of any other setting is left out; of this one it must not be. */
static int set_confine(struct mpu_settings *settings, const char *value, struct mpu_error *error)
{
	struct mpu_error cause = {0};
	uint32_t wish;

	if (!value || mpu_confine_parse(value, &wish, &cause))
		return mpu_fail(error, EINVAL, "its setting mpu.confine=%.64s cannot be read: %s",
				value ? value : "", value ? cause.text : "it is no string");
	settings->confine = mpu_confine_narrow(settings->confine, wish);
	return 0;
}

/* Sets one of the container's settings, named as the annotation is. */
static int set_setting(struct mpu_settings *settings, const char *name, const char *value,
		       const char *label, struct mpu_error *error)
{
	bool good = true;

	if (strcmp(name, "mpu.confine") == 0)
		return set_confine(settings, value, error);
	if (!value)
		return 0;
	if (strcmp(name, "mpu.view") == 0)
		good = mpu_view_parse(value, &settings->view);
	else if (strcmp(name, "mpu.policy") == 0)
		good = mpu_policy_parse(value, &settings->policy);
	else if (strcmp(name, "mpu.shared-pids") == 0)
		good = mpu_shared_pids_parse(value, &settings->deny_shared_pids);
	if (!good)
		log_warning("a container's setting has a value that it does not take, and is "
			    "left out",
			    "container=%s setting=%s", label, name);
	return 0;
}

/* Words "name=value" with blanks between, as mpu-hook profile writes them. */
static int read_metadata(const char *metadata, struct mpu_settings *settings, const char *label,
			 struct mpu_error *error)
{
	cleanup_free char *words = metadata ? strdup(metadata) : NULL;
	char *rest = words, *word;
	int result = 0;

	if (metadata && !words)
		return mpu_fail(error, ENOMEM, "cannot read its settings: out of memory");
	while (!result && (word = rest ? strsep(&rest, " ") : NULL)) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		result = set_setting(settings, word, value, label, error);
	}
	return result;
}

static int read_annotations(struct json_object *annotations, struct mpu_settings *settings,
			    const char *label, struct mpu_error *error)
{
	static const char *const names[] = {"mpu.view", "mpu.policy", "mpu.shared-pids",
					    "mpu.confine"};
	int result = 0;

	for (size_t i = 0; !result && i < sizeof(names) / sizeof(names[0]); i++)
		if (annotations && json_object_object_get_ex(annotations, names[i], NULL))
			result = set_setting(settings, names[i],
					     json_member_string(annotations, names[i]), label,
					     error);
	return result;
}

/* Another driver may have been loaded since the worker began, which knows nothing of it. */
static int check_driver(const struct engine *engine, const struct mpud_options *options,
			uint32_t confine, struct mpu_error *error)
{
	struct driver now;
	int result = driver_find(&now, options->dev_root, options->driver_version, error);

	return result ? result : engine_check_confine(engine, &now, confine, error);
}

/* A confinement that does not hold is none: such a container is refused, so that all its calls which
 * the filter shows fail. */
static int check_confinement(const struct engine *engine, const struct mpud_options *options,
			     const struct mpud_container *container, bool forwarded,
			     struct mpu_settings *settings, struct mpu_error *error)
{
	enum filter_kind kind;

	if (mpu_filter_of(container->metadata, &kind))
		return mpu_fail(error, EINVAL, "its setting " MPU_FILTER_WORD " cannot be read");
	if (mpu_confine_check_filter(settings->confine, kind, error))
		return -error->code;
	if (settings->confine && forwarded)
		return mpu_fail(error, ENOTSUP,
				"it is to be confined, and calls that LXC forwards cannot be: use "
				"mpu-hook lxc (/etc/lxc/mpu-start-host.conf)");
	if (settings->confine && !(settings->confine & NVABI_CAPS))
		return mpu_fail(error, EINVAL,
				"it asks to be confined to what mpud --confine does not allow at all");
	if (settings->confine && check_driver(engine, options, settings->confine, error))
		return -error->code;
	if (settings->confine)
		settings->policy = MPU_POLICY_ALWAYS;
	return 0;
}

/* What the container itself says stands above its profile's metadata, and that above our options; but
 * confine is narrowed by each of them. */
static int read_settings(const struct engine *engine, const struct mpud_options *options,
			 const struct mpud_container *container, bool forwarded, const char *label,
			 struct mpu_settings *settings, struct mpu_error *error)
{
	struct mpu_error cause = {0};
	int result;

	*settings = options->settings;
	result = read_metadata(container->metadata, settings, label, &cause);
	if (!result)
		result = read_annotations(container->annotations, settings, label, &cause);
	if (!result)
		result = check_confinement(engine, options, container, forwarded, settings, &cause);
	return result ? mpu_fail(error, -result, "container %s: %s", label, cause.text) : 0;
}

void mpud_label(const char *id, char label[JOURNAL_LABEL])
{
	size_t i = 0;

	for (; id[i] && i < JOURNAL_LABEL - 1; i++)
		label[i] = isalnum((unsigned char)id[i]) || strchr("_.:-", id[i]) ? id[i] : '_';
	label[i] = '\0';
}

/* How engines and kubelets name their containers. */
static void describe(const struct mpud_container *container, char about[JOURNAL_ABOUT])
{
	static const struct {
		const char *annotation, *name;
	} known[] = {
		{"io.kubernetes.cri.sandbox-namespace", "namespace"},
		{"io.kubernetes.cri.sandbox-name", "pod"},
		{"io.kubernetes.cri.container-name", "name"},
		{"io.kubernetes.pod.namespace", "namespace"},
		{"io.kubernetes.pod.name", "pod"},
		{"io.kubernetes.container.name", "name"},
		{"io.container.manager", "manager"},
		{"io.podman.annotations.container.name", "name"},
	};
	size_t length = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const char *value = json_member_string(container->annotations, known[i].annotation);
		char word[JOURNAL_LABEL];
		int written;

		if (!value)
			continue;
		mpud_label(value, word);
		written = snprintf(about + length, JOURNAL_ABOUT - length, "%s=%s\n", known[i].name,
				   word);
		if (written < 0 || (size_t)written >= JOURNAL_ABOUT - length) {
			about[length] = '\0';
			return;
		}
		length += (size_t)written;
	}
}

static int find_listener(const struct channel_mail *mail, const struct mpud_container *container,
			 size_t which, struct mpu_error *error)
{
	char label[JOURNAL_LABEL];

	mpud_label(container->id, label);
	if (which + FIRST >= mail->count)
		return mpu_fail(error, EBADF,
				"container %s: %zu descriptors came along, the "
				"listener should be number %zu",
				label, mail->count - FIRST, which + 1);
	if (!notify_is_listener(mail->fd[which + FIRST]))
		return mpu_fail(error, EBADF,
				"container %s: the descriptor that came along is no seccomp "
				"listener",
				label);
	return 0;
}

int worker_enter(const struct engine *engine, struct journal *journal,
		 const struct mpud_options *options, const struct mpud_container *container,
		 bool forwarded, uint32_t *index, struct mpu_error *error)
{
	struct journal_listener *entry;
	struct mpu_settings settings;
	char label[JOURNAL_LABEL];

	mpud_label(container->id, label);
	if (read_settings(engine, options, container, forwarded, label, &settings, error))
		return -error->code;
	entry = journal_take_listener(journal, index);
	if (!entry)
		return mpu_fail(error, ENOSPC,
				"mpud has %d listeners already, which is as many as it takes",
				JOURNAL_LISTENERS);
	strcpy(entry->label, label);
	describe(container, entry->about);
	entry->settings = settings;
	entry->pid = container->pid;
	entry->since = (uint64_t)time(NULL);
	return 0;
}

static struct json_object *read_message(struct channel_mail *mail, struct mpu_error *error)
{
	size_t length = mail->message.index;
	struct json_text text = {.bytes = malloc(length + 1), .length = length};
	struct json_object *state = NULL;

	if (!text.bytes || pread(mail->fd[MEMORY], text.bytes, length, 0) != (ssize_t)length) {
		mpu_fail(error, ENOMEM, "cannot read the message: out of memory");
	} else {
		text.bytes[length] = '\0';
		state = json_parse_text(&text, "the message", error);
	}
	free(text.bytes);
	return state;
}

/* 1. Who it is. 2. The listener. 3. Into the journal. 4. The keeper's copy becomes a listener's.
 * 5. The engine. */
static int take(struct engine *engine, struct journal *journal, int channel,
		const struct mpud_options *options, struct channel_mail *mail,
		struct json_object *state, uint32_t *confine, struct mpu_error *error)
{
	struct channel_message taken = {.kind = CHANNEL_TAKEN, .parcel = mail->message.parcel};
	struct mpud_container container = {0};
	size_t which;
	int result = mpud_read_state(state, &container, &which, error);

	if (!result)
		result = find_listener(mail, &container, which, error);
	if (!result)
		result = worker_enter(engine, journal, options, &container, false, &taken.index,
				      error);
	if (result)
		return result;
	*confine = journal_listener(journal, taken.index)->settings.confine;
	taken.which = (uint32_t)which;
	taken.generation = journal_listener(journal, taken.index)->generation;
	result = channel_send(channel, &taken, NULL, 0, 0);
	if (result)
		return mpu_fail(error, -result, "mpud is about to end: %s", strerror(-result));
	result = engine_add_listener(engine, mail->fd[which + FIRST], taken.index, true);
	mail->fd[which + FIRST] = -1;
	if (result) {
		const struct channel_message closed = {.kind = CHANNEL_CLOSED, .index = taken.index};

		atomic_store(&journal_listener(journal, taken.index)->state,
			     JOURNAL_LISTENER_CLOSED);
		channel_send(channel, &closed, NULL, 0, 0);
		return mpu_fail(error, -result, "cannot take the listener: %s", strerror(-result));
	}
	log_info("took a container's listener", "container=%s pid=%d process=%d",
		 journal_listener(journal, taken.index)->label, container.pid, container.process);
	return 0;
}

void worker_take_parcel(struct engine *engine, struct journal *journal, int channel,
			const struct mpud_options *options, struct channel_mail *mail)
{
	struct channel_message done = {.kind = CHANNEL_DONE, .parcel = mail->message.parcel};
	cleanup_json struct json_object *state = NULL;
	struct mpu_error error = {0};
	uint32_t confine = 0;

	if (mail->count < FIRST)
		return;
	state = read_message(mail, &error);
	if (!state && !mail->message.which) {
		done.kind = CHANNEL_HALF;
		channel_send(channel, &done, NULL, 0, 0);
		return;
	}
	if (!state || take(engine, journal, channel, options, mail, state, &confine, &error))
		log_warning("refused what came over the socket", "error=\"%s\"", error.text);
	mpud_socket_answer(mail->fd[CONNECTION], error.code ? error.text : NULL, confine);
	channel_send(channel, &done, NULL, 0, 0);
}
