/* Memory whose reading or writing blocks for ever, behind everything that a call points to. */
#include "tests/survival/attack.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLERS = 80, SESSIONS = 512, SESSION = 32, LIST_PAGES = SESSIONS * SESSION / PAGE };

#define NVENC_SESSIONS 0x2080016eU

struct sessions_params {
	uint32_t count, pad;
	uint64_t list;
};

/* What one thread calls with; each part lies on pages of its own. */
struct trap {
	struct attack *attack;
	struct nvos54_parameters *control;
	struct nv_ioctl_xfer *envelope;
	void *params; /* of either call */
	void *list;
	bool wrapped, asks_sessions;
};

static void *call_forever(void *argument)
{
	struct trap *trap = argument;
	int fd = trap->attack->holder.rm.ctl;

	for (;;)
		if (trap->wrapped)
			attack_ioctl(trap->attack, fd, XFER, trap->envelope);
		else
			attack_ioctl(trap->attack, fd, RM_CONTROL, trap->control);
	return NULL;
}

/* A call that would succeed if the memory were like any other. */
static void prepare(struct trap *trap, struct attack *attack, bool asks_sessions)
{
	struct get_pids_params *pids;
	struct sessions_params *sessions;

	*trap = (struct trap){.attack = attack,
			      .control = attack_pages(1),
			      .envelope = attack_pages(1),
			      .params = attack_pages(1),
			      .list = attack_pages(LIST_PAGES),
			      .asks_sessions = asks_sessions};
	pids = trap->params;
	sessions = trap->params;
	if (asks_sessions)
		*sessions = (struct sessions_params){SESSIONS, 0, (uintptr_t)trap->list};
	else
		pids->id = TURING_COMPUTE_A;
	*trap->control =
	    attack_call(attack, asks_sessions ? NVENC_SESSIONS : NV2080_CTRL_CMD_GPU_GET_PIDS,
			trap->params, asks_sessions ? sizeof(*sessions) : sizeof(*pids));
	*trap->envelope = (struct nv_ioctl_xfer){NV_ESC_RM_CONTROL, sizeof(*trap->control),
						 (uintptr_t)trap->control};
}

/* ---- userfaultfd: nobody ever answers the faults ---- */

static int open_uffd(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		attack_die("userfaultfd");
	return fd;
}

/* Reading blocks, of pages that were never touched. */
static void *block_reads(int uffd, size_t pages)
{
	void *memory = attack_pages(pages);
	struct uffdio_register range = {.range = {(uintptr_t)memory, pages * PAGE},
					.mode = UFFDIO_REGISTER_MODE_MISSING};

	if (ioctl(uffd, UFFDIO_REGISTER, &range))
		attack_die("UFFDIO_REGISTER");
	return memory;
}

/* Writing alone blocks. */
static void block_writes(int uffd, void *memory, size_t pages)
{
	struct uffdio_register range = {.range = {(uintptr_t)memory, pages * PAGE},
					.mode = UFFDIO_REGISTER_MODE_WP};
	struct uffdio_writeprotect protect = {.range = range.range,
					      .mode = UFFDIO_WRITEPROTECT_MODE_WP};

	for (size_t i = 0; i < pages; i++)
		((volatile char *)memory)[i * PAGE] +=
		    0; /* only a page that is there is protected */
	if (ioctl(uffd, UFFDIO_REGISTER, &range) || ioctl(uffd, UFFDIO_WRITEPROTECT, &protect))
		attack_die("UFFDIO_WRITEPROTECT");
}

enum part { ENVELOPE, CONTROL, PARAMS, LIST };

/* PART of each call becomes memory that blocks. */
static void begin_uffd(struct attack *attack, enum part part, bool writing)
{
	static struct trap traps[CALLERS];
	int uffd = open_uffd();

	for (int i = 0; i < CALLERS; i++) {
		struct trap *trap = &traps[i];

		prepare(trap, attack, part == LIST);
		trap->wrapped = part == ENVELOPE;
		if (writing)
			block_writes(uffd,
				     part == CONTROL  ? (void *)trap->control
				     : part == PARAMS ? trap->params
						      : trap->list,
				     part == LIST ? LIST_PAGES : 1);
		else if (part == ENVELOPE)
			trap->envelope = block_reads(uffd, 1);
		else if (part == CONTROL)
			trap->control = block_reads(uffd, 1);
		else if (part == PARAMS)
			trap->control->params = (uintptr_t)block_reads(uffd, 1);
		else
			((struct sessions_params *)trap->params)->list =
			    (uintptr_t)block_reads(uffd, LIST_PAGES);
		attack_thread(call_forever, trap);
	}
}

void attack_uffd_envelope(struct attack *attack)
{
	begin_uffd(attack, ENVELOPE, false);
}

void attack_uffd_control(struct attack *attack)
{
	begin_uffd(attack, CONTROL, false);
}

void attack_uffd_params(struct attack *attack)
{
	begin_uffd(attack, PARAMS, false);
}

void attack_uffd_list(struct attack *attack)
{
	begin_uffd(attack, LIST, false);
}

void attack_uffd_control_write(struct attack *attack)
{
	begin_uffd(attack, CONTROL, true);
}

void attack_uffd_params_write(struct attack *attack)
{
	begin_uffd(attack, PARAMS, true);
}

void attack_uffd_list_write(struct attack *attack)
{
	begin_uffd(attack, LIST, true);
}

/* ---- A mapped file whose server never answers ---- */

static void *map_fuse(const char *name)
{
	void *memory =
	    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, attack_open_fuse(name), 0);

	if (memory == MAP_FAILED)
		attack_die("cannot map a FUSE file");
	return memory;
}

static void begin_fuse(struct attack *attack, enum part part)
{
	static struct trap traps[CALLERS];

	for (int i = 0; i < CALLERS; i++) {
		struct trap *trap = &traps[i];
		char name[32];

		snprintf(name, sizeof(name), "page%d", i);
		prepare(trap, attack, false);
		if (part == CONTROL)
			trap->control = map_fuse(name);
		else
			trap->control->params = (uintptr_t)map_fuse(name);
		attack_thread(call_forever, trap);
	}
}

void attack_fuse_control(struct attack *attack)
{
	begin_fuse(attack, CONTROL);
}

void attack_fuse_params(struct attack *attack)
{
	begin_fuse(attack, PARAMS);
}
