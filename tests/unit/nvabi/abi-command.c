#include "nvabi/tools/abi-command.h"
#include "base/cleanup.h"
#include "nvabi/tools/sha256.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct outcome {
	int status;
	char *out, *err; /* from malloc() */
};

/* Runs `mpuctl abi ARGS` in a child, as the program will. */
static struct outcome run(const struct scratch *scratch, const char *const *args)
{
	const char *out = scratch_path(scratch, "out"), *err = scratch_path(scratch, "err");
	char *argv[8] = {(char *)(uintptr_t) "abi"};
	struct outcome outcome;
	int argc = 1, status;
	pid_t child;

	while (args[argc - 1]) {
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
		argc++;
	}
	child = fork();
	if (!child) {
		if (!freopen(out, "w", stdout) || !freopen(err, "w", stderr))
			_exit(99);
		exit(abi_command(argc, argv));
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	outcome.status = WEXITSTATUS(status);
	outcome.out = slurp(out);
	outcome.err = slurp(err);
	return outcome;
}

static void free_outcome(struct outcome *outcome)
{
	free(outcome->out);
	free(outcome->err);
}

#define RUN(...)                                                                                   \
	cleanup_scratch struct scratch scratch = scratch_make();                                   \
	__attribute__((cleanup(free_outcome))) struct outcome outcome =                            \
	    run(&scratch, (const char *const[]){__VA_ARGS__, NULL})

static void expect_contains(const char *text, const char *part)
{
	cr_assert_not_null(strstr(text, part), "'%.2000s' lacks '%s'", text, part);
}

Test(abi_command, show_prints_one_object)
{
	RUN("--json", "show", "580.142", "NV2080_CTRL_CMD_GPU_GET_PIDS");
	cr_assert_eq(outcome.status, 0);
	cr_assert_str_eq(
	    outcome.out,
	    "{\"kind\":\"control\",\"name\":\"NV2080_CTRL_CMD_GPU_GET_PIDS\",\"number\":545259917,"
	    "\"struct\":\"NV2080_CTRL_GPU_GET_PIDS_PARAMS\",\"size\":3812,\"align\":4,\"fields\":["
	    "{\"name\":\"idType\",\"offset\":0,\"size\":4,\"type\":\"u32\",\"count\":1,\"role\":"
	    "\"\"},"
	    "{\"name\":\"id\",\"offset\":4,\"size\":4,\"type\":\"u32\",\"count\":1,\"role\":\"\"},"
	    "{\"name\":\"pidTblCount\",\"offset\":8,\"size\":4,\"type\":\"u32\",\"count\":1,"
	    "\"role\":\"count\"},"
	    "{\"name\":\"pidTbl\",\"offset\":12,\"size\":3800,\"type\":\"u32\",\"count\":950,"
	    "\"role\":\"pid\"}]}\n");
}

Test(abi_command, show_takes_a_number_and_says_which_release_it_is)
{
	RUN("show", "580.159.04", "0x2080018d");
	cr_assert_eq(outcome.status, 0);
	expect_contains(outcome.out, "control NV2080_CTRL_CMD_GPU_GET_PIDS 0x2080018d");
	expect_contains(outcome.out, "pidTbl u32[950] [pid]");
	expect_contains(outcome.err, "580.159.04 is not listed; this is 580.142 (neighbour)");
}

Test(abi_command, show_of_a_shared_number_prefers_the_control)
{
	RUN("show", "595.45.04", "0x200000");
	cr_assert_eq(outcome.status, 0);
	expect_contains(outcome.out, "control NV0020_CTRL_CMD_NULL");
}

Test(abi_command, what_is_not_there_is_said)
{
	RUN("show", "580.142", "NV_NOTHING");
	cr_assert_eq(outcome.status, 1);
	cr_assert_str_empty(outcome.out);
	expect_contains(outcome.err, "580.142 has no call NV_NOTHING");
}

Test(abi_command, closed_releases_are_refused)
{
	RUN("dump", "470.256.02");
	cr_assert_eq(outcome.status, 1);
	expect_contains(outcome.err, "nothing is known of the ABI of 470.256.02");
}

Test(abi_command, bad_versions_are_refused)
{
	RUN("dump", "latest");
	cr_assert_eq(outcome.status, 1);
	expect_contains(outcome.err, "'latest' is not a driver version");
}

Test(abi_command, dump_prints_an_object_a_line)
{
	RUN("--json", "dump", "595.45.04");
	unsigned int lines = 0;

	cr_assert_eq(outcome.status, 0);
	for (char *line = outcome.out; *line; line = strchr(line, '\n') + 1, lines++)
		cr_assert_eq(strncmp(line, "{\"kind\":\"", 9), 0);
	cr_assert_gt(lines, 2000);
	expect_contains(outcome.out, "{\"kind\":\"escape\",\"name\":\"NV_ESC_RM_CONTROL\",");
	expect_contains(outcome.out, "{\"kind\":\"uvm\",\"name\":\"UVM_INITIALIZE\",");
	expect_contains(outcome.out, "{\"kind\":\"class\",\"name\":\"NV20_SUBDEVICE_0\",");
}

Test(abi_command, versions_lists_closed_public_and_partial_releases)
{
	RUN("versions");
	cr_assert_eq(outcome.status, 0);
	expect_contains(outcome.out, "418          -            closed\n");
	expect_contains(outcome.out, "590.48.01    590.44.01    public qualified\n");
	expect_contains(outcome.out, "620.06.00    -            partial\n");
}

Test(abi_command, versions_in_json)
{
	RUN("versions", "--json");
	cr_assert_eq(outcome.status, 0);
	expect_contains(outcome.out, "{\"version\":\"418\",\"parent\":null,\"headers\":\"closed\","
				     "\"qualified\":false}\n");
	expect_contains(outcome.out, "{\"version\":\"590.48.01\",\"parent\":\"590.44.01\","
				     "\"headers\":\"public\",\"qualified\":true}\n");
}

Test(abi_command, lookup_shows_where_a_call_changed)
{
	RUN("lookup", "0x208001a9");
	cr_assert_eq(outcome.status, 0);
	cr_assert_str_eq(
	    outcome.out,
	    "525.47.22    control NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO_V2 0x208001a9 "
	    "NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO_V2_PARAMS 16388 bytes\n"
	    "525.105.17   control NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO_V2 0x208001a9 "
	    "NV2080_CTRL_GPU_GET_NVENC_SW_SESSION_INFO_V2_PARAMS 16388 bytes\n"
	    "530.30.02    control NV2080_CTRL_CMD_GPU_MARK_DEVICE_FOR_RESET 0x208001a9 - "
	    "0 bytes\n");
}

Test(abi_command, lookup_in_json)
{
	RUN("--json", "lookup", "NV2080_CTRL_CMD_GPU_MARK_DEVICE_FOR_RESET");
	cr_assert_eq(outcome.status, 0);
	expect_contains(outcome.out,
			"{\"release\":\"530.30.02\",\"kind\":\"control\",\"name\":"
			"\"NV2080_CTRL_CMD_GPU_MARK_DEVICE_FOR_RESET\",\"number\":545259945,"
			"\"struct\":null,\"size\":0}\n");
}

Test(abi_command, diff_of_two_releases)
{
	RUN("diff", "535.104.05", "535.113.01");
	cr_assert_eq(outcome.status, 0);
	expect_contains(outcome.out, "~ pids get_pids global -> caller_ns [pid]\n");
}

/* FIPS 180-4's own examples, and lengths about the block's edge. */
Test(abi_command, sha256_is_that_of_the_standard)
{
	static const struct {
		const char *text;
		const char *digits;
	} known[] = {
	    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	     "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		cleanup_file FILE *file = tmpfile();
		char digits[65];

		fputs(known[i].text, file);
		rewind(file);
		cr_assert_eq(sha256_file(file, digits), 0);
		cr_assert_str_eq(digits, known[i].digits, "'%s'", known[i].text);
	}
}

Test(abi_command, an_unknown_file_is_no_installer)
{
	cleanup_scratch struct scratch folder = scratch_make();

	scratch_write(&folder, "file.run", "abc");
	RUN("checksum", scratch_path(&folder, "file.run"));
	cr_assert_eq(outcome.status, 1);
	expect_contains(outcome.err, "SHA-256 ba7816bf8f01cfea");
}

Test(abi_command, wrong_usage_is_told)
{
	static const struct {
		const char *argument[6], *said;
	} wrong[] = {{{NULL}, "no command"},
		     {{"show", NULL}, "arguments of show"},
		     {{"show", "580.142", NULL}, "arguments of show"},
		     {{"show", "580.142", "a", "b", NULL}, "arguments of show"},
		     {{"dump", NULL}, "arguments of dump"},
		     {{"explain", NULL}, "no command explain"},
		     {{"versions", "580.142", NULL}, "arguments of versions"},
		     {{"--yaml", "versions", NULL}, "no option --yaml"}};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		cleanup_scratch struct scratch scratch = scratch_make();
		struct outcome outcome = run(&scratch, wrong[i].argument);

		cr_assert_eq(outcome.status, 2);
		expect_contains(outcome.err, wrong[i].said);
		expect_contains(outcome.err, "usage: mpuctl abi");
		free_outcome(&outcome);
	}
}

