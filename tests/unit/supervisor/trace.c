/* What is shown, how a call's end is found out, and the table. */
#include "supervisor/trace/held.h"
#include "supervisor/trace/line.h"
#include "supervisor/trace/select.h"
#include "supervisor/trace/summary.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- -e ---- */

static struct selection *selection_of(const char *const *expressions)
{
	struct selection *selection = NULL;
	struct mpu_error error = {0};

	for (; *expressions; expressions++)
		cr_assert_eq(selection_add(&selection, *expressions, &error), 0, "%s", error.text);
	return selection;
}

#define SELECTION(...) selection_of((const char *const[]){__VA_ARGS__, NULL})

static const struct select_name get_pids[] = {
    {SELECT_ESCAPE, "NV_ESC_RM_CONTROL", 0x2a},
    {SELECT_CONTROL, "NV2080_CTRL_CMD_GPU_GET_PIDS", 0x2080018d}};
static const struct select_name root[] = {{SELECT_ESCAPE, "NV_ESC_RM_ALLOC", 0x2b},
					  {SELECT_CLASS, "NV01_ROOT_CLIENT", 0x41}};
static const struct select_name uvm[] = {{SELECT_UVM, "UVM_INITIALIZE", 0x30000001}};
static const struct select_name unknown[] = {{SELECT_ESCAPE, "NV_ESC_RM_CONTROL", 0x2a},
					     {SELECT_CONTROL, NULL, 0x20808159}};

static void expect_shown(struct selection *selection, bool pids, bool alloc, bool initialize,
			 bool raw)
{
	cr_expect_eq(selection_has_call(selection, get_pids, 2), pids);
	cr_expect_eq(selection_has_call(selection, root, 2), alloc);
	cr_expect_eq(selection_has_call(selection, uvm, 1), initialize);
	cr_expect_eq(selection_has_call(selection, unknown, 2), raw);
	selection_free(selection);
}

Test(trace_select, shows_what_any_expression_asks_for)
{
	expect_shown(NULL, true, true, true, true);
	expect_shown(SELECTION("control=NV2080_CTRL_CMD_GPU_*"), true, false, false, false);
	expect_shown(SELECTION("control=0x20808159"), false, false, false, true);
	expect_shown(SELECTION("escape=NV_ESC_RM_CONTROL"), true, false, false, true);
	expect_shown(SELECTION("class=NV01_*", "uvm=*"), false, true, true, false);
	expect_shown(SELECTION("class=NV20_*,NV01_ROOT_CLIENT"), false, true, false, false);
}

Test(trace_select, leaves_out_what_is_excepted)
{
	expect_shown(SELECTION("control=!NV2080_*"), false, true, true, true);
	expect_shown(SELECTION("escape=*", "control=!*GET_PIDS"), false, true, false, true);
}

Test(trace_select, a_status_limits_further)
{
	const struct select_name ok = {SELECT_STATUS, "NV_OK", 0},
				 bad = {SELECT_STATUS, "NV_ERR_INVALID_ARGUMENT", 0x1f};
	struct selection *failed = SELECTION("status=failed"), *unseen = SELECTION("status=unseen"),
			 *named = SELECTION("status=NV_ERR_*"),
			 *others = SELECTION("status=!NV_OK");

	cr_expect(selection_has_call(failed, get_pids, 2));
	cr_expect_not(selection_has_status(failed, &ok));
	cr_expect(selection_has_status(failed, &bad));
	cr_expect_not(selection_has_status(failed, NULL));
	cr_expect(selection_has_status(unseen, NULL));
	cr_expect_not(selection_has_status(unseen, &ok));
	cr_expect(selection_has_status(named, &bad));
	cr_expect_not(selection_has_status(named, &ok));
	cr_expect(selection_has_status(others, &bad));
	cr_expect_not(selection_has_status(others, &ok));
	cr_expect(selection_has_status(NULL, NULL));
	selection_free(failed);
	selection_free(unseen);
	selection_free(named);
	selection_free(others);
}

Test(trace_select, what_is_not_understood_is_refused_with_the_cure)
{
	static const char *const bad[] = {
	    "control", "kontrol=x", "=x", "control=", "control=a,,b", "control=!", "control=a,"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct selection *selection = NULL;
		struct mpu_error error = {0};

		cr_expect_eq(selection_add(&selection, bad[i], &error), -EINVAL, "%s", bad[i]);
		cr_expect(strstr(error.text, bad[i]) && !selection, "%s", error.text);
	}
}

