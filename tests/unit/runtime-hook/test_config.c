/* What of a config.json changes, what survives, and what is refused. */
#include "base/cleanup.h"
#include "base/json.h"
#include "runtime-hook/config.h"
#include "supervisor/settings.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static char socket_path[] = "/tmp/mpu-test-XXXXXX/mpud.sock";
static struct hook_settings settings = {.socket = socket_path};
static int server = -1;

/* Somebody who listens, which is all that is asked of mpud here. */
static void setup(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char *slash = strrchr(socket_path, '/');

	*slash = '\0';
	cr_assert_not_null(mkdtemp(socket_path));
	*slash = '/';
	strcpy(address.sun_path, socket_path);
	server = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(server, 16), 0);
}

static void teardown(void)
{
	close(server);
	unlink(socket_path);
	*strrchr(socket_path, '/') = '\0';
	rmdir(socket_path);
}

TestSuite(config, .init = setup, .fini = teardown);

static struct json_object *parse(const char *text)
{
	struct json_text json = {.bytes = (char *)text, .length = strlen(text)};
	struct mpu_error error = {0};
	struct json_object *object = json_parse_text(&json, "config", &error);

	cr_assert_not_null(object, "%s", error.text);
	return object;
}

static int watch(const char *text, struct mpu_error *error)
{
	cleanup_json struct json_object *config = parse(text);

	return config_watch(config, &settings, error);
}

#define ENABLED "\"annotations\":{\"mpu.enable\":\"1\"}"

Test(config, everything_else_survives)
{
	static const char text[] =
	    "{\"ociVersion\":\"1.0.2-dev\"," ENABLED ",\"process\":{\"rlimits\":[{\"type\":"
	    "\"RLIMIT_NOFILE\",\"hard\":18446744073709551615,\"soft\":9223372036854775808}],"
	    "\"args\":[\"\",\"\\u00e9\\n\\\"/"
	    "\",\"\\ud83d\\ude00\"]},\"x-unknown\":{\"a\":[null,true,"
	    "-9223372036854775808,1.10,1e400,{}]},\"linux\":{\"resources\":{\"memory\":"
	    "{\"limit\":-1}},\"newThing\":[1,2,3]}}";
	cleanup_json struct json_object *before = parse(text), *after = parse(text);
	struct json_object *linux_section;
	struct mpu_error error = {0};
	const char *written;

	cr_assert_eq(config_watch(after, &settings, &error), CONFIG_CHANGED, "%s", error.text);
	cr_assert(json_object_object_get_ex(after, "linux", &linux_section));
	cr_assert_str_eq(
	    json_member_string(json_object_object_get(linux_section, "seccomp"), "listenerPath"),
	    socket_path);
	json_object_object_del(linux_section, "seccomp");
	cr_assert(json_object_equal(before, after));
	written = json_object_to_json_string(after);
	cr_assert_not_null(strstr(written, "18446744073709551615"));
	cr_assert_not_null(strstr(written, "9223372036854775808"));
	cr_assert_not_null(strstr(written, "1.10"));
	cr_assert_not_null(strstr(written, "1e400"));
}

Test(config, without_the_annotation_nothing_changes)
{
	static const char *const texts[] = {
	    "{}",
	    "{\"annotations\":{}}",
	    "{\"annotations\":null}",
	    "{\"annotations\":{\"mpu.enable\":\"0\"}}",
	    "{\"annotations\":{\"mpu.enable\":\"no\",\"mpu.view\":\"nonsense\"}}",
	    "{\"annotations\":{\"mpu.enabled\":\"1\"}}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cleanup_json struct json_object *before = parse(texts[i]), *after = parse(texts[i]);
		struct mpu_error error = {0};

		cr_assert_eq(config_watch(after, &settings, &error), CONFIG_UNCHANGED);
		cr_assert(json_object_equal(before, after));
	}
}

Test(config, always_is_for_all_but_those_that_opt_out)
{
	struct mpu_error error = {0};

	settings.defaults.enabled = true;
	cr_assert_eq(watch("{}", &error), CONFIG_CHANGED);
	cr_assert_eq(watch("{\"annotations\":{\"mpu.enable\":\"0\"}}", &error), CONFIG_UNCHANGED);
}

