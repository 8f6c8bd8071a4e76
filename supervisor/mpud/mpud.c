/* mpud: the daemon that answers the GPU calls of containers. */
#include "supervisor/mpud/mpud.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/privilege.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

struct mpud {
	struct mpud_options options;
	struct engine_options engine_options;
	struct engine *engine;
	struct mpud_socket socket;
	_Atomic uint64_t taken, gone;
};

/* Sets one of the container's settings, named as the annotation is. */
static void set_setting(struct mpu_settings *settings, const char *name, const char *value,
			const char *label)
{
	bool good = true;

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
}

/* Words "name=value" with blanks between, as mpu-hook profile writes them. */
static void read_metadata(const char *metadata, struct mpu_settings *settings, const char *label)
{
	cleanup_free char *words = metadata ? strdup(metadata) : NULL;
	char *rest = words, *word;

	while ((word = rest ? strsep(&rest, " ") : NULL)) {
		char *value = strchr(word, '=');

		if (!value)
			continue;
		*value = '\0';
		set_setting(settings, word, value + 1, label);
	}
}

/* What the container itself says stands above its profile's metadata, and that above our options.
 */
static struct mpu_settings settings_of(const struct mpud *mpud,
				       const struct mpud_container *container, const char *label)
{
	static const char *const names[] = {"mpu.view", "mpu.policy", "mpu.shared-pids"};
	struct mpu_settings settings = mpud->options.settings;

	read_metadata(container->metadata, &settings, label);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = json_member_string(container->annotations, names[i]);

		if (value)
			set_setting(&settings, names[i], value, label);
	}
	return settings;
}

void mpud_label(const char *id, char label[ENGINE_LABEL])
{
	size_t i = 0;

	for (; id[i] && i < ENGINE_LABEL - 1; i++)
		label[i] = isalnum((unsigned char)id[i]) || strchr("_.:-", id[i]) ? id[i] : '_';
	label[i] = '\0';
}

static int take_listener(void *context, int listener, const struct mpud_container *container,
			 struct mpu_error *error)
{
	struct mpud *mpud = context;
	char label[ENGINE_LABEL];
	struct mpu_settings settings;
	int result;

	mpud_label(container->id, label);
	settings = settings_of(mpud, container, label);
	result = engine_add_listener(mpud->engine, listener, &settings, label, 0);
	if (result)
		return mpu_fail(error, -result, "cannot take the listener of container %s: %s",
				label, strerror(-result));
	atomic_fetch_add(&mpud->taken, 1);
	log_info("took a container's listener", "container=%s pid=%d process=%d", label,
		 container->pid, container->process);
	return 0;
}

static void listener_closed(void *context, uint64_t cookie)
{
	struct mpud *mpud = context;

	(void)cookie;
	atomic_fetch_add(&mpud->gone, 1);
}

static int find_driver(struct mpud *mpud, struct mpu_error *error)
{
	struct driver *driver = &mpud->engine_options.driver;
	int result =
	    driver_find(driver, mpud->options.dev_root, mpud->options.driver_version, error);

	return result ? result : driver_compose(driver, &mpud->engine_options.pids, error);
}

/* Each listener is a descriptor, and so is each call in flight. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int start(struct mpud *mpud, struct mpu_error *error)
{
	int result = engine_check_namespace(error);

	if (!result)
		result = find_driver(mpud, error);
	if (!result)
		result = mpud_socket_open(&mpud->options, &mpud->socket, error);
	if (result)
		return result;
	raise_file_limit();
	privilege_drop(false);
	mpud->engine_options.pid_lookup = engine_best_pid_lookup();
	mpud->engine_options.with_uring = true;
	mpud->engine_options.use_pidfd_thread = true;
	mpud->engine_options.rings = mpud->options.rings;
	mpud->engine_options.listener_closed = listener_closed;
	mpud->engine_options.context = mpud;
	return engine_start(&mpud->engine, &mpud->engine_options, error);
}

/* Until a signal says to stop. */
static int serve(struct mpud *mpud, int signal_fd, struct mpu_error *error)
{
	struct intake *intake;
	struct signalfd_siginfo info;
	int wait_ms = -1, result = intake_open(&intake, &mpud->socket, take_listener, mpud);

	if (result)
		return mpu_fail(error, -result, "cannot wait for connections: %s",
				strerror(-result));
	mpud_notify("READY=1");
	log_info("ready", "socket=%s", mpud->socket.inherited ? "systemd" : mpud->socket.path);
	for (;;) {
		struct pollfd ready[] = {{.fd = signal_fd, .events = POLLIN},
					 {.fd = intake_fd(intake), .events = POLLIN}};

		if (poll(ready, 2, wait_ms) < 0 && errno != EINTR)
			break;
		if (read(signal_fd, &info, sizeof(info)) == sizeof(info))
			break;
		wait_ms = intake_work(intake);
	}
	mpud_notify("STOPPING=1");
	intake_close(intake);
	return 0;
}

static void stop(struct mpud *mpud)
{
	struct engine_stats stats;

	if (mpud->engine) {
		engine_stats(mpud->engine, &stats);
		if (stats.listeners)
			log_warning("containers are left behind: their GPU calls fail from now on",
				    "listeners=%u", stats.listeners);
		engine_stop(mpud->engine);
	}
	mpud_socket_close(&mpud->socket);
}

int main(int argc, char **argv)
{
	static struct mpud mpud = {.socket = {.fd = -1}};
	struct mpu_error error = {0};
	cleanup_close int signal_fd = -1;
	sigset_t signals;
	int result = mpud_options_parse(argc, argv, &mpud.options);

	if (result >= 0)
		return result;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	result = start(&mpud, &error);
	if (!result)
		result = serve(&mpud, signal_fd, &error);
	if (result)
		log_error(error.text, "error=%d", error.code);
	stop(&mpud);
	return result ? 1 : 0;
}