/* ---- A call, of this very process ---- */

static struct nvabi_abi *abi;
static struct names *names;

static void open_abi(void)
{
	struct nvabi_version version;

	cr_assert_eq(nvabi_version_parse("580.95.05", &version), 0);
	cr_assert_eq(nvabi_abi_open(&version, &abi), 0);
	names = names_new(abi);
}

static void close_abi(void)
{
	names_free(names);
	nvabi_abi_close(abi);
}

TestSuite(trace_call, .init = open_abi, .fini = close_abi);

static struct trace_call *call_with(enum trace_device device, uint32_t request, void *argument)
{
	const struct seccomp_notif notification = {
	    .id = 7,
	    .pid = (uint32_t)getpid(),
	    .data = {.args = {3, request, (uint64_t)(uintptr_t)argument}}};
	struct trace_call *call =
	    trace_call_new(&notification, device, "/dev/nvidiactl", names, abi);

	cr_assert_not_null(call);
	return call;
}

static struct text line_of(struct trace_call *call, bool json)
{
	struct decode decode = {.abi = abi};
	struct text out = {0};

	call->tgid = call->number = call->tid;
	line_parameters(call, NULL, &decode, json, &call->entered);
	line_print(call, &(struct line_style){.json = json, .abi = abi}, &out);
	return out;
}

static uint32_t probed_ids[96];
static struct nvos54_parameters control;

static struct trace_call *control_call(uint32_t cmd)
{
	control = (struct nvos54_parameters){.hClient = 0xc1d00001,
					     .hObject = 0xc1d00001,
					     .cmd = cmd,
					     .params = (uint64_t)(uintptr_t)probed_ids,
					     .paramsSize = sizeof(probed_ids)};
	return call_with(TRACE_DEVICE_RM, NVABI_RM_CONTROL_REQUEST, &control);
}

enum { GET_PROBED_IDS = 0x214, LEGACY_UNKNOWN = 0x2080f159 };

Test(trace_call, a_control_is_printed_by_name_with_its_params)
{
	struct trace_call *call = control_call(GET_PROBED_IDS);
	struct text out cleanup_text = {0};

	probed_ids[0] = 0;
	out = line_of(call, false);
	cr_expect(strstr(out.bytes,
			 " ioctl(3</dev/nvidiactl>, NV_ESC_RM_CONTROL, {hClient=0xc1d00001, "
			 "hObject=0xc1d00001, cmd=NV0000_CTRL_CMD_GPU_GET_PROBED_IDS, flags=0, "
			 "params={gpuIds=[...], excludedGpuIds=[...]"),
		  "%s", out.bytes);
	cr_expect(strstr(out.bytes, "paramsSize=384}) = ?\n"), "%s", out.bytes);
	trace_call_free(call);
}

Test(trace_call, a_call_in_an_envelope_is_the_call_in_it)
{
	struct nv_ioctl_xfer xfer = {.cmd = NV_ESC_RM_CONTROL,
				     .size = sizeof(control),
				     .ptr = (uint64_t)(uintptr_t)&control};
	struct trace_call *call = control_call(GET_PROBED_IDS), *enveloped;

	enveloped = call_with(TRACE_DEVICE_RM, NVABI_XFER_REQUEST, &xfer);
	cr_assert_not_null(enveloped->inner);
	cr_expect_eq(enveloped->inner, call->inner);
	cr_expect_eq(enveloped->argument.address, (uintptr_t)&control);
	trace_call_free(call);
	trace_call_free(enveloped);
}

Test(trace_call, what_is_not_known_is_printed_raw_and_marked)
{
	struct trace_call *call = control_call(LEGACY_UNKNOWN),
			  *escape =
			      call_with(TRACE_DEVICE_RM, _IOC(_IOC_READ, 'F', 250, 8), probed_ids);
	struct text out cleanup_text = {0}, other cleanup_text = {0};

	out = line_of(call, false);
	cr_expect(strstr(out.bytes, "cmd=0x2080f159") && strstr(out.bytes, "[unknown, legacy]"),
		  "%s", out.bytes);
	other = line_of(escape, false);
	cr_expect(strstr(other.bytes, "escape 0xfa, 0x0000000000000000) [unknown]"), "%s",
		  other.bytes);
	trace_call_free(call);
	trace_call_free(escape);
}

