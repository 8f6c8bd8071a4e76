/* Wrong arguments: pointers, sizes, handles, descriptors, requests, numbers. */
#include "tests/e2e/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIST = 131072 };

/* Memory for calls: parameters that end with a mapped page, and a list for embedded pointers. */
struct room {
	unsigned char *pages;	  /* GUARDED bytes, then none */
	unsigned char *forbidden; /* a page that cannot be read or written */
	unsigned char *constant;  /* GUARDED bytes that cannot be written */
	unsigned char *list;
};

static void room_make(struct room *room)
{
	room->pages = guarded_pages();
	room->constant = guarded_pages();
	room->list = mmap(NULL, LIST, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	room->forbidden = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room->list == MAP_FAILED || room->forbidden == MAP_FAILED)
		die("mmap");
}

static struct nvos54_parameters
valid_call(const struct gpu *gpu, const struct nvabi_pid_control *control, const struct room *room)
{
	void *params = room->pages + GUARDED - ((control_size(control) + 15) & ~15U);

	fill_valid(gpu, control, params, room->list, LIST);
	return gpu_call(gpu, control, params);
}

static void try(const struct gpu *gpu, const char *control, const char *name,
		struct nvos54_parameters call)
{
	say_result(control, name, call_control(gpu->ctl, RM_CONTROL, &call));
}

static void wrong_pointers(const struct gpu *gpu, const struct nvabi_pid_control *control,
			   const struct room *room)
{
	const uint64_t wrong[] = {0,
				  0x10,
				  0xffff888000000000,
				  UINT64_MAX,
				  (uintptr_t)room->forbidden,
				  (uintptr_t)room->pages + GUARDED - 1};
	static const char *const name[] = {"no parameters",
					   "parameters at 0x10",
					   "parameters of the kernel",
					   "parameters at the end",
					   "parameters that may not be read",
					   "parameters on the last byte of a page"};
	struct nvos54_parameters call = valid_call(gpu, control, room);

	try(gpu, control->name, "valid", call);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		call = valid_call(gpu, control, room);
		call.params = wrong[i];
		try(gpu, control->name, name[i], call);
	}
	call = valid_call(gpu, control, room);
	memmove(room->pages + GUARDED - call.paramsSize, (void *)(uintptr_t)call.params,
		call.paramsSize);
	call.params = (uintptr_t)room->pages + GUARDED - call.paramsSize;
	try(gpu, control->name, "parameters that end with their page", call);
	if (mprotect(room->constant, GUARDED, PROT_READ | PROT_WRITE))
		die("mprotect");
	fill_valid(gpu, control, room->constant, room->list, LIST);
	if (mprotect(room->constant, GUARDED, PROT_READ))
		die("mprotect");
	call.params = (uintptr_t)room->constant;
	try(gpu, control->name, "parameters that may not be written", call);
}

static void wrong_sizes(const struct gpu *gpu, const struct nvabi_pid_control *control,
			const struct room *room)
{
	uint32_t size = control_size(control);
	const uint32_t wrong[] = {0,	    1,	      size - 4,	     size - 1,	size + 1,
				  size + 4, 2 * size, (1 << 20) + 1, UINT32_MAX};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct nvos54_parameters call = valid_call(gpu, control, room);
		char name[64];

		fill_valid(gpu, control, room->pages, room->list, LIST);
		call.params = (uintptr_t)room->pages;
		call.paramsSize = wrong[i];
		snprintf(name, sizeof(name), "size %u of %u", wrong[i], size);
		try(gpu, control->name, name, call);
	}
}

static void wrong_handles(const struct gpu *gpu, const struct nvabi_pid_control *control,
			  const struct room *room, uint32_t foreign_client)
{
	const uint32_t client[] = {0, 0xdeadbeef, gpu->device, foreign_client};
	static const char *const client_name[] = {
	    "client 0", "client of nobody", "a device as the client", "another process's client"};
	const uint32_t object[] = {0, 0xdeadbeef, gpu->device};
	static const char *const object_name[] = {"object 0", "unknown object", "the device"};
	static const uint32_t flags[] = {1, 2, 4, 0x80000000};
	struct nvos54_parameters call;
	char name[64];

	for (size_t i = 0; i < sizeof(client) / sizeof(client[0]); i++) {
		call = valid_call(gpu, control, room);
		call.hClient = client[i];
		try(gpu, control->name, client_name[i], call);
	}
	for (size_t i = 0; i < sizeof(object) / sizeof(object[0]); i++) {
		call = valid_call(gpu, control, room);
		call.hObject = object[i];
		try(gpu, control->name, object_name[i], call);
	}
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		call = valid_call(gpu, control, room);
		call.flags = flags[i];
		snprintf(name, sizeof(name), "flags 0x%x", flags[i]);
		try(gpu, control->name, name, call);
	}
}

