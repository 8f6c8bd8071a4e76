/* A container's config.json on its way through the hook or the runtime wrapper. */
#include "runtime-hook/config.h"
#include "base/cleanup.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/settings.h"
#include "tests/fuzz/json_input.h"

#include <errno.h>
#include <fcntl.h>

static const char socket_path[] = "/run/mpu/mpud.sock";
static bool mpud_runs;

/* Stands for the socket. */
int mpud_connect(const char *path, struct mpu_error *error)
{
	if (!mpud_runs)
		return mpu_fail(error, ENOENT, "nobody listens at %s", path);
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* All but the seccomp section. */
static struct json_object *without_seccomp(struct json_object *config)
{
	struct json_object *copy = NULL, *section;

	json_object_deep_copy(config, &copy, NULL);
	if (json_object_object_get_ex(copy, "linux", &section) &&
	    json_object_is_type(section, json_type_object)) {
		json_object_object_del(section, "seccomp");
		if (json_object_object_length(section) == 0)
			json_object_object_del(copy, "linux");
	} else if (!section) {
		json_object_object_del(copy, "linux");
	}
	return copy;
}

static void check_changed(struct json_object *before, struct json_object *config,
			  const struct hook_settings *settings)
{
	cleanup_json struct json_object *others = without_seccomp(before);
	cleanup_json struct json_object *others_now = without_seccomp(config);
	struct mpu_error error = {0};

	fuzz_check(config_has_listener(config) == 1, "changed, and no listener");
	fuzz_check(json_object_equal(others, others_now), "something else changed too");
	fuzz_check_written(config);
	fuzz_check(config_watch(config, settings, &error) == CONFIG_UNCHANGED,
		   "is changed once more: %s", error.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hook_settings settings = {.socket = socket_path};
	cleanup_json struct json_object *config = NULL, *before = NULL;
	struct mpu_error error = {0};
	int result;

	if (!size)
		return 0;
	mpud_runs = !(data[0] & 1);
	settings.defaults.enabled = data[0] & 2;
	settings.defaults.ignore_missing = data[0] & 4;
	settings.metadata = data[0] & 8 ? "mpu.view=host" : NULL;
	if (data[0] & 32)
		settings.defaults.confine =
		    MPU_CONFINE_ON | NVABI_CAP_UTILITY | (data[0] & 64 ? NVABI_CAP_COMPUTE : 0);
	config = fuzz_parse(data + 1, size - 1);
	if (!config)
		return 0;
	json_object_deep_copy(config, &before, NULL);
	config_has_listener(config);
	result = config_watch(config, &settings, &error);
	fuzz_check(result >= 0 || (error.code == -result && error.text[0]), "result %d, error %d",
		   result, error.code);
	if (result == CONFIG_UNCHANGED)
		fuzz_check(json_object_equal(before, config), "unchanged, and yet it is not");
	else if (result == CONFIG_CHANGED)
		check_changed(before, config, &settings);
	if (data[0] & 16 && !config_refuse(before, "fuzz"))
		fuzz_check_written(before);
	return 0;
}