Test(config, annotations_take_their_words_only)
{
	static const char *const bad[] = {
	    "{\"annotations\":{\"mpu.enable\":\"maybe\"}}",
	    "{\"annotations\":{\"mpu.enable\":1}}",
	    "{\"annotations\":{\"mpu.enable\":\"1\",\"mpu.view\":\"all\"}}",
	    "{\"annotations\":{\"mpu.enable\":\"true\",\"mpu.policy\":\"\"}}",
	    "{\"annotations\":{\"mpu.enable\":\"yes\",\"mpu.on-missing\":\"panic\"}}",
	    "{\"annotations\":{\"mpu.enable\":\"1\",\"mpu.shared-pids\":\"maybe\"}}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mpu_error error = {0};

		cr_assert_eq(watch(bad[i], &error), -EINVAL, "%s", bad[i]);
		cr_assert_not_null(strstr(error.text, "its values are"), "%s", error.text);
	}
}

static const char *metadata_of(struct json_object *config)
{
	return json_member_string(
	    json_member(json_member(config, "linux", json_type_object), "seccomp", json_type_object),
	    "listenerMetadata");
}

Test(config, confine_opts_in_by_itself)
{
	cleanup_json struct json_object *config =
	    parse("{\"annotations\":{\"mpu.confine\":\"utility,compute\"}}");
	struct mpu_error error = {0};

	cr_assert_eq(config_watch(config, &settings, &error), CONFIG_CHANGED, "%s", error.text);
	cr_assert_str_eq(metadata_of(config),
			 "mpu.filter=confine-compute mpu.confine=compute,utility");
}

Test(config, confine_narrows_what_the_administrator_set)
{
	cleanup_json struct json_object *config =
	    parse("{\"annotations\":{\"mpu.confine\":\"utility,graphics\"}}");
	cleanup_json struct json_object *silent = parse("{" ENABLED "}");
	struct mpu_error error = {0};

	cr_assert_eq(mpu_confine_parse("compute,utility,strict", &settings.defaults.confine, NULL),
		     0);
	cr_assert_eq(config_watch(config, &settings, &error), CONFIG_CHANGED, "%s", error.text);
	cr_assert_str_eq(metadata_of(config), "mpu.filter=confine mpu.confine=utility,strict");
	cr_assert_eq(config_watch(silent, &settings, &error), CONFIG_CHANGED, "%s", error.text);
	cr_assert_str_eq(metadata_of(silent),
			 "mpu.filter=confine-compute mpu.confine=compute,utility,strict");
}

