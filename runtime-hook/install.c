#include "runtime-hook/install.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "runtime-hook/lxc.h"
#include "runtime-hook/profile.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* What the files say: our programs and the options that were given. */
struct facts {
	char hook[PATH_MAX];
	char runtime[PATH_MAX];
	char socket_option[512];
	char runtime_option[512];
	char confine_option[16 + MPU_CONFINE_TEXT];
	char lxc_socket[512];
	const struct hook_settings *settings;
	const char *base;	 /* the profile that Kubernetes' or LXC's is made from, or NULL */
	struct mpu_error *error; /* why one of them could not be made */
};

static struct json_object *string(const char *text)
{
	return json_object_new_string(text);
}

/* The hook's command line: program, options, COMMAND. */
static struct json_object *hook_command(const struct facts *facts, bool always, const char *command)
{
	struct json_object *hook = json_object_new_object(), *args = json_object_new_array();

	json_object_array_add(args, string("mpu-hook"));
	if (facts->socket_option[0])
		json_object_array_add(args, string(facts->socket_option));
	if (always)
		json_object_array_add(args, string("--always"));
	if (facts->settings->defaults.ignore_missing)
		json_object_array_add(args, string("--on-missing=ignore"));
	if (facts->confine_option[0])
		json_object_array_add(args, string(facts->confine_option));
	if (strcmp(command, "precreate") == 0) {
		json_object_array_add(args, string("--fail-late"));
		if (facts->runtime_option[0])
			json_object_array_add(args, string(facts->runtime_option));
	}
	json_object_array_add(args, string(command));
	json_object_object_add(hook, "path", string(facts->hook));
	json_object_object_add(hook, "args", args);
	return hook;
}

/* oci-hooks(5): run where the annotation is there; what it says is for the hook to read. */
static struct json_object *podman_hook(const struct facts *facts, const char *stage)
{
	struct json_object *file = json_object_new_object(), *when = json_object_new_object();
	struct json_object *stages = json_object_new_array();

	if (facts->settings->defaults.enabled) {
		json_object_object_add(when, "always", json_object_new_boolean(1));
	} else {
		struct json_object *annotations = json_object_new_object();

		json_object_object_add(annotations, "^mpu\\.(enable|confine)$", string("."));
		json_object_object_add(when, "annotations", annotations);
	}
	json_object_array_add(stages, string(stage));
	json_object_object_add(file, "version", string("1.0.0"));
	json_object_object_add(file, "hook",
			       hook_command(facts, facts->settings->defaults.enabled, stage));
	json_object_object_add(file, "when", when);
	json_object_object_add(file, "stages", stages);
	return file;
}

static struct json_object *podman_precreate(const struct facts *facts)
{
	return podman_hook(facts, "precreate");
}

static struct json_object *podman_prestart(const struct facts *facts)
{
	return podman_hook(facts, "prestart");
}

static struct json_object *kubernetes_profile(const struct facts *facts)
{
	const struct profile_settings settings = {.socket = facts->settings->socket,
						  .metadata = facts->settings->metadata,
						  .confine = facts->settings->defaults.confine};
	cleanup_json struct json_object *profile = profile_read(facts->base, facts->error);

	if (!profile || profile_watch_or_fail(profile, &settings, facts->error))
		return NULL;
	return steal_ptr(profile);
}

/* CDI: a device in name only, mpu.dev/processes=enable, whose edits are the hook. Asking for it is
 * the opt-in. */
static struct json_object *cdi_spec(const struct facts *facts)
{
	struct json_object *spec = json_object_new_object(), *edits = json_object_new_object();
	struct json_object *device = json_object_new_object(), *devices = json_object_new_array();
	struct json_object *hook = hook_command(facts, true, "createRuntime");
	struct json_object *hooks = json_object_new_array();

	json_object_object_add(hook, "hookName", string("createRuntime"));
	json_object_array_add(hooks, hook);
	json_object_object_add(edits, "hooks", hooks);
	json_object_object_add(device, "name", string("enable"));
	json_object_object_add(device, "containerEdits", edits);
	json_object_array_add(devices, device);
	json_object_object_add(spec, "cdiVersion", string("0.5.0"));
	json_object_object_add(spec, "kind", string("mpu.dev/processes"));
	json_object_object_add(spec, "devices", devices);
	return spec;
}

static struct json_object *docker_runtime(const struct facts *facts)
{
	struct json_object *runtime = json_object_new_object(), *args = json_object_new_array();

	json_object_array_add(args, string("--always"));
	if (facts->socket_option[0])
		json_object_array_add(args, string(facts->socket_option));
	if (facts->runtime_option[0])
		json_object_array_add(args, string(facts->runtime_option));
	if (facts->confine_option[0])
		json_object_array_add(args, string(facts->confine_option));
	json_object_object_add(runtime, "path", string(facts->runtime));
	json_object_object_add(runtime, "runtimeArgs", args);
	return runtime;
}