static void wrong_embedded_list(const struct gpu *gpu, const struct nvabi_pid_control *control,
				const struct room *room)
{
	const uint64_t wrong[] = {0, 0x10, (uintptr_t)room->forbidden,
				  (uintptr_t)room->pages + GUARDED - 8, (uintptr_t)room->constant};
	static const char *const name[] = {
	    "no list", "a list at 0x10", "a list that may not be read",
	    "a list that leaves its page", "a list that may not be written"};

	if (control->list_pointer == NVABI_NONE)
		return;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct nvos54_parameters call = valid_call(gpu, control, room);

		memcpy((char *)(uintptr_t)call.params + control->list_pointer, &wrong[i],
		       sizeof(wrong[i]));
		try(gpu, control->name, name[i], call);
	}
}

static void wrong_descriptors(const struct gpu *gpu, const struct nvabi_pid_control *control,
			      const struct room *room)
{
	struct nvos54_parameters call = valid_call(gpu, control, room);
	char path[4096];
	int pipes[2], other;

	snprintf(path, sizeof(path), "%s/nvidiactl", gpu->root);
	say_result(control->name, "on nvidia0", call_control(gpu->device_file, RM_CONTROL, &call));
	say_result(control->name, "on descriptor -1", call_control(-1, RM_CONTROL, &call));
	say_result(control->name, "on a closed descriptor", call_control(777, RM_CONTROL, &call));
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	say_result(control->name, "on /dev/null", call_control(other, RM_CONTROL, &call));
	close(other);
	other = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	say_result(control->name, "on a file", call_control(other, RM_CONTROL, &call));
	close(other);
	if (pipe2(pipes, O_CLOEXEC))
		die("pipe2");
	say_result(control->name, "on a pipe", call_control(pipes[0], RM_CONTROL, &call));
	close(pipes[0]);
	close(pipes[1]);
	other = open(path, O_PATH | O_CLOEXEC);
	say_result(control->name, "on a path descriptor", call_control(other, RM_CONTROL, &call));
	close(other);
	other = open(path, O_RDWR | O_CLOEXEC);
	say_result(control->name, "on another open file", call_control(other, RM_CONTROL, &call));
	close(other);
	other = open(path, O_RDONLY | O_CLOEXEC);
	say_result(control->name, "on a read-only open file",
		   call_control(other, RM_CONTROL, &call));
	close(other);
	other = dup(gpu->ctl);
	call = valid_call(gpu, control, room);
	say_result(control->name, "on a duplicate", call_control(other, RM_CONTROL, &call));
	close(other);
}

/* NVOS54 itself lies where it cannot be read or written. */
static void wrong_envelopes(const struct gpu *gpu, const struct nvabi_pid_control *control,
			    const struct room *room)
{
	struct nvos54_parameters call = valid_call(gpu, control, room);
	unsigned char *at_end = room->pages + GUARDED - sizeof(call);
	int error;

	const void *const wrong[] = {NULL, (void *)0x10, room->forbidden, room->pages + GUARDED - 1,
				     room->pages + GUARDED - 16};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		errno = 0;
		error = ioctl(gpu->ctl, RM_CONTROL, wrong[i]) < 0 ? errno : 0;
		say(control->name, "NVOS54 in bad place %zu: %s", i,
		    error ? strerrorname_np(error) : "came back");
	}
	/* Readable, not writable: the driver does the work and cannot tell the status. */
	if (mprotect(room->constant, GUARDED, PROT_READ | PROT_WRITE))
		die("mprotect");
	memcpy(room->constant, &call, sizeof(call));
	if (mprotect(room->constant, GUARDED, PROT_READ))
		die("mprotect");
	errno = 0;
	error = ioctl(gpu->ctl, RM_CONTROL, room->constant) < 0 ? errno : 0;
	say(control->name, "NVOS54 that may not be written: %s",
	    error ? strerrorname_np(error) : "came back");
	/* The very last bytes of a page are fine; parameters go elsewhere. */
	fill_valid(gpu, control, room->pages, room->list, LIST);
	call.params = (uintptr_t)room->pages;
	memcpy(at_end, &call, sizeof(call));
	error = ioctl(gpu->ctl, RM_CONTROL, at_end) < 0 ? errno : 0;
	memcpy(&call, at_end, sizeof(call));
	say_result(control->name, "NVOS54 that ends with its page",
		   (struct result){error, call.status});
}

