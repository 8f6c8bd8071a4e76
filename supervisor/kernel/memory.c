#include "supervisor/kernel/memory.h"

#include <errno.h>
#include <sys/uio.h>

int memory_read(pid_t tid, uint64_t address, void *buffer, size_t length)
{
	struct iovec local = {.iov_base = buffer, .iov_len = length};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = length};
	ssize_t copied = process_vm_readv(tid, &local, 1, &remote, 1, 0);

	if (copied < 0)
		return -errno;
	return (size_t)copied == length ? 0 : -EFAULT;
}

int memory_write(pid_t tid, uint64_t address, const void *buffer, size_t length)
{
	struct iovec local = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = length};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = length};
	ssize_t copied = process_vm_writev(tid, &local, 1, &remote, 1, 0);

	if (copied < 0)
		return -errno;
	return (size_t)copied == length ? 0 : -EFAULT;
}