Test(abi_command, policy_lists_what_a_container_may_call)
{
	RUN("policy", "580.95.05", "utility");

	cr_assert_eq(outcome.status, 0, "%s", outcome.err);
	expect_contains(outcome.out,
			"escape  0x0000002a NV_ESC_RM_CONTROL compute,utility execute: ");
	expect_contains(outcome.out,
			"control 0x00008000 0x8000 (pattern) compute,utility firmware: ");
	cr_assert_null(strstr(outcome.out, "NV2080_CTRL_CMD_GR_GET_ZCULL_INFO"), "graphics only");
}

Test(abi_command, policy_under_strict_has_no_patterns_and_no_pages_of_the_caller)
{
	RUN("policy", "580.95.05", "compute,strict");

	cr_assert_eq(outcome.status, 0, "%s", outcome.err);
	cr_assert_null(strstr(outcome.out, "(pattern)"));
	cr_assert_null(strstr(outcome.out, "NV01_MEMORY_SYSTEM_OS_DESCRIPTOR"));
	expect_contains(outcome.out, "UVM_MIGRATE ");
}

Test(abi_command, policy_in_json_says_what_is_behind_pointers)
{
	RUN("--json", "policy", "580.95.05");

	cr_assert_eq(outcome.status, 0, "%s", outcome.err);
	expect_contains(
	    outcome.out,
	    "\"name\":\"NV0080_CTRL_CMD_GPU_GET_CLASSLIST\",\"number\":8389121,"
	    "\"size\":16,\"capabilities\":[\"compute\",\"utility\"],"
	    "\"way\":\"execute\",\"pattern\":false,\"pointers\":[{\"offset\":8,"
	    "\"direction\":\"inout\",\"constant\":0,\"field\":{\"offset\":0,\"size\":4},"
	    "\"scale\":4,\"square\":false,\"limit\":262144}],\"descriptors\":[]");
}

Test(abi_command, policy_refuses_words_and_releases_it_does_not_know)
{
	{
		RUN("policy", "580.95.05", "compute,cuda");

		cr_assert_eq(outcome.status, 1);
		expect_contains(outcome.err, "'cuda' is no capability");
	}
	RUN("policy", "470");

	cr_assert_eq(outcome.status, 1);
	expect_contains(outcome.err, "nothing is known");
}