Test(trace_call, memory_that_cannot_be_read_is_an_address)
{
	struct trace_call *call =
	    call_with(TRACE_DEVICE_RM, NVABI_RM_CONTROL_REQUEST, (void *)(uintptr_t)0x40);
	struct text out cleanup_text = {0};

	out = line_of(call, false);
	cr_expect(strstr(out.bytes, "NV_ESC_RM_CONTROL, 0x40) = ?"), "%s", out.bytes);
	trace_call_free(call);
}

Test(trace_call, uvm_calls_are_bare_numbers)
{
	uint64_t initialize[2] = {5, 0};
	struct trace_call *call = call_with(TRACE_DEVICE_UVM, 0x30000001, initialize);
	struct text out cleanup_text = {0};

	out = line_of(call, false);
	cr_expect(strstr(out.bytes, "UVM_INITIALIZE, {flags=0x5}) = ?"), "%s", out.bytes);
	trace_call_free(call);
}

Test(trace_call, a_line_of_json_is_one_object)
{
	struct trace_call *call = control_call(GET_PROBED_IDS);
	struct text out cleanup_text = {0};
	struct json_object *object, *value;

	strcpy(call->device_name, "/tmp/\"\\\n\xff/nvidiactl");
	out = line_of(call, true);
	object = json_tokener_parse(out.bytes);
	cr_assert_not_null(object, "%s", out.bytes);
	cr_assert(json_object_object_get_ex(object, "control", &value));
	cr_expect_str_eq(json_object_get_string(value), "NV0000_CTRL_CMD_GPU_GET_PROBED_IDS");
	json_object_put(object);
	trace_call_free(call);
}

/* A container calls its files what it likes, and this goes to root's terminal. */
Test(trace_call, the_name_of_a_device_has_nothing_for_a_terminal_to_obey)
{
	struct trace_devices devices = {.driver = {.by_inode = true}};
	char name[TRACE_DEVICE_NAME], path[] = "/tmp/mpu-\033[31m\n-XXXXXX";
	cleanup_close int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	unlink(path);
	cr_expect_eq(trace_device_of(&devices, getpid(), fd, name), TRACE_DEVICE_NONE);
	cr_expect_eq(strncmp(name, "/tmp/mpu-?[31m?-", 16), 0, "%s", name);
}

/* ---- Its end ---- */

Test(trace_call, the_status_is_read_where_nothing_else_has_changed)
{
	struct trace_call *call = control_call(GET_PROBED_IDS);

	control.status = NV_ERR_INVALID_ARGUMENT;
	trace_call_read_status(call, 0, 0);
	cr_expect_eq(call->end, TRACE_READ);
	cr_expect(call->has_status);
	cr_expect_eq(call->status, NV_ERR_INVALID_ARGUMENT);
	trace_call_free(call);
}

Test(trace_call, the_status_is_not_read_where_something_else_lies_there)
{
	struct trace_call *call = control_call(GET_PROBED_IDS);

	control.hObject++;
	trace_call_read_status(call, 0, 0);
	cr_expect_eq(call->end, TRACE_UNSEEN);
	cr_expect_not(call->has_status);
	trace_call_free(call);
}

Test(trace_call, the_status_is_not_read_from_the_next_calls_own_memory)
{
	struct trace_call *call = control_call(GET_PROBED_IDS);
	const uint64_t address = (uintptr_t)&control;

	trace_call_read_status(call, address, sizeof(control));
	cr_expect_eq(call->end, TRACE_UNSEEN);
	trace_call_read_status(call, address - 16, sizeof(control));
	cr_expect_eq(call->end, TRACE_UNSEEN);
	trace_call_read_status(call, address + sizeof(control), sizeof(control));
	cr_expect_eq(call->end, TRACE_READ);
	trace_call_free(call);
}

Test(trace_call, an_allocation_may_have_got_its_handle)
{
	uint32_t alloc[12] = {0, 0, 0, 0x41};
	struct trace_call *call = call_with(TRACE_DEVICE_RM, _IOWR('F', 0x2b, alloc), alloc);

	alloc[2] = 0xc1d00009;
	trace_call_read_status(call, 0, 0);
	cr_expect_eq(call->end, TRACE_READ);
	trace_call_free(call);
}

/* ---- The table ---- */

