/* The extraction on a small tree of headers, made here, that has each thing which the driver's has.
 */
#include "nvabi/tools/extract.h"
#include "base/cleanup.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SDK  "src/common/sdk/nvidia/inc/"
#define ARCH "src/nvidia/arch/nvalloc/unix/include/"
#define UVM  "kernel-open/nvidia-uvm/"

static const struct {
	const char *name, *text;
} files[] = {
    {"version.mk", "NVIDIA_VERSION = 99.01\n"},
    {SDK "nvtypes.h",
     "typedef unsigned char NvU8; typedef unsigned short NvU16; typedef unsigned int NvU32;\n"
     "typedef unsigned long long NvU64; typedef int NvS32; typedef NvU8 NvBool;\n"
     "typedef NvU32 NvHandle; typedef void *NvP64;\n"},
    {SDK "nvos.h", "#pragma once\n#include \"nvtypes.h\"\n"
		   "typedef struct { NvHandle hClient; NvHandle hObject; NvU32 cmd; NvU32 flags;\n"
		   "  NvP64 params; NvU32 paramsSize; NvU32 status; } NVOS54_PARAMETERS;\n"},
    {ARCH "nv-ioctl-numbers.h", "#define NV_IOCTL_BASE 200\n"
				"#define NV_ESC_REGISTER_FD (NV_IOCTL_BASE + 1)\n"},
    {ARCH "nv-ioctl.h",
     "typedef struct nv_ioctl_register_fd { int ctl_fd; } nv_ioctl_register_fd_t;\n"},
    {ARCH "nv_escape.h", "#define NV_ESC_RM_CONTROL 0x2A\n#define NV_OTHER 0x2B\n"},
    {ARCH "nv-unix-nvos-params-wrappers.h", "\n"},
    {UVM "uvm_ioctl.h",
     "#define UVM_IOCTL_BASE(i) i\n#define UVM_MAP UVM_IOCTL_BASE(7)\n#define UVM_COUNT 7\n"
     "typedef struct { NvU64 base; NvS32 fd; } UVM_MAP_PARAMS;\n"},
    {UVM "uvm_linux_ioctl.h", "#define UVM_INITIALIZE 0x30000001\n"},
    {SDK "class/cl2080.h",
     "#define NV20_SUBDEVICE_0 (0x2080U) /* finn: Evaluated from \"NV2080_P_MESSAGE_ID\" */\n"
     "#define NV2080_NOTIFIERS (0x10)\n"
     "typedef struct NV2080_P { NvU32 id; } NV2080_P;\n"
     "#define NV2080_P_MESSAGE_ID (0x2080U)\n"},
    {SDK "class/cl0080.h", "#define NV01_DEVICE_0 (0x80U)\n"
			   "typedef struct { NvHandle hClientShare; } NV0080_ALLOC_PARAMETERS;\n"},
    {SDK "ctrl/ctrl2080.h",
     "#define NV2080_CTRL_CMD_PIDS (0x20800101U) /* finn: Evaluated from "
     "\"(FINN_NV20_SUBDEVICE_0_X_INTERFACE_ID << 8) | NV2080_CTRL_PIDS_PARAMS_MESSAGE_ID\" */\n"
     "typedef struct NV2080_CTRL_ENTRY { NvU8 kind; NvU64 bytes; } NV2080_CTRL_ENTRY;\n"
     "typedef struct NV2080_CTRL_PIDS_PARAMS { NvU32 count; NV2080_CTRL_ENTRY entry[3][2];\n"
     "  union { NvU32 a; NvU64 b; } data; struct { NvU16 c; }; NvBool done;\n"
     "} NV2080_CTRL_PIDS_PARAMS;\n"
     "#define NV2080_CTRL_CMD_OLD (0x20800102) /* finn: Evaluated from "
     "\"(FINN_NV20_SUBDEVICE_0_X_INTERFACE_ID << 8) | 0x2\" */\n"
     "typedef struct { NvU32 x; } NV2080_CTRL_OLD_PARAMS;\n"
     "#define NV2080_CTRL_CMD_NONE \\\n (0x20800103) /* finn: Evaluated from "
     "\"(FINN_NV20_SUBDEVICE_0_X_INTERFACE_ID << 8) | 0x3\" */\n"
     "#define NV2080_CTRL_CMD_PLAIN (0x20800104)\n"
     "#define NV2080_CTRL_PIDS_MAX (3U)\n"
     "#define NV2080_CTRL_CMD_FLAGS_ALL 0:0\n"},
    {"src/nvidia/src/kernel/rmapi/resource_list.h",
     "RS_ENTRY(NV01_DEVICE_0, Device, NV_TRUE, RS_LIST(classId(X)), "
     "RS_OPTIONAL(NV0080_ALLOC_PARAMETERS), A, B, C)\n"},
    {"src/nvidia/generated/g_subdevice_nvoc.c",
     "int x[] = { /*methodId=*/ 0x20800145u, /*paramSize=*/ 0 };\n"},
    {"src/nvidia/generated/g_device_nvoc.c", "\n"},
};

