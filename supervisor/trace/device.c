#include "supervisor/trace/device.h"

#include "base/cleanup.h"
#include "nvabi/rm.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { MODESET_MINOR = 254 };

void trace_devices_find(struct trace_devices *devices, const struct driver *driver,
			const char *dev_root)
{
	char path[PATH_MAX];
	struct stat st;

	devices->driver = *driver;
	devices->uvm_inode = 0;
	if (!dev_root)
		return;
	snprintf(path, sizeof(path), "%s/nvidia-uvm", dev_root);
	if (!stat(path, &st))
		devices->uvm_inode = st.st_ino;
}

/* The kernel gives UVM's module a major number when it is loaded, which may be later than now. */
static uint32_t find_uvm_major(void)
{
	cleanup_file FILE *file = fopen("/proc/devices", "re");
	char line[128], name[64];
	unsigned int major;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%u %63s", &major, name) == 2 && !strcmp(name, "nvidia-uvm"))
			return major;
	return 0;
}

static enum trace_device by_number(struct trace_devices *devices, const struct statx *st)
{
	uint32_t uvm = atomic_load(&devices->uvm_major);

	if (!S_ISCHR(st->stx_mode))
		return TRACE_DEVICE_NONE;
	if (st->stx_rdev_major == NV_MAJOR_DEVICE_NUMBER)
		return st->stx_rdev_minor == MODESET_MINOR ? TRACE_DEVICE_NONE : TRACE_DEVICE_RM;
	if (!uvm) {
		uvm = find_uvm_major();
		atomic_store(&devices->uvm_major, uvm);
	}
	return uvm && st->stx_rdev_major == uvm ? TRACE_DEVICE_UVM : TRACE_DEVICE_NONE;
}

static bool is_gpu_name(const char *name)
{
	const char *base = strrchr(name, '/');

	return base && !strncmp(base, "/nvidia", 7) && base[7] >= '0' && base[7] <= '9';
}

static enum trace_device by_inode(const struct trace_devices *devices, const struct statx *st,
				  const char *name)
{
	const struct driver_file *control = &devices->driver.control;

	if (st->stx_dev_major != control->dev_major || st->stx_dev_minor != control->dev_minor)
		return TRACE_DEVICE_NONE;
	if (devices->uvm_inode && st->stx_ino == devices->uvm_inode)
		return TRACE_DEVICE_UVM;
	return st->stx_ino == control->inode || is_gpu_name(name) ? TRACE_DEVICE_RM
								  : TRACE_DEVICE_NONE;
}

/* A program may call its files what it likes; this goes to a terminal. */
static void put_name(const char *target, char *name)
{
	int i = 0;

	for (; target[i] && i < TRACE_DEVICE_NAME - 1; i++)
		name[i] = target[i] > ' ' && target[i] < 0x7f ? target[i] : '?';
	name[i] = '\0';
}

enum trace_device trace_device_of(struct trace_devices *devices, pid_t tid, int fd, char *name)
{
	char link[48], target[PATH_MAX];
	struct statx st;
	ssize_t length;

	*name = '\0';
	snprintf(link, sizeof(link), "/proc/%d/fd/%d", tid, fd);
	if (statx(AT_FDCWD, link, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &st))
		return TRACE_DEVICE_NONE;
	length = readlink(link, target, sizeof(target) - 1);
	target[length > 0 ? length : 0] = '\0';
	put_name(target, name);
	return devices->driver.by_inode ? by_inode(devices, &st, target) : by_number(devices, &st);
}