static void through_xfer(const struct gpu *gpu, const struct nvabi_pid_control *control,
			 const struct room *room)
{
	const struct {
		const char *name;
		uint32_t cmd, size;
		uint64_t ptr;
	} form[] = {
	    {"wrapped", NV_ESC_RM_CONTROL, 32, 1},
	    {"wrapped with the whole request", (uint32_t)RM_CONTROL, 32, 1},
	    {"wrapped twice", NV_ESC_IOCTL_XFER_CMD, 32, 1},
	    {"wrapped with size 31", NV_ESC_RM_CONTROL, 31, 1},
	    {"wrapped with size 33", NV_ESC_RM_CONTROL, 33, 1},
	    {"wrapped with size 16385", NV_ESC_RM_CONTROL, 16385, 1},
	    {"wrapped with no pointer", NV_ESC_RM_CONTROL, 32, 0},
	    {"wrapped with a bad pointer", NV_ESC_RM_CONTROL, 32, (uintptr_t)room->forbidden},
	};

	for (size_t i = 0; i < sizeof(form) / sizeof(form[0]); i++) {
		struct nvos54_parameters call = valid_call(gpu, control, room);
		struct nv_ioctl_xfer xfer = {form[i].cmd, form[i].size, form[i].ptr};
		struct result result = {0, 0};

		call.status = UINT32_MAX;
		if (xfer.ptr == 1)
			xfer.ptr = (uintptr_t)&call;
		errno = 0;
		if (ioctl(gpu->ctl, XFER, &xfer) < 0)
			result.error = errno;
		result.status = call.status;
		say_result(control->name, form[i].name, result);
	}
	errno = 0;
	say(control->name, "wrapped, envelope unreadable: %s",
	    ioctl(gpu->ctl, XFER, room->forbidden) < 0 ? strerrorname_np(errno) : "came back");
}

/* Wrapped or not, the same question has the same answer. Samples and reports change from call to
 * call. */
static void same_answer_wrapped(const struct gpu *gpu, const struct nvabi_pid_control *control,
				const struct room *room)
{
	struct nvos54_parameters call = valid_call(gpu, control, room);
	struct nv_ioctl_xfer xfer = {NV_ESC_RM_CONTROL, sizeof(call), (uintptr_t)&call};
	unsigned char *plain = malloc(call.paramsSize);

	if (control->call != NVABI_UTIL_SAMPLES && control->call != NVABI_RCERR_REPORT &&
	    call_control(gpu->ctl, RM_CONTROL, &call).status == NV_OK) {
		memcpy(plain, (void *)(uintptr_t)call.params, call.paramsSize);
		call = valid_call(gpu, control, room);
		if (ioctl(gpu->ctl, XFER, &xfer) < 0)
			die("XFER");
		say(control->name, "wrapped: %s answer",
		    memcmp(plain, (void *)(uintptr_t)call.params, call.paramsSize) ? "ANOTHER"
										   : "the same");
	}
	free(plain);
}

/* The driver looks at the number and the size in the low 32 bits: these are all RM control, but for
 * the last three. The answer must be of the same processes however it is asked for. */
