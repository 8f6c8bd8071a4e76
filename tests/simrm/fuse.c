#define FUSE_USE_VERSION 312
#include "tests/simrm/fuse.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/simrm/command.h"

/* Inodes. GPU n is INODE_GPU + n. */
enum {
	INODE_ROOT = FUSE_ROOT_ID,
	INODE_CTL,
	INODE_UVM,
	INODE_VERSION,
	INODE_CONTROL,
	INODE_STATE,
	INODE_CALLS,
	INODE_GPU = 0x100,
};

/* Calls that are blocked or delayed each hold a thread; thousands may wait at once. */
enum { MAX_THREADS = 8192, IDLE_THREADS = 16, MAX_BACKGROUND = 60000 };

struct front {
	struct driver *driver;
	bool open_module;
	void (*ready)(void);
};

/* The content of a file that is read as a whole, made when it is opened. */
struct text {
	char *data;
	size_t size;
	unsigned refs; /* the open file, and each read that is being answered */
	struct text *next, **link;
};

/* All that are open: whoever still reads when the mount ends sends no release. */
static struct {
	pthread_mutex_t lock;
	struct text *first;
} texts = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void text_list(struct text *text)
{
	pthread_mutex_lock(&texts.lock);
	text->next = texts.first;
	text->link = &texts.first;
	if (text->next)
		text->next->link = &text->next;
	texts.first = text;
	pthread_mutex_unlock(&texts.lock);
}

static void text_put(struct text *text)
{
	if (__atomic_sub_fetch(&text->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_lock(&texts.lock);
	*text->link = text->next;
	if (text->next)
		text->next->link = text->link;
	pthread_mutex_unlock(&texts.lock);
	free(text->data);
	free(text);
}

/* After the session's end, when nobody answers any more. */
static void texts_free(void)
{
	while (texts.first) {
		texts.first->refs = 1;
		text_put(texts.first);
	}
}

static const struct {
	const char *name;
	fuse_ino_t inode;
	mode_t mode;
} entries[] = {
    {"nvidiactl", INODE_CTL, 0666},	{"nvidia-uvm", INODE_UVM, 0666},
    {"version", INODE_VERSION, 0444},	{"simrm-control", INODE_CONTROL, 0600},
    {"simrm-state", INODE_STATE, 0400}, {"simrm-calls", INODE_CALLS, 0400},
};
enum { ENTRIES = sizeof(entries) / sizeof(entries[0]) };

static struct front *front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static bool fill_attributes(const struct front *front, fuse_ino_t inode, struct stat *st)
{
	*st = (struct stat){.st_ino = inode, .st_nlink = 1, .st_uid = getuid(), .st_gid = getgid()};
	if (inode == INODE_ROOT) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return true;
	}
	if (inode >= INODE_GPU && inode < INODE_GPU + front->driver->gpus) {
		st->st_mode = S_IFREG | 0666;
		return true;
	}
	for (unsigned i = 0; i < ENTRIES; i++) {
		if (entries[i].inode == inode) {
			st->st_mode = S_IFREG | entries[i].mode;
			return true;
		}
	}
	return false;
}

static fuse_ino_t inode_of_name(const struct front *front, const char *name)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		if (!strcmp(entries[i].name, name))
			return entries[i].inode;
	for (unsigned i = 0; i < front->driver->gpus; i++) {
		char gpu[32];

		snprintf(gpu, sizeof(gpu), "nvidia%u", i);
		if (!strcmp(gpu, name))
			return INODE_GPU + i;
	}
	return 0;
}

static void front_init(void *userdata, struct fuse_conn_info *conn)
{
	struct front *front = userdata;

	conn->max_background = MAX_BACKGROUND;
	if (front->ready)
		front->ready();
}

static void front_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.attr_timeout = 3600, .entry_timeout = 3600};

	entry.ino = parent == INODE_ROOT ? inode_of_name(front_of(req), name) : 0;
	if (!entry.ino || !fill_attributes(front_of(req), entry.ino, &entry.attr))
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &entry);
}