static void write_tree(const struct scratch *scratch)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		scratch_write(scratch, files[i].name, files[i].text);
}

static int extract(const struct scratch *scratch, const char *version, char **text,
		   struct mpu_error *error)
{
	size_t size = 0;
	FILE *out = open_memstream(text, &size);
	int rc = extract_tree(scratch->path, version, NVABI_DATA, out, error);

	fclose(out);
	return rc;
}

Test(extract, finds_every_kind_of_call_and_lays_out_their_structures)
{
	static const char expected[] =
	    "escape NV_ESC_REGISTER_FD 0xc9 nv_ioctl_register_fd_t\n"
	    "escape NV_ESC_RM_CONTROL 0x2a NVOS54_PARAMETERS\n"
	    "uvm UVM_INITIALIZE 0x30000001 -\n"
	    "uvm UVM_MAP 0x7 UVM_MAP_PARAMS\n"
	    "control NV2080_CTRL_CMD_GPU_ACQUIRE_COMPUTE_MODE_RESERVATION 0x20800145 - unnamed\n"
	    "control NV2080_CTRL_CMD_NONE 0x20800103 -\n"
	    "control NV2080_CTRL_CMD_OLD 0x20800102 NV2080_CTRL_OLD_PARAMS\n"
	    "control NV2080_CTRL_CMD_PIDS 0x20800101 NV2080_CTRL_PIDS_PARAMS\n"
	    "control NV2080_CTRL_CMD_PLAIN 0x20800104 -\n"
	    "control UNKNOWN_CONTROL_COMMAND_80028B 0x80028b u8 unnamed\n"
	    "class NV01_DEVICE_0 0x80 NV0080_ALLOC_PARAMETERS\n"
	    "class NV20_SUBDEVICE_0 0x2080 NV2080_P\n"
	    "struct NV0080_ALLOC_PARAMETERS hClientShare:handle\n"
	    "struct NV2080_CTRL_ENTRY kind:u8 bytes:u64\n"
	    "struct NV2080_CTRL_OLD_PARAMS x:u32\n"
	    "struct NV2080_CTRL_PIDS_PARAMS count:u32 entry:NV2080_CTRL_ENTRY[3][2] "
	    "data:NV2080_CTRL_PIDS_PARAMS.data ?1:NV2080_CTRL_PIDS_PARAMS.?1 done:bool\n"
	    "struct NV2080_CTRL_PIDS_PARAMS.?1 c:u16\n"
	    "struct NV2080_P id:u32\n"
	    "struct NVOS54_PARAMETERS hClient:handle hObject:handle cmd:u32 flags:u32 "
	    "params:pointer paramsSize:u32 status:u32\n"
	    "struct UVM_MAP_PARAMS base:u64 fd:s32\n"
	    "struct nv_ioctl_register_fd_t ctl_fd:s32\n"
	    "union NV2080_CTRL_PIDS_PARAMS.data a:u32 b:u64\n";
	cleanup_scratch struct scratch scratch = scratch_make();
	cleanup_free char *text = NULL;
	struct mpu_error error = {0};

	write_tree(&scratch);
	cr_assert_eq(extract(&scratch, "99.01", &text, &error), 0, "%s", error.text);
	cr_assert_str_eq(text, expected);
}

Test(extract, layouts_that_do_not_follow_from_the_fields_are_told)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	cleanup_free char *text = NULL;
	struct mpu_error error = {0};

	write_tree(&scratch);
	scratch_write(&scratch, SDK "class/cl2080.h",
		      "#define NV20_SUBDEVICE_0 (0x2080U)\n#define NV2080_P_MESSAGE_ID (0x2080U)\n"
		      "typedef struct { NvU8 a; NvU64 b; NvU32 c __attribute__((aligned(16))); }\n"
		      " __attribute__((packed, aligned(4))) NV2080_P;\n");
	cr_assert_eq(extract(&scratch, NULL, &text, &error), 0, "%s", error.text);
	cr_assert_not_null(strstr(text, "struct NV2080_P a:u8 b:u64@1 c:u32@16 align=16"), "%s",
			   text);
}

