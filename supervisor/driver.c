#include "supervisor/driver.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "nvabi/policy.h"
#include "nvabi/rm.h"
#include "supervisor/kernel/shortage.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROC_VERSION "/proc/driver/nvidia/version"

/* What kind of kernel module it is it says in the line of its version. */
static bool says_open(const char *path)
{
	cleanup_file FILE *file = fopen(path, "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "NVRM version:", 13) == 0)
			return strstr(line, "Open Kernel Module");
	return false;
}

static int read_version(const char *path, struct nvabi_version *version, struct mpu_error *error)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096];
	ssize_t length;

	if (fd < 0 && errno == ENOENT)
		return mpu_fail(error, ENOENT,
				"no NVIDIA driver: %s does not exist (load the kernel module "
				"nvidia, or name the driver with --driver-version=VERSION)",
				path);
	if (fd < 0)
		return mpu_fail(error, errno, "cannot read the driver version from %s: %s", path,
				strerror(errno));
	length = read(fd, text, sizeof(text));
	if (length < 0)
		return mpu_fail(error, errno, "cannot read the driver version from %s: %s", path,
				strerror(errno));
	if (nvabi_version_find(text, (size_t)length, version))
		return mpu_fail(error, EINVAL,
				"cannot find a driver version in %s (name the driver with "
				"--driver-version=VERSION)",
				path);
	return 0;
}

static int stat_file(int dir_fd, const char *path, int flags, struct statx *st)
{
	return statx(dir_fd, path, flags | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, st);
}

static uint64_t inode_of(const char *dev_root, const char *name)
{
	char path[PATH_MAX];
	struct statx st;

	snprintf(path, sizeof(path), "%s/%s", dev_root, name);
	return stat_file(AT_FDCWD, path, 0, &st) ? 0 : st.stx_ino;
}

static int find_control_file(struct driver *driver, const char *dev_root, struct mpu_error *error)
{
	char path[PATH_MAX];
	struct statx st;

	snprintf(path, sizeof(path), "%s/nvidiactl", dev_root);
	if (stat_file(AT_FDCWD, path, 0, &st))
		return mpu_fail(error, errno,
				"no device files in --dev-root: %s: %s (is the simulated driver "
				"running there?)",
				path, strerror(errno));
	driver->by_inode = true;
	driver->control = (struct driver_file){
		.dev_major = st.stx_dev_major, .dev_minor = st.stx_dev_minor, .inode = st.stx_ino};
	driver->uvm_inode = inode_of(dev_root, "nvidia-uvm");
	driver->modeset_inode = inode_of(dev_root, "nvidia-modeset");
	return 0;
}

int driver_find(struct driver *driver, const char *dev_root, const char *version,
		struct mpu_error *error)
{
	char path[PATH_MAX] = PROC_VERSION;
	int result = 0;

	memset(driver, 0, sizeof(*driver));
	if (dev_root)
		result = find_control_file(driver, dev_root, error);
	if (result)
		return result;
	if (dev_root) {
		snprintf(path, sizeof(path), "%s/version", dev_root);
		if (access(path, F_OK))
			snprintf(path, sizeof(path), PROC_VERSION);
	}
	driver->is_open = says_open(path);
	if (version) {
		driver->named = true;
		if (nvabi_version_parse(version, &driver->version))
			return mpu_fail(error, EINVAL,
					"--driver-version=%s is not a driver version (such as "
					"535.104.05)",
					version);
		return 0;
	}
	return read_version(path, &driver->version, error);
}

static void log_match(const struct nvabi_pids *pids)
{
	char running[NVABI_VERSION_TEXT], release[NVABI_VERSION_TEXT];

	nvabi_version_format(&pids->running, running);
	nvabi_version_format(&pids->release, release);
	if (pids->match == NVABI_MATCH_NEIGHBOUR)
		log_info("this driver release is not listed: its older neighbour stands in",
			 "driver=%s release=%s", running, release);
	else if (pids->match == NVABI_MATCH_BRANCH)
		log_warning("nothing is known of this driver's branch: an older one stands in "
			    "(a newer mpu may know it)",
			    "driver=%s release=%s", running, release);
}

int driver_compose(const struct driver *driver, struct nvabi_pids *pids, struct mpu_error *error)
{
	char text[NVABI_VERSION_TEXT];

	if (nvabi_pids_compose(&driver->version, pids))
		return mpu_fail(error, ENOENT,
				"driver %s is older than all that mpu knows (R418 is the first)",
				nvabi_version_format(&driver->version, text));
	log_match(pids);
	return 0;
}

int driver_check_confine(const struct nvabi_version *version, uint32_t confine,
			 struct mpu_error *error)
{
	char text[NVABI_VERSION_TEXT], words[MPU_CONFINE_TEXT];