static void front_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	if (fill_attributes(front_of(req), inode, &st))
		fuse_reply_attr(req, &st, 3600);
	else
		fuse_reply_err(req, ENOENT);
}

/* Truncation by open(O_TRUNC), as a shell's > does: there is nothing to truncate. */
static void front_setattr(fuse_req_t req, fuse_ino_t inode, struct stat *attr, int to_set,
			  struct fuse_file_info *fi)
{
	(void)attr;
	if (to_set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME |
		       FUSE_SET_ATTR_MTIME_NOW))
		fuse_reply_err(req, EPERM);
	else
		front_getattr(req, inode, fi);
}

static void front_readdir(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
			  struct fuse_file_info *fi)
{
	const struct front *front = front_of(req);
	cleanup_free char *buffer = malloc(size);
	size_t used = 0;

	(void)fi;
	if (inode != INODE_ROOT || !buffer) {
		fuse_reply_err(req, buffer ? ENOTDIR : ENOMEM);
		return;
	}
	for (off_t at = offset; at < (off_t)(ENTRIES + front->driver->gpus); at++) {
		char gpu[32];
		const char *name = gpu;
		struct stat st;
		size_t length;

		if (at < ENTRIES)
			name = entries[at].name;
		else
			snprintf(gpu, sizeof(gpu), "nvidia%u", (unsigned)at - ENTRIES);
		fill_attributes(front, inode_of_name(front, name), &st);
		length = fuse_add_direntry(req, buffer + used, size - used, name, &st, at + 1);
		if (length > size - used)
			break;
		used += length;
	}
	fuse_reply_buf(req, buffer, used);
}

static struct text *make_text(struct front *front, fuse_ino_t inode)
{
	struct text *text = calloc(1, sizeof(*text));
	char version[512];
	FILE *out;

	if (!text)
		return NULL;
	text->refs = 1;
	out = open_memstream(&text->data, &text->size);
	if (!out) {
		free(text);
		return NULL;
	}
	if (inode == INODE_VERSION) {
		driver_version_text(front->driver, front->open_module, version, sizeof(version));
		fputs(version, out);
	} else if (inode == INODE_STATE) {
		driver_write_state(front->driver, out);
	} else if (inode == INODE_CALLS) {
		faults_write_calls(&front->driver->faults, out);
	}
	fclose(out);
	text_list(text);
	return text;
}

static struct sim_file *open_device(struct driver *driver, fuse_ino_t inode)
{
	if (inode == INODE_CTL)
		return driver_open(driver, DEVICE_CTL, 255);
	if (inode == INODE_UVM)
		return driver_open(driver, DEVICE_UVM, 0);
	return driver_open(driver, DEVICE_GPU, (unsigned)(inode - INODE_GPU));
}

static bool is_text(fuse_ino_t inode)
{
	return inode >= INODE_VERSION && inode <= INODE_CALLS;
}

static void front_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	struct front *front = front_of(req);
	uid_t uid = fuse_req_ctx(req)->uid;
	void *handle;

	if (is_text(inode) && inode != INODE_VERSION && uid && uid != getuid()) {
		fuse_reply_err(req, EACCES);
		return;
	}
	handle = is_text(inode) ? (void *)make_text(front, inode)
				: (void *)open_device(front->driver, inode);
	if (!handle) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)handle;
	fi->direct_io = 1;
	if (fuse_reply_open(req, fi) == -ENOENT) { /* interrupted: there will be no release */
		if (is_text(inode))
			text_put(handle);
		else
			driver_close(front->driver, handle);
	}
}

static void front_release(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	void *handle = (void *)(uintptr_t)fi->fh;

	if (is_text(inode))
		text_put(handle);
	else
		driver_close(front_of(req)->driver, handle);
	fuse_reply_err(req, 0);
}