static void expect_refused(const char *name, const char *content, const char *version,
			   const char *words)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	cleanup_free char *text = NULL;
	struct mpu_error error = {0};

	write_tree(&scratch);
	if (content)
		scratch_write(&scratch, name, content);
	else if (name)
		unlink(scratch_path(&scratch, name));
	cr_assert_eq(extract(&scratch, version, &text, &error), -EINVAL, "%s", words);
	cr_assert_not_null(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
}

Test(extract, a_tree_that_is_not_the_drivers_is_refused)
{
	expect_refused("version.mk", NULL, NULL, "not the driver's source: version.mk");
	expect_refused("version.mk", "VERSION = 1\n", NULL, "names no NVIDIA_VERSION");
	expect_refused(SDK "nvos.h", NULL, NULL, "not the driver's source: " SDK "nvos.h");
	expect_refused("src/nvidia/generated/g_device_nvoc.c", NULL, NULL,
		       "not the driver's source");
}

Test(extract, another_version_than_asked_for_is_refused)
{
	expect_refused(NULL, NULL, "99.02", "is 99.01, not 99.02");
}

Test(extract, headers_that_do_not_parse_are_refused_with_file_and_line)
{
	expect_refused(SDK "ctrl/ctrl2080.h", "\ntypedef struct { NvU33 x; } Y;\n", NULL,
		       "ctrl/ctrl2080.h:2:");
	expect_refused("src/nvidia/src/kernel/rmapi/resource_list.h", "RS_ENTRY(\n", NULL,
		       "resource_list.h:1:");
}

Test(extract, functions_are_compared_without_comments_and_blanks)
{
	cleanup_scratch struct scratch scratch = scratch_make();
	uint64_t plain, same, other, none;
	struct mpu_error error = {0};

	scratch_write(&scratch, "plain.c",
		      "int f(int a)\n{\n\treturn a;\n}\nint g(void) { return 2; }\n");
	scratch_write(&scratch, "same.c",
		      "int f(int a);\nint f(int a) { /* x */ return a; } // y\n");
	scratch_write(&scratch, "other.c", "int f(int a) { return -a; }\n");
	cr_assert_eq(extract_function_hash(scratch.path, "plain.c", "f", &plain, &error), 0);
	cr_assert_eq(extract_function_hash(scratch.path, "same.c", "f", &same, &error), 0);
	cr_assert_eq(extract_function_hash(scratch.path, "other.c", "f", &other, &error), 0);
	cr_assert_eq(extract_function_hash(scratch.path, "plain.c", "h", &none, &error), 0);
	cr_assert_neq(plain, 0);
	cr_assert_eq(plain, same);
	cr_assert_neq(plain, other);
	cr_assert_eq(none, 0);
	cr_assert_eq(extract_function_hash(scratch.path, "absent.c", "f", &none, &error), 0);
	cr_assert_eq(none, 0);
}

static int run(const char *program, const char *first, const char *second, const char *out,
	       const char *err)
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (freopen(out, "w", stdout) && freopen(err, "w", stderr))
			execl(program, program, first, second, (char *)NULL);
		_exit(99);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	return WEXITSTATUS(status);
}

/* Plants a change of each kind in a copy of the tree. */
static void expect_planted(const char *name, const char *old, const char *new, const char *line)
{
	cleanup_scratch struct scratch base = scratch_make(), next = scratch_make();
	const char *out = scratch_path(&base, "out"), *err = scratch_path(&base, "err");
	cleanup_free char *text = NULL, *changed = NULL, *found = NULL;
	const char *at;

	write_tree(&base);
	write_tree(&next);
	text = slurp(scratch_path(&base, name));
	at = strstr(text, old);
	cr_assert_not_null(at, "%s", old);
	cr_assert_geq(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)),
		      0);
	scratch_write(&next, name, changed);
	cr_assert_eq(run(NVABI_DIFF, base.path, next.path, out, err), 1);
	found = slurp(out);
	cr_assert_not_null(strstr(found, line), "'%s' lacks '%s'", found, line);
}

