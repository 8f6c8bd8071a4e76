/* The devices as character devices: nvidiactl and the GPUs with the numbers of the real driver,
 * nvidia-uvm with a major number that the kernel chooses, as there. */
#include "tests/simrm/front-session.h"

#include <cuse_lowlevel.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum { MAJOR_DEVICE_NUMBER = 195 };

static void device_name(const struct front *front, char *name, size_t size)
{
	if (front->device == DEVICE_GPU)
		snprintf(name, size, "nvidia%u", front->minor);
	else
		snprintf(name, size, front->device == DEVICE_CTL ? "nvidiactl" : "nvidia-uvm");
}

static void device_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_background = FRONT_MAX_BACKGROUND;
}

/* The kernel has made the device, and devtmpfs its file, for root alone. */
static void device_init_done(void *userdata)
{
	char path[32] = "/dev/";

	device_name(userdata, path + strlen(path), sizeof(path) - strlen(path));
	if (chmod(path, 0666))
		fprintf(stderr, "simrm: %s: %s; /dev must be a devtmpfs\n", path, strerror(errno));
	front_is_ready(userdata);
}

static void device_open(fuse_req_t req, struct fuse_file_info *fi)
{
	const struct front *front = fuse_req_userdata(req);
	struct sim_file *file = driver_open(front->driver, front->device, front->minor);

	fi->fh = (uint64_t)(uintptr_t)file;
	if (!file)
		fuse_reply_err(req, ENOMEM);
	else if (fuse_reply_open(req, fi) == -ENOENT) /* interrupted: there will be no release */
		driver_close(front->driver, file);
}

static void device_release(fuse_req_t req, struct fuse_file_info *fi)
{
	const struct front *front = fuse_req_userdata(req);

	driver_close(front->driver, (struct sim_file *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void device_ioctl(fuse_req_t req, int request, void *arg, struct fuse_file_info *fi,
			 unsigned int flags, const void *in, size_t in_size, size_t out_size)
{
	(void)flags;
	(void)in;
	(void)in_size;
	(void)out_size;
	front_answer_ioctl(req, (struct sim_file *)(uintptr_t)fi->fh, (unsigned)request, arg);
}

static const struct cuse_lowlevel_ops operations = {
    .init = device_init,
    .init_done = device_init_done,
    .open = device_open,
    .release = device_release,
    .ioctl = device_ioctl,
};

static struct fuse_session *make_session(struct front *front)
{
	char program[] = "simrm", name[24], text[40];
	const char *info[] = {text};
	char *options[] = {program, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, options);
	struct cuse_info device = {.dev_major = MAJOR_DEVICE_NUMBER,
				   .dev_minor = front->minor,
				   .dev_info_argc = 1,
				   .dev_info_argv = info,
				   .flags = CUSE_UNRESTRICTED_IOCTL};
	struct fuse_session *session;

	if (front->device == DEVICE_UVM)
		device.dev_major = 0;
	device_name(front, name, sizeof(name));
	snprintf(text, sizeof(text), "DEVNAME=%s", name);
	session = cuse_lowlevel_new(&args, &device, &operations, front);
	fuse_opt_free_args(&args);
	return session;
}

struct fuse_session *cuse_front_start(struct front *front, struct mpu_error *error)
{
	cleanup_close int fd = open("/dev/cuse", O_RDWR | O_CLOEXEC);
	struct fuse_session *session;
	char path[32];

	if (fd < 0) {
		mpu_fail(error, errno,
			 "/dev/cuse: %s; --cuse needs root and the kernel module cuse",
			 strerror(errno));
		return NULL;
	}
	session = make_session(front);
	if (!session) {
		mpu_fail(error, EINVAL, "CUSE: no session could be made");
		return NULL;
	}
	/* What libfuse takes for a session that is open already. */
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (fuse_session_mount(session, path)) {
		fuse_session_destroy(session);
		mpu_fail(error, EIO, "CUSE: libfuse does not take /dev/cuse");
		return NULL;
	}
	steal_fd(&fd);
	return session;
}