/* For lxc.include: LXC forwards to mpud what RM control its containers call. */
static char *lxc_config(const struct facts *facts)
{
	const char *metadata = facts->settings->metadata;
	char *text = NULL;

	if (asprintf(&text,
		     "lxc.seccomp.profile = /etc/lxc/mpu.seccomp\n"
		     "lxc.seccomp.notify.proxy = unix:%s\n%s%s%s",
		     facts->lxc_socket, metadata ? "lxc.seccomp.notify.cookie = " : "",
		     metadata ? metadata : "", metadata ? "\n" : "") < 0)
		return NULL;
	return text;
}

static char *lxc_seccomp(const struct facts *facts)
{
	return lxc_profile(facts->base, facts->error);
}

/* For lxc.include, without forwarding. */
static char *lxc_hook_config(const struct facts *facts)
{
	char *text = NULL;

	if (asprintf(&text, "lxc.hook.start-host = %s%s%s%s%s%s lxc\n", facts->hook,
		     facts->socket_option[0] ? " " : "", facts->socket_option,
		     facts->confine_option[0] ? " " : "", facts->confine_option,
		     facts->settings->defaults.ignore_missing ? " --on-missing=ignore" : "") < 0)
		return NULL;
	return text;
}

/* A file of ours, in JSON (MAKE) or not (WRITE), or with KEY a member of OBJECT, itself a member of
 * somebody else's file. */
struct place {
	const char *target;
	const char *path;
	struct json_object *(*make)(const struct facts *facts);
	char *(*write)(const struct facts *facts);
	const char *object, *key;
	bool forwards; /* is for calls that LXC forwards, which cannot be confined */
};

static const struct place places[] = {
    {"podman", "/usr/share/containers/oci/hooks.d/mpu-precreate.json", .make = podman_precreate},
    {"podman", "/usr/share/containers/oci/hooks.d/mpu-prestart.json", .make = podman_prestart},
    {"docker", "/etc/docker/daemon.json", .make = docker_runtime, .object = "runtimes",
     .key = "mpu"},
    {"kubernetes", "/var/lib/kubelet/seccomp/profiles/mpu.json", .make = kubernetes_profile},
    {"cdi", "/etc/cdi/mpu.json", .make = cdi_spec},
    {"lxc", "/etc/lxc/mpu.conf", .write = lxc_config, .forwards = true},
    {"lxc", "/etc/lxc/mpu.seccomp", .write = lxc_seccomp, .forwards = true},
    {"lxc", "/etc/lxc/mpu-start-host.conf", .write = lxc_hook_config},
};

enum { PLACES = sizeof(places) / sizeof(places[0]) };

int install_add_target(struct install_request *request, const char *name)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < PLACES; i++)
		if (strcmp(places[i].target, name) == 0)
			found |= 1U << i;
	request->targets |= found;
	return found ? 0 : -ENOENT;
}

/* What helps, by errno. */
static const char *cure(int errnum)
{
	return errnum == EACCES || errnum == EPERM ? " (must be root: sudo mpu-hook ...)" : "";
}

static int make_folders(char *path, struct mpu_error *error)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int failed;

		*slash = '\0';
		failed = mkdir(path, 0755) && errno != EEXIST ? errno : 0;
		*slash = '/';
		if (failed)
			return mpu_fail(error, failed, "cannot make the folders of %s: %s%s", path,
					strerror(failed), cure(failed));
	}
	return 0;
}

/* The object in the file PATH, made empty first where there is none. NULL with ERROR filled. */
static struct json_object *open_file(char *path, struct mpu_error *error)
{
	struct json_text text = {0};
	struct json_object *content;
	cleanup_close int fd = -1;

	if (make_folders(path, error))
		return NULL;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd >= 0 && json_write_bytes(fd, "{}\n", 3, error))
		return NULL;
	if (json_read_file(path, &text, error))
		return NULL;
	content = json_parse_text(&text, path, error);
	free(text.bytes);
	return content;
}

static int put_member(const struct place *place, char *path, const struct facts *facts,
		      struct mpu_error *error)
{
	cleanup_json struct json_object *file = open_file(path, error);
	struct json_object *parent;

	if (!file)
		return -error->code;
	if (!json_object_object_get_ex(file, place->object, &parent)) {
		parent = json_object_new_object();
		json_object_object_add(file, place->object, parent);
	}
	if (!json_object_is_type(parent, json_type_object))
		return mpu_fail(error, EINVAL, "%s: %s is not an object", path, place->object);
	json_object_object_add(parent, place->key, place->make(facts));
	return json_replace_file(path, file, error);
}

/* What is in a file of ours is ours to replace, whatever it says. */
static int put_file(const struct place *place, char *path, const struct facts *facts,
		    struct mpu_error *error)
{
	cleanup_json struct json_object *content = place->make ? place->make(facts) : NULL;
	cleanup_free char *text = place->write ? place->write(facts) : NULL;
	cleanup_close int fd = -1;
	int result;

	if (!content && !text)
		return mpu_fail(error, ENOMEM, "cannot make %s: out of memory", path);
	result = make_folders(path, error);
	if (result)
		return result;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return mpu_fail(error, errno, "cannot write %s: %s%s", path, strerror(errno),
				cure(errno));
	if (content)
		return json_replace_file(path, content, error);
	if (ftruncate(fd, 0))
		return mpu_fail(error, errno, "cannot write %s: %s", path, strerror(errno));
	return json_write_bytes(fd, text, strlen(text), error);
}