static void spellings(const struct gpu *gpu, const struct room *room)
{
	static const unsigned long request[] = {0xc020462a, 0xffffffffc020462a, 0x0020002a,
						0x4020462a, 0x8020ff2a,		0xdeadc020462a,
						0xc021462a, 0xc020462b,		0x462a};
	const struct nvabi_pid_control *control =
	    nvabi_pids_find(&gpu->pids, NV2080_CTRL_CMD_GPU_GET_PIDS);
	struct get_pids_params plain;

	fill_valid(gpu, control, &plain, NULL, 0);
	gpu_control(gpu, control->cmd, &plain, sizeof(plain));
	for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++) {
		struct nvos54_parameters call = valid_call(gpu, control, room);
		const struct get_pids_params *other = (void *)(uintptr_t)call.params;
		struct result result = call_control(gpu->ctl, request[i], &call);
		char name[32];

		snprintf(name, sizeof(name), "request 0x%lx", request[i]);
		say_result("spelling", name, result);
		if (!result.error && !result.status)
			say("spelling", "%s: %s list", name,
			    memcmp(other, &plain, 12 + 4 * plain.pidTblCount) ? "ANOTHER"
									      : "the same");
	}
}

/* A 64-bit program can make system calls of the 32-bit machine: everything lies below 4 GiB. */
static void as_32_bit(const struct gpu *gpu, const struct room *room)
{
#ifdef __x86_64__
	enum { IOCTL_OF_I386 = 54 };
	const struct nvabi_pid_control *control =
	    nvabi_pids_find(&gpu->pids, NV2080_CTRL_CMD_GPU_GET_PIDS);
	struct nvos54_parameters call = valid_call(gpu, control, room), *low = (void *)room->pages;
	struct get_pids_params plain;
	long returned;

	fill_valid(gpu, control, &plain, NULL, 0);
	gpu_control(gpu, control->cmd, &plain, sizeof(plain));
	*low = call;
	low->status = UINT32_MAX;
	__asm__ volatile("int $0x80"
			 : "=a"(returned)
			 : "a"(IOCTL_OF_I386), "b"(gpu->ctl), "c"((uint32_t)RM_CONTROL),
			   "d"((uint32_t)(uintptr_t)low)
			 : "memory", "r8", "r9", "r10", "r11");
	say("32 bits", "returned %ld, status 0x%x, %s list", returned, low->status,
	    memcmp((void *)(uintptr_t)call.params, &plain, 12 + 4 * plain.pidTblCount)
		? "ANOTHER"
		: "the same");
#else
	(void)gpu;
	(void)room;
	say("32 bits", "not on this machine");
#endif
}

static pid_t ended_process(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		die("fork");
	return child;
}

/* Numbers that name no process of the caller's namespace. What the driver answers for one that it
 * does not know is no error: status and result 0, no memory. */
static void wrong_pids(const struct gpu *gpu, const struct room *room)
{
	const struct nvabi_pid_control *control =
	    nvabi_pids_find(&gpu->pids, NV2080_CTRL_CMD_GPU_GET_PID_INFO);
	const uint32_t pid[] = {0, UINT32_MAX, 0x80000000, 4194304 + 5, (uint32_t)ended_process()};
	static const uint32_t counts[] = {0, 1, 200, 201, 951, UINT32_MAX};
	struct nvos54_parameters call;
	unsigned char *params, *entry;
	uint64_t memory;
	uint32_t result;
	char name[64];

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		call = valid_call(gpu, control, room);
		memcpy((void *)(uintptr_t)call.params, &counts[i], sizeof(counts[i]));
		snprintf(name, sizeof(name), "count %u", counts[i]);
		try(gpu, control->name, name, call);
	}
	for (size_t i = 0; i < sizeof(pid) / sizeof(pid[0]); i++) {
		call = valid_call(gpu, control, room);
		params = (void *)(uintptr_t)call.params;
		entry = params + control->list_first;
		memcpy(entry + control->entry_pid, &pid[i], sizeof(pid[i]));
		memset(entry + control->entry_data, 0x5a, 8);
		call_control(gpu->ctl, RM_CONTROL, &call);
		memcpy(&result, entry + control->entry_result, sizeof(result));
		memcpy(&memory, entry + control->entry_data, sizeof(memory));
		say(control->name, "PID number %zu: status 0x%x, result 0x%x, memory 0x%lx, %s", i,
		    call.status, result, memory,
		    memcmp(entry + control->entry_pid, &pid[i], 4) ? "ANOTHER PID" : "PID kept");
	}
	call = valid_call(gpu, control, room);
	params = (void *)(uintptr_t)call.params;
	params[control->list_first + control->entry_index] = 1;
	call_control(gpu->ctl, RM_CONTROL, &call);
	memcpy(&result, params + control->list_first + control->entry_result, sizeof(result));
	say(control->name, "index 1: status 0x%x, result 0x%x", call.status, result);
}