Test(trace_call, the_table_counts_and_ends_with_what_is_not_known)
{
	struct trace_call *known = control_call(GET_PROBED_IDS),
			  *other = control_call(LEGACY_UNKNOWN);
	struct summary summary = {0};
	struct text out cleanup_text = {0}, json cleanup_text = {0};
	struct json_object *object;
	const char *end;

	summary_add(&summary, known);
	known->end = TRACE_ANSWERED;
	known->executed = known->has_status = true;
	known->status = NV_ERR_GENERIC;
	known->driver_ns = 2000;
	summary_add(&summary, known);
	summary_add(&summary, other);
	summary_print(&summary, "580.95.05", false, &out);
	cr_expect(strstr(out.bytes, "       2        1        1        1   0.000002       2.0  "
				    "NV0000_CTRL_CMD_GPU_GET_PROBED_IDS\n"),
		  "%s", out.bytes);
	end = strstr(out.bytes, "Not known to nvabi");
	cr_assert_not_null(end, "%s", out.bytes);
	cr_expect(strstr(end, "1  control 0x2080f159 [legacy]\n"), "%s", end);
	summary_print(&summary, "580.95.05", true, &json);
	object = json_tokener_parse(json.bytes);
	cr_expect_not_null(object, "%s", json.bytes);
	json_object_put(object);
	summary_free(&summary);
	trace_call_free(known);
	trace_call_free(other);
}

/* ---- What may be executed ---- */

Test(trace_call, only_plain_data_is_executed)
{
	static const struct {
		const char *structure;
		bool plain;
	} cases[] = {
		{"NV0000_CTRL_GPU_GET_PROBED_IDS_PARAMS", true},
		{"NV2080_CTRL_GPU_GET_NAME_STRING_PARAMS", true},
		{"NV2080_CTRL_GR_GET_INFO_PARAMS", false},		  /* a pointer */
		{"NV2080_CTRL_GPU_GET_PIDS_PARAMS", false},		  /* PIDs */
		{"NV2080_CTRL_GPU_GET_PID_INFO_PARAMS", false},		  /* PIDs in a list */
		{"NV0000_CTRL_OS_UNIX_EXPORT_OBJECT_TO_FD_PARAMS", false}, /* a descriptor */
		{"NO_SUCH_STRUCTURE", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_expect_eq(names_is_plain(abi, cases[i].structure), cases[i].plain, "%s",
			     cases[i].structure);
}

Test(trace_summary, has_so_many_rows_and_counts_the_rest_in_one)
{
	enum { ROWS = 4096, CALLS = 5000 };
	struct trace_call *call = control_call(LEGACY_UNKNOWN);
	struct text out cleanup_text = {0};
	struct summary summary = {0};
	uint64_t calls = 0;

	for (uint32_t i = 0; i < CALLS; i++) {
		call->inner_number = 0x20810000 + i;
		summary_add(&summary, call);
	}
	cr_assert_eq(summary.count, ROWS + 1);
	cr_expect_str_eq(summary.row[ROWS].name.bytes, "(further calls)");
	for (uint32_t i = 0; i < summary.count; i++)
		calls += summary.row[i].calls;
	cr_expect_eq(calls, CALLS);
	summary_print(&summary, "580.95.05", false, &out);
	cr_expect(strstr(out.bytes, "     904        0      904        -          -         -  "
				    "(further calls)\n"));
	summary_free(&summary);
	trace_call_free(call);
}

/* ---- What is held back ---- */

static _Atomic unsigned int finished;

static void count_and_free(void *context, struct trace_call *call)
{
	(void)context;
	cr_expect(call->end == TRACE_UNSEEN || call->end == TRACE_READ);
	atomic_fetch_add(&finished, 1);
	trace_call_free(call);
}

Test(trace_held, so_much_and_the_rest_is_told_at_once)
{
	enum { CALLS = 20, LONG = 1 << 20, FIT = 15 };
	char *text = calloc(1, LONG);
	struct held held;

	held_begin(&held, count_and_free, NULL);
	for (int i = 0; i < CALLS; i++) {
		struct trace_call *call = control_call(GET_PROBED_IDS);

		text_put(&call->entered, text, LONG - 1);
		held_put(&held, call);
	}
	cr_expect_geq(atomic_load(&finished), CALLS - FIT);
	held_end(&held);
	cr_expect_eq(atomic_load(&finished), CALLS);
	cr_expect_eq(held.bytes, 0);
	free(text);
}