Test(extract, diff_finds_a_planted_change_of_each_kind)
{
	static const char ctrl[] = SDK "ctrl/ctrl2080.h";

	expect_planted(ctrl, "NvU32 count;", "NvU32 count; NvU32 more;",
		       "+ field NV2080_CTRL_PIDS_PARAMS.more u32 at 4\n");
	expect_planted(ctrl, "NvU8 kind;", "NvU64 kind;",
		       "~ field NV2080_CTRL_ENTRY.kind u8 at 0 -> u64 at 0\n");
	expect_planted(ctrl, "NvU32 x;", "NvU64 y; NvU32 x;",
		       "~ field NV2080_CTRL_OLD_PARAMS.x u32 at 0 -> u32 at 8\n");
	expect_planted(ctrl, "#define NV2080_CTRL_CMD_PLAIN (0x20800104)",
		       "#define NV2080_CTRL_CMD_PLAIN (0x20800104)\n"
		       "#define NV2080_CTRL_CMD_NEW (0x20800105)",
		       "+ control NV2080_CTRL_CMD_NEW 0x20800105 -\n");
	expect_planted(SDK "class/cl2080.h", "#define NV20_SUBDEVICE_0 (0x2080U)", "#define NV_X 1",
		       "- class NV20_SUBDEVICE_0 0x2080 NV2080_P\n");
	expect_planted(UVM "uvm_ioctl.h", "UVM_IOCTL_BASE(7)", "UVM_IOCTL_BASE(8)",
		       "~ uvm UVM_MAP 0x7 UVM_MAP_PARAMS -> 0x8 UVM_MAP_PARAMS\n");
	expect_planted(
	    ARCH "nv_escape.h", "0x2A", "0x2C",
	    "~ escape NV_ESC_RM_CONTROL 0x2a NVOS54_PARAMETERS -> 0x2c NVOS54_PARAMETERS "
	    "[pointer]\n");
}

Test(extract, diff_warns_when_a_function_that_gives_pids_their_meaning_changed)
{
	static const char file[] = "kernel-open/nvidia/os-interface.c";
	cleanup_scratch struct scratch base = scratch_make(), next = scratch_make();
	const char *out = scratch_path(&base, "out"), *err = scratch_path(&base, "err");
	cleanup_free char *found = NULL, *warning = NULL;

	write_tree(&base);
	write_tree(&next);
	scratch_write(&base, file, "void *os_get_pid_info(void) { return 1; }\n");
	scratch_write(&next, file, "void *os_get_pid_info(void) { return 2; }\n");
	cr_assert_eq(run(NVABI_DIFF, base.path, next.path, out, err), 1);
	found = slurp(out);
	warning = slurp(err);
	cr_assert_str_eq(found, "~ pid-function os_get_pid_info kernel-open/nvidia/os-interface.c "
				"[pid]\n");
	cr_assert_not_null(strstr(warning, "warning: os_get_pid_info"), "%s", warning);
}

Test(extract, diff_of_the_same_tree_is_empty_and_bad_sides_are_refused)
{
	cleanup_scratch struct scratch tree = scratch_make();
	const char *out = scratch_path(&tree, "out"), *err = scratch_path(&tree, "err");
	cleanup_free char *refusal = NULL;

	write_tree(&tree);
	cr_assert_eq(run(NVABI_DIFF, tree.path, tree.path, out, err), 0);
	cr_assert_eq(run(NVABI_DIFF, "580.142", "580.142", out, err), 0);
	cr_assert_eq(run(NVABI_DIFF, "580.142", "580.999", out, err), 2);
	cr_assert_eq(run(NVABI_DIFF, "580.142", "nowhere", out, err), 2);
	refusal = slurp(err);
	cr_assert_not_null(strstr(refusal, "'nowhere' is neither a folder nor a version"));
}

Test(extract, parity_says_where_the_tables_are_wrong)
{
	cleanup_scratch struct scratch tree = scratch_make();
	const char *out = scratch_path(&tree, "out"), *err = scratch_path(&tree, "err");
	cleanup_free char *words = NULL;

	write_tree(&tree);
	/* These headers are not 595.45.04's. */
	cr_assert_eq(run(NVABI_PARITY, tree.path, "595.45.04", out, err), 1);
	words = slurp(err);
	cr_assert_not_null(strstr(words, "contradict the tables"), "%.300s", words);
	cr_assert_eq(run(NVABI_PARITY, tree.path, "580.999", out, err), 1);
	cr_assert_eq(run(NVABI_PARITY, "/nonexistent", "595.45.04", out, err), 1);
}
