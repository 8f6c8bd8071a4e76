/* Another process's memory. */
#ifndef SUPERVISOR_KERNEL_MEMORY_H
#define SUPERVISOR_KERNEL_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Copies LENGTH bytes at ADDRESS of thread TID's memory into BUFFER. Returns 0 when all of them
 * were copied, -EFAULT when part of them is not mapped, -EPERM without ptrace access, -ESRCH. */
int memory_read(pid_t tid, uint64_t address, void *buffer, size_t length);

/* Copies LENGTH bytes of BUFFER to ADDRESS of thread TID's memory. Returns as memory_read(); part
 * may have been written on -EFAULT. The caller has just asked notify_id_valid(). */
int memory_write(pid_t tid, uint64_t address, const void *buffer, size_t length);

#endif