Test(config, a_confinement_is_never_dropped_without_a_word)
{
	static const struct {
		const char *admin, *annotations, *reason;
	} cases[] = {
	    {NULL, "\"mpu.confine\":\"gpu\"", "there is no word gpu"},
	    {NULL, "\"mpu.confine\":\"\"", "empty word"},
	    {NULL, "\"mpu.confine\":\"strict\"", "names no capability"},
	    {NULL, "\"mpu.confine\":\"compute,compute\"", "twice"},
	    {NULL, "\"mpu.confine\":true", "empty word"},
	    {NULL, "\"mpu.confine\":\"compute\",\"mpu.enable\":\"0\"", "contradict"},
	    {NULL, "\"mpu.confine\":\"compute\",\"mpu.policy\":\"off\"", "always corrected"},
	    {"compute", "\"mpu.confine\":\"utility\"", "allows none of it"},
	    {"compute", "\"mpu.enable\":\"0\"", "none can be left out"},
	    {"compute", "\"mpu.policy\":\"off\"", "always corrected"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_free char *text = NULL;
		struct mpu_error error = {0};

		settings.defaults.enabled = true;
		settings.defaults.confine = 0;
		if (cases[i].admin)
			mpu_confine_parse(cases[i].admin, &settings.defaults.confine, NULL);
		cr_assert_gt(asprintf(&text, "{\"annotations\":{%s}}", cases[i].annotations), 0);
		cr_assert_eq(watch(text, &error), -EINVAL, "%s", cases[i].annotations);
		cr_assert_not_null(strstr(error.text, cases[i].reason), "%s", error.text);
	}
}

Test(config, a_confined_container_does_not_start_without_mpud)
{
	struct mpu_error error = {0};

	settings.socket = "/nowhere/mpud.sock";
	cr_assert_eq(watch("{\"annotations\":{\"mpu.confine\":\"compute\","
			   "\"mpu.on-missing\":\"ignore\"}}",
			   &error),
		     -ENOENT);
	cr_assert_not_null(strstr(error.text, "is to be confined"), "%s", error.text);
}

Test(config, without_mpud_a_container_fails_or_starts_without)
{
	struct mpu_error error = {0};

	settings.socket = "/nowhere/mpud.sock";
	cr_assert_eq(watch("{" ENABLED "}", &error), -ENOENT);
	cr_assert_not_null(strstr(error.text, "mpud does not run"), "%s", error.text);
	cr_assert_not_null(strstr(error.text, "mpu.on-missing=ignore"), "%s", error.text);
	cr_assert_eq(
	    watch("{\"annotations\":{\"mpu.enable\":\"1\",\"mpu.on-missing\":\"ignore\"}}", &error),
	    CONFIG_UNCHANGED);
}

Test(config, filters_that_crun_takes_from_annotations_are_refused)
{
	struct mpu_error error = {0};

	cr_assert_eq(watch("{\"annotations\":{\"mpu.enable\":\"1\",\"run.oci.seccomp_bpf_data\":"
			   "\"AAAA\"}}",
			   &error),
		     -EBUSY);
	cr_assert_not_null(strstr(error.text, "run.oci.seccomp_bpf_data"), "%s", error.text);
}

Test(config, sections_of_a_wrong_type_are_refused)
{
	struct mpu_error error = {0};

	cr_assert_eq(watch("{" ENABLED ",\"linux\":[]}", &error), -EINVAL);
	cr_assert_eq(watch("{" ENABLED ",\"linux\":{\"seccomp\":\"unconfined\"}}", &error),
		     -EINVAL);
}

static void check_not_json(const char *bytes, size_t length, const char *reason)
{
	struct json_text text = {.bytes = (char *)bytes, .length = length};
	struct mpu_error error = {0};

	cr_assert_null(json_parse_text(&text, "input", &error), "%.40s", bytes);
	cr_assert_not_null(strstr(error.text, reason), "%.40s: %s", bytes, error.text);
}

Test(json, what_would_not_survive_is_refused)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
	    {"", "ends too early"},
	    {"{", "ends too early"},
	    {"{\"a\":1", "ends too early"},
	    {"{\"a\":\"b", "ends too early"},
	    {"12", "not an object"},
	    {"[]", "not an object"},
	    {"{} x", "not valid JSON"},
	    {"{}{}", "not valid JSON"},
	    {"{\"a\":1,}", "not valid JSON"},
	    {"{'a':1}", "not JSON"},
	    {"{\"a\":NaN}", "not JSON"},
	    {"{\"a\":-Infinity}", "not JSON"},
	    {"{\"a\":01}", "not valid JSON"},
	    {"{\"a\":\"\xff\"}", "not valid JSON"},
	    {"{\"a\":18446744073709551616}", "64 bits"},
	    {"{\"a\":-9223372036854775809}", "64 bits"},
	    {"{\"a\\u0000b\":1}", "NUL"},
	    {"{\"a\":\"x\\u0000\"}", "NUL"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_not_json(cases[i].text, strlen(cases[i].text), cases[i].reason);
	check_not_json("{\"a\":1}\0{}", 10, "NUL");
}

Test(json, text_that_looks_odd_but_is_not_survives)
{
	static const char *const texts[] = {
	    "{\"a\":\"\\\\u0000\"}", "{\"a\":\"it's 'N' and Infinity\"}",
	    "{\"a\":18446744073709551615,\"b\":-9223372036854775808,\"c\":1e999999}",
	    " \n{\"a\\\"'\":[1.0,-0,0]}\n\t "};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cleanup_json struct json_object *object = parse(texts[i]);

		cr_assert_not_null(object);
	}
}

Test(json, deep_nesting_is_refused)
{
	enum { DEPTH = 100000 };
	cleanup_free char *deep = malloc(DEPTH + 6);

	strcpy(deep, "{\"a\":");
	memset(deep + 5, '[', DEPTH);
	deep[DEPTH + 5] = '\0';
	check_not_json(deep, DEPTH + 5, "nesting");
}

Test(json, huge_input_is_refused_without_reading_on)
{
	struct json_text text = {0};
	struct mpu_error error = {0};

	cr_assert_eq(json_read_file("/dev/zero", &text, &error), -EFBIG);
	cr_assert_null(text.bytes);
}