/* Returns 1 when it was there, 0 when it was not, or -errno with ERROR filled. */
static int take_member(const struct place *place, const char *path, struct mpu_error *error)
{
	struct json_text text = {0};
	struct mpu_error failure = {0};
	cleanup_json struct json_object *file = NULL;
	struct json_object *parent;
	int result = json_read_file(path, &text, &failure);

	if (result)
		return result == -ENOENT ? 0 : mpu_fail(error, failure.code, "%s", failure.text);
	file = json_parse_text(&text, path, error);
	free(text.bytes);
	if (!file)
		return -error->code;
	parent = json_member(file, place->object, json_type_object);
	if (!parent || !json_object_object_get_ex(parent, place->key, NULL))
		return 0;
	json_object_object_del(parent, place->key);
	if (json_object_object_length(parent) == 0)
		json_object_object_del(file, place->object);
	if (json_object_object_length(file) == 0 && unlink(path) == 0)
		return 1;
	result = json_replace_file(path, file, error);
	return result ? result : 1;
}

/* The same. */
static int take_file(const char *path, struct mpu_error *error)
{
	if (unlink(path) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	return mpu_fail(error, errno, "cannot remove %s: %s%s", path, strerror(errno), cure(errno));
}

static int find_facts(struct facts *facts, const struct install_request *request,
		      const struct hook_settings *settings, struct mpu_error *error)
{
	char words[MPU_CONFINE_TEXT];
	ssize_t length = readlink("/proc/self/exe", facts->hook, sizeof(facts->hook) - 1);
	char *name;

	if (length < 0)
		return mpu_fail(error, errno, "cannot tell where this program lies: %s",
				strerror(errno));
	facts->hook[length] = '\0';
	if (!strchr(settings->socket, '/'))
		return mpu_fail(error, EINVAL, "--socket=%s: it takes a path with a /",
				settings->socket);
	name = strrchr(facts->hook, '/');
	snprintf(facts->runtime, sizeof(facts->runtime), "%.*s/mpu-runtime",
		 (int)(name - facts->hook), facts->hook);
	facts->settings = settings;
	if (request->lxc_socket)
		snprintf(facts->lxc_socket, sizeof(facts->lxc_socket), "%s", request->lxc_socket);
	else
		snprintf(facts->lxc_socket, sizeof(facts->lxc_socket), "%.*s/lxc.sock",
			 (int)(strrchr(settings->socket, '/') - settings->socket),
			 settings->socket);
	if (settings->runtime)
		snprintf(facts->runtime_option, sizeof(facts->runtime_option), "--runtime=%s",
			 settings->runtime);
	if (settings->defaults.confine)
		snprintf(facts->confine_option, sizeof(facts->confine_option), "--confine=%s",
			 mpu_confine_words(settings->defaults.confine, words));
	if (strcmp(settings->socket, "/run/mpu/mpud.sock") != 0)
		snprintf(facts->socket_option, sizeof(facts->socket_option), "--socket=%s",
			 settings->socket);
	return 0;
}

static int put(const struct place *place, char *path, const struct facts *facts,
	       struct mpu_error *error)
{
	int result = place->key ? put_member(place, path, facts, error)
				: put_file(place, path, facts, error);

	if (!result)
		printf("installed %s\n", path);
	return result;
}

static int take(const struct place *place, const char *path, struct mpu_error *error)
{
	int result = place->key ? take_member(place, path, error) : take_file(path, error);

	if (result >= 0)
		printf(result ? "removed %s\n" : "%s: nothing of mpu's is there\n", path);
	return result < 0 ? result : 0;
}

/* Does the chosen targets, FACTS being NULL where they are to go. */
static int each_place(const struct install_request *request, const struct facts *facts,
		      struct mpu_error *error)
{
	int result = 0;

	if (!request->targets)
		return mpu_fail(error, EINVAL,
				"say for whom: --podman, --docker, --kubernetes, "
				"--cdi or --lxc");
	for (unsigned int i = 0; !result && i < PLACES; i++) {
		cleanup_free char *path = NULL;

		if (!(request->targets & (1U << i)))
			continue;
		if (facts && places[i].forwards && facts->confine_option[0]) {
			printf("left out %s: calls that LXC forwards cannot be confined\n",
			       places[i].path);
			continue;
		}
		if (asprintf(&path, "%s%s", request->root ? request->root : "", places[i].path) < 0)
			return mpu_fail(error, ENOMEM, "out of memory");
		result =
		    facts ? put(&places[i], path, facts, error) : take(&places[i], path, error);
	}
	return result;
}

int install_run(const struct install_request *request, const struct hook_settings *settings,
		struct mpu_error *error)
{
	struct facts facts = {.base = request->base, .error = error};
	int result = find_facts(&facts, request, settings, error);

	return result ? result : each_place(request, &facts, error);
}

int uninstall_run(const struct install_request *request, struct mpu_error *error)
{
	return each_place(request, NULL, error);
}