static void wrong_questions(const struct gpu *gpu)
{
	struct get_pids_params pids;
	struct acct_proc_info info;
	struct acct_pids dead;

	for (uint32_t type = 1; type < 4; type++) {
		pids = (struct get_pids_params){.idType = type, .id = NV20_SUBDEVICE_0};
		say_result("GET_PIDS", type == 1 ? "virtual machines" : "unknown kind",
			   gpu_control(gpu, NV2080_CTRL_CMD_GPU_GET_PIDS, &pids, sizeof(pids)));
	}
	pids = (struct get_pids_params){.id = 0x1234, .pidTblCount = 7};
	say_result("GET_PIDS", "unknown class",
		   gpu_control(gpu, NV2080_CTRL_CMD_GPU_GET_PIDS, &pids, sizeof(pids)));
	say("GET_PIDS", "unknown class: %u processes", pids.pidTblCount);
	for (uint32_t i = 0; i < 3; i++) {
		info = (struct acct_proc_info){.gpuId = gpu->gpu_id, .pid = i ? UINT32_MAX : 0};
		if (i == 2)
			info.gpuId = 0xbad;
		say_result("GET_PROC_ACCOUNTING_INFO",
			   i == 2 ? "unknown GPU"
			   : i	  ? "PID -1"
				  : "PID 0",
			   gpu_control(gpu, NV0000_CTRL_CMD_GPUACCT_GET_PROC_ACCOUNTING_INFO, &info,
				       sizeof(info)));
	}
	dead = (struct acct_pids){.gpuId = 0xbad};
	say_result(
	    "GET_ACCOUNTING_PIDS", "unknown GPU",
	    gpu_control(gpu, NV0000_CTRL_CMD_GPUACCT_GET_ACCOUNTING_PIDS, &dead, sizeof(dead)));
	say_result("cmd 0", "no parameters", gpu_control(gpu, 0, NULL, 0));
	say_result("cmd 0x2080ffff", "no parameters", gpu_control(gpu, 0x2080ffff, NULL, 0));
}

/* Another process opens the driver and tells its client's handle; it lives until HOLD is closed. */
static uint32_t foreign_client(const char *root, const char *version, int *hold)
{
	int tell[2], wait[2];
	uint32_t handle;
	pid_t child;

	if (pipe(tell) || pipe(wait))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		struct gpu gpu;

		close(wait[1]);
		gpu_open(&gpu, root, version);
		if (write(tell[1], &gpu.client, sizeof(gpu.client)) == sizeof(gpu.client))
			(void)!read(wait[0], &handle, 1);
		_exit(0);
	}
	close(tell[1]);
	close(wait[0]);
	if (read(tell[0], &handle, sizeof(handle)) != sizeof(handle))
		die("the other client");
	close(tell[0]);
	*hold = wait[1];
	return handle;
}

void wrong_arguments(struct gpu *gpu)
{
	char version[NVABI_VERSION_TEXT];
	struct room room;
	uint32_t foreign;
	int hold;

	room_make(&room);
	foreign =
	    foreign_client(gpu->root, nvabi_version_format(&gpu->pids.running, version), &hold);
	for (uint32_t i = 0; i < gpu->pids.control_count; i++) {
		const struct nvabi_pid_control *control = &gpu->pids.control[i];

		if (control->cmd >> 16 != 0x2080 && control->cmd >> 16 != 0)
			continue;
		wrong_pointers(gpu, control, &room);
		wrong_sizes(gpu, control, &room);
		wrong_handles(gpu, control, &room, foreign);
		wrong_embedded_list(gpu, control, &room);
		wrong_descriptors(gpu, control, &room);
		wrong_envelopes(gpu, control, &room);
		through_xfer(gpu, control, &room);
		same_answer_wrapped(gpu, control, &room);
	}
	spellings(gpu, &room);
	as_32_bit(gpu, &room);
	wrong_pids(gpu, &room);
	wrong_questions(gpu);
	close(hold);
}
