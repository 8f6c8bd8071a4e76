#include "supervisor/target.h"

#include "base/cleanup.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/kernel/shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

static ssize_t read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[48];
	cleanup_close int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, size - 1);
	if (length < 0) {
		shortage_note(errno);
		return errno == ENOENT ? -ESRCH : -errno;
	}
	text[length] = '\0';
	return length;
}

/* The text after "\nNAME:", or NULL. */
static const char *field(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found ? found + strlen(name) : NULL;
}

static unsigned int parse_levels(const char *text, pid_t *numbers)
{
	unsigned int count = 0;
	char *end;

	while (count < TARGET_LEVELS) {
		while (*text == '\t' || *text == ' ')
			text++;
		if (*text < '0' || *text > '9')
			break;
		numbers[count++] = (pid_t)strtol(text, &end, 10);
		text = end;
	}
	return count;
}

static int parse_status(const char *text, struct task_status *status)
{
	const char *tgid, *levels, *uid, *gid, *capabilities;

	/* The name stands first and is the task's own choice: begin behind it. */
	tgid = field(text, "\nTgid:");
	if (!tgid)
		return -EIO;
	uid = field(tgid, "\nUid:");
	gid = field(tgid, "\nGid:");
	levels = field(tgid, "\nNStgid:");
	capabilities = field(tgid, "\nCapEff:");
	if (!uid || !gid || !levels || !capabilities)
		return -EIO;
	status->tgid = (pid_t)strtol(tgid, NULL, 10);
	if (sscanf(uid, "%*u %u", &status->euid) != 1 || sscanf(gid, "%*u %u", &status->egid) != 1)
		return -EIO;
	status->capabilities = strtoull(capabilities, NULL, 16);
	status->levels = parse_levels(levels, status->process);
	return status->levels ? 0 : -EIO;
}

int task_status_read(pid_t tid, struct task_status *status)
{
	char text[4096];
	ssize_t length = read_proc(tid, "status", text, sizeof(text));

	return length < 0 ? (int)length : parse_status(text, status);
}

/* From the open file, again and again. */
static int read_status_again(int fd, struct task_status *status)
{
	char text[4096];
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

	if (length < 0)
		return -errno;
	text[length] = '\0';
	return length ? parse_status(text, status) : -ESRCH;
}

uint64_t task_start_ticks(pid_t tgid)
{
	char text[1024];
	const char *at;
	unsigned long long start = 0;

	if (read_proc(tgid, "stat", text, sizeof(text)) < 0)
		return 0;
	/* The name may hold anything, the last parenthesis ends it; starttime is the 20th field
	 * behind it. */
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			  "%*d %llu",
			  &start) != 1)
		return 0;
	return start;
}

bool task_may_be_there(pid_t tgid, uint64_t start)
{
	uint64_t ticks;

	shortage_forget();
	ticks = task_start_ticks(tgid);
	return shortage_was_noted() || (ticks && ticks == start);
}

bool task_may_be_alive(pid_t tgid, pid_t tid)
{
	char name[32], text[1024];
	const char *at;

	shortage_forget();
	snprintf(name, sizeof(name), "task/%d/stat", tid);
	if (read_proc(tgid, name, text, sizeof(text)) < 0)
		return shortage_was_noted();
	at = strrchr(text, ')');
	return at && at[1] == ' ' && !strchr("ZXx", at[2]);
}

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t task_clock_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

/* The time of boot. Two clocks are read, and we may be put off the CPU between the two; a pair that
 * took long is read again, and what is left of the error makes a process seem younger, so that nobody
 * is given the record of one before him. */
static uint64_t boot_us(void)
{
	uint64_t best = UINT64_MAX, boot = 0;

	for (int i = 0; i < 16 && best > 1000; i++) {
		uint64_t before = clock_us(CLOCK_BOOTTIME);
		uint64_t wall = clock_us(CLOCK_REALTIME);
		uint64_t took = clock_us(CLOCK_BOOTTIME) - before;

		if (took < best) {
			best = took;
			boot = wall - before;
		}
	}
	return boot;
}

uint64_t task_ticks_to_us(uint64_t ticks)
{
	return boot_us() + ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t task_started_us(pid_t tgid)
{
	uint64_t ticks = task_start_ticks(tgid);

	return ticks ? task_ticks_to_us(ticks) : 0;
}

void target_release(struct target *target)
{
	if (target->pid_ns >= 0)
		close(target->pid_ns);
	target->pid_ns = -1;
}

/* Who it is, with those of COUNTED among its capabilities, which count in the initial user namespace
 * only. */
static int take_identity(struct target *target, pid_t tid, const struct task_status *status,
			 uint64_t counted)
{
	uint64_t user_ns;

	target->tid = tid;
	target->tgid = status->tgid;
	target->euid = status->euid;
	target->egid = status->egid;
	target->capabilities = status->capabilities & counted;
	if (!target->capabilities)
		return 0;
	user_ns = nsfs_id_of(tid, "user");
	if (user_ns != NSFS_INIT_USER)
		target->capabilities = 0;
	return user_ns ? 0 : -ESRCH;
}

int target_identify(pid_t tid, struct target *target)
{
	struct task_status status;
	int result = task_status_read(tid, &status);

	if (!result)
		result = take_identity(target, tid, &status, UINT64_MAX);
	if (result)
		return result;
	target->pid_ns = nsfs_open_pid(tid);
	if (target->pid_ns < 0)
		return target->pid_ns == -ENOENT ? -ESRCH : target->pid_ns;
	target->pid_ns_id = nsfs_id(target->pid_ns);
	return target->pid_ns_id ? 0 : -ESRCH;
}

/* SYS_ADMIN, SYS_NICE, PERFMON. */
static const uint64_t asked_after = UINT64_C(1) << 21 | UINT64_C(1) << 23 | UINT64_C(1) << 38;

int target_identify_caller(pid_t tid, int status_fd, struct target *target)
{
	struct task_status status;
	int result = read_status_again(status_fd, &status);

	return result ? result : take_identity(target, tid, &status, asked_after);
}