static void front_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	struct text *text = (struct text *)(uintptr_t)fi->fh;

	if (!is_text(inode)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	/* Once it is answered the reader may close the file, before the reply returns here. */
	__atomic_add_fetch(&text->refs, 1, __ATOMIC_ACQ_REL);
	if (offset < 0 || (size_t)offset >= text->size)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, text->data + offset,
			       size < text->size - (size_t)offset ? size
								  : text->size - (size_t)offset);
	text_put(text);
}

/* Each write is one or more whole lines. */
static void front_write(fuse_req_t req, fuse_ino_t inode, const char *data, size_t size,
			off_t offset, struct fuse_file_info *fi)
{
	cleanup_free char *copy = strndup(data, size);
	char *rest = copy, *line;
	int err = copy ? 0 : -ENOMEM;

	(void)offset;
	(void)fi;
	if (inode != INODE_CONTROL)
		err = -EINVAL;
	while (!err && (line = strsep(&rest, "\n")))
		err = command_run(front_of(req)->driver, line);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_write(req, size);
}

static bool was_interrupted(void *context)
{
	return fuse_req_interrupted(context);
}

/* The driver reads and writes the caller's memory itself, from the raw pointer: FUSE carries only
 * what the direction bits say, and the driver does not look at those. */
static void front_ioctl(fuse_req_t req, fuse_ino_t inode, unsigned int request, void *arg,
			struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
			size_t out_size)
{
	struct sim_call call = {
	    .tid = fuse_req_ctx(req)->pid, .interrupted = was_interrupted, .context = req};
	int err = -ENOTTY;

	(void)flags;
	(void)in;
	(void)in_size;
	(void)out_size;
	if (!is_text(inode) && inode != INODE_ROOT)
		err = driver_ioctl(front_of(req)->driver, (struct sim_file *)(uintptr_t)fi->fh,
				   &call, request, (uint64_t)(uintptr_t)arg);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}

static const struct fuse_lowlevel_ops operations = {
    .init = front_init,
    .lookup = front_lookup,
    .getattr = front_getattr,
    .setattr = front_setattr,
    .readdir = front_readdir,
    .open = front_open,
    .release = front_release,
    .read = front_read,
    .write = front_write,
    .ioctl = front_ioctl,
};

static struct fuse_session *running;
static struct faults *running_faults;

/* libfuse's workers block these signals, so that the main thread gets them, which waits. */
static void stop(int signal)
{
	(void)signal;
	fuse_session_exit(running);
	faults_stop(running_faults);
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int front_serve(struct driver *driver, const char *directory, bool open_module, void (*ready)(void),
		struct mpu_error *error)
{
	struct front front = {.driver = driver, .open_module = open_module, .ready = ready};
	char program[] = "simrm", flag[] = "-o";
	char own[] = "fsname=simrm,subtype=simrm", all[] = "fsname=simrm,subtype=simrm,allow_other";
	char *options[] = {program, flag, getuid() ? own : all, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, options);
	struct fuse_session *session =
	    fuse_session_new(&args, &operations, sizeof(operations), &front);
	struct fuse_loop_config *config;
	int err;

	fuse_opt_free_args(&args);
	if (!session)
		return mpu_fail(error, EINVAL, "FUSE: no session could be made");
	if (fuse_session_mount(session, directory)) {
		fuse_session_destroy(session);
		return mpu_fail(error, EIO,
				"%s: cannot mount; it must be an empty folder, and /dev/fuse must "
				"be usable (root, or fusermount3)",
				directory);
	}
	running = session;
	running_faults = &driver->faults;
	catch_signals();
	config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
	fuse_loop_cfg_set_idle_threads(config, IDLE_THREADS);
	err = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	texts_free();
	if (err < 0)
		return mpu_fail(error, -err, "%s: the FUSE loop ended: %s", directory,
				strerror(-err));
	return 0;
}
