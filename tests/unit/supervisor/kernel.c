#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/pidfd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

Test(memory, reads_all_or_says_that_part_is_missing)
{
	long page = sysconf(_SC_PAGESIZE);
	char *two = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char copy[64];

	munmap(two + page, (size_t)page);
	two[page - 32] = 'x';
	cr_assert_eq(memory_read(getpid(), (uint64_t)(uintptr_t)(two + page - 32), copy, 32), 0);
	cr_assert_eq(copy[0], 'x');
	cr_assert_eq(memory_read(getpid(), (uint64_t)(uintptr_t)(two + page - 32), copy, 33),
		     -EFAULT);
	cr_assert_eq(memory_read(getpid(), 0, copy, 1), -EFAULT);
	cr_assert_eq(memory_read(getpid(), UINT64_MAX - 16, copy, 32), -EFAULT);
}

Test(memory, does_not_write_where_the_target_itself_may_not)
{
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_eq(memory_write(getpid(), (uint64_t)(uintptr_t)page, "x", 1), -EFAULT);
	cr_assert_eq(*page, 0);
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	cr_assert_eq(memory_write(getpid(), (uint64_t)(uintptr_t)page, "x", 1), 0);
	cr_assert_eq(*page, 'x');
}

Test(memory, gone_process_is_esrch)
{
	char byte;

	cr_assert_eq(memory_read(0x3fffff, 4096, &byte, 1), -ESRCH);
}

struct other {
	pthread_barrier_t ready, done;
	pid_t tid;
	int fd;
};

/* A thread with a descriptor table of its own, in which FD is another file than everybody's. */
static void *own_table(void *context)
{
	struct other *other = context;
	int null;

	other->tid = (pid_t)syscall(SYS_gettid);
	cr_assert_eq(unshare(CLONE_FILES), 0);
	null = open("/dev/zero", O_RDONLY);
	dup2(null, other->fd);
	pthread_barrier_wait(&other->ready);
	pthread_barrier_wait(&other->done);
	return NULL;
}

static bool is_zero(int fd)
{
	struct stat zero, st;

	return stat("/dev/zero", &zero) == 0 && fstat(fd, &st) == 0 && st.st_rdev == zero.st_rdev;
}

Test(pidfd, takes_the_file_of_the_thread_and_never_the_leader_s_in_its_place)
{
	struct other other;
	pthread_t thread;
	int copy;

	pthread_barrier_init(&other.ready, NULL, 2);
	pthread_barrier_init(&other.done, NULL, 2);
	other.fd = open("/dev/null", O_RDONLY);
	pthread_create(&thread, NULL, own_table, &other);
	pthread_barrier_wait(&other.ready);
	if (pidfd_has_thread()) {
		copy = pidfd_duplicate(other.tid, getpid(), other.fd, true);
		cr_assert_geq(copy, 0);
		cr_assert(is_zero(copy));
	}
	cr_assert_eq(pidfd_duplicate(other.tid, getpid(), other.fd, false), -EXDEV);
	copy = pidfd_duplicate(getpid(), getpid(), other.fd, false);
	cr_assert_geq(copy, 0);
	cr_assert_not(is_zero(copy));
	pthread_barrier_wait(&other.done);
	pthread_join(thread, NULL);
}

Test(pidfd, closed_descriptor_is_ebadf)
{
	cr_assert_eq(pidfd_duplicate(getpid(), getpid(), 999, true), -EBADF);
	cr_assert_eq(pidfd_duplicate(getpid(), getpid(), -1, true), -EBADF);
	cr_assert_eq(pidfd_duplicate(getpid(), getpid(), 999, false), -EBADF);
}