	if (!confine || confine & MPU_CONFINE_LOG || nvabi_policy_knows_branch(version))
		return 0;
	mpu_confine_words(confine, words);
	return mpu_fail(error, ENOTSUP,
			"cannot confine to %s on driver %s: this mpu knows no release of its branch, "
			"%u, so that calls could pass unseen (install a newer mpu, or a driver of a "
			"branch that it knows: mpuctl abi versions; learn with the word log, which "
			"refuses nothing and protects nothing; or do not confine)",
			words, nvabi_version_format(version, text), version->major);
}

static enum driver_device device_of(const struct driver *driver, const struct statx *st)
{
	if (driver->by_inode) {
		if (st->stx_dev_major != driver->control.dev_major ||
		    st->stx_dev_minor != driver->control.dev_minor)
			return DRIVER_DEVICE_NONE;
		if (st->stx_ino == driver->modeset_inode)
			return DRIVER_DEVICE_MODESET;
		if (st->stx_ino == driver->uvm_inode)
			return DRIVER_DEVICE_NONE;
		return st->stx_ino == driver->control.inode ? DRIVER_DEVICE_CONTROL
							    : DRIVER_DEVICE_OTHER;
	}
	if (!S_ISCHR(st->stx_mode) || st->stx_rdev_major != NV_MAJOR_DEVICE_NUMBER)
		return DRIVER_DEVICE_NONE;
	if (st->stx_rdev_minor == NV_MODESET_DEVICE_MINOR)
		return DRIVER_DEVICE_MODESET;
	return st->stx_rdev_minor == NV_CONTROL_DEVICE_MINOR ? DRIVER_DEVICE_CONTROL
							     : DRIVER_DEVICE_OTHER;
}

enum driver_device driver_device(const struct driver *driver, int fd)
{
	struct statx st;

	if (stat_file(fd, "", AT_EMPTY_PATH, &st))
		return DRIVER_DEVICE_UNKNOWN;
	return device_of(driver, &st);
}

/* Its major number is the kernel's choice, made when the module is loaded. */
static uint32_t find_uvm_major(void)
{
	cleanup_file FILE *file = fopen("/proc/devices", "re");
	char line[128], name[64];
	unsigned int major;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%u %63s", &major, name) == 2 && strcmp(name, "nvidia-uvm") == 0)
			return major;
	return 0;
}

bool driver_is_uvm(const struct driver *driver, int fd)
{
	struct statx st;

	if (stat_file(fd, "", AT_EMPTY_PATH, &st))
		return false;
	if (driver->by_inode)
		return driver->uvm_inode && st.stx_ino == driver->uvm_inode &&
		       st.stx_dev_major == driver->control.dev_major &&
		       st.stx_dev_minor == driver->control.dev_minor;
	return S_ISCHR(st.stx_mode) && st.stx_rdev_major &&
	       st.stx_rdev_major == find_uvm_major();
}

static DIR *open_descriptors(int tid)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/fd", tid);
	return opendir(path);
}

/* The next descriptor that is an NVIDIA device. Returns its number with ST, or -1 at the end. */
static int next_device(const struct driver *driver, DIR *dir, struct statx *st)
{
	struct dirent *entry;

	while (dir && (errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (stat_file(dirfd(dir), entry->d_name, 0, st))
			shortage_note(errno);
		else if (device_of(driver, st) != DRIVER_DEVICE_NONE)
			return atoi(entry->d_name);
	}
	shortage_note(errno);
	return -1;
}

/* What tells GPUs apart: the minor number, or with --dev-root the file. */
static uint64_t gpu_of(const struct driver *driver, const struct statx *st)
{
	return driver->by_inode ? st->stx_ino : st->stx_rdev_minor;
}

size_t driver_gpus_open_in(const struct driver *driver, int tid, int numbers[DRIVER_GPUS])
{
	cleanup_dir DIR *dir = open_descriptors(tid);
	uint64_t gpus[DRIVER_GPUS];
	size_t count = 0, i;
	struct statx st;
	int number;

	while (count < DRIVER_GPUS && (number = next_device(driver, dir, &st)) >= 0) {
		if (device_of(driver, &st) != DRIVER_DEVICE_OTHER)
			continue;
		gpus[count] = gpu_of(driver, &st);
		for (i = 0; gpus[i] != gpus[count]; i++)
			;
		if (i == count)
			numbers[count++] = number;
	}
	return count;
}

bool driver_is_open_in(const struct driver *driver, int tgid)
{
	cleanup_dir DIR *dir = open_descriptors(tgid);
	struct statx st;

	return next_device(driver, dir, &st) >= 0;
}
