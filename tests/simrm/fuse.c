/* The files of a folder: what simrm tells and is told, and the devices unless they are CUSE's. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/simrm/command.h"
#include "tests/simrm/front-session.h"

/* Inodes. GPU n is INODE_GPU + n. */
enum {
	INODE_ROOT = FUSE_ROOT_ID,
	INODE_CTL,
	INODE_UVM,
	INODE_VERSION,
	INODE_CONTROL,
	INODE_STATE,
	INODE_CALLS,
	INODE_ARRIVALS,
	INODE_GPU = 0x100,
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

void fuse_front_free_texts(void)
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
    {"nvidiactl", INODE_CTL, 0666},	      {"nvidia-uvm", INODE_UVM, 0666},
    {"version", INODE_VERSION, 0444},	      {"simrm-control", INODE_CONTROL, 0600},
    {"simrm-state", INODE_STATE, 0400},	      {"simrm-calls", INODE_CALLS, 0400},
    {"simrm-arrivals", INODE_ARRIVALS, 0400},
};
enum { ENTRIES = sizeof(entries) / sizeof(entries[0]) };

static struct front *front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static bool is_device(fuse_ino_t inode)
{
	return inode == INODE_CTL || inode == INODE_UVM || inode >= INODE_GPU;
}

static bool is_here(const struct front *front, fuse_ino_t inode)
{
	return !front->options->cuse || !is_device(inode);
}

static bool fill_attributes(const struct front *front, fuse_ino_t inode, struct stat *st)
{
	*st = (struct stat){.st_ino = inode, .st_nlink = 1, .st_uid = getuid(), .st_gid = getgid()};
	if (inode == INODE_ROOT) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return true;
	}
	if (!is_here(front, inode))
		return false;
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
	conn->max_background = FRONT_MAX_BACKGROUND;
	front_is_ready(userdata);
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
		if (!fill_attributes(front, inode_of_name(front, name), &st))
			continue;
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
		driver_version_text(front->driver, front->options->open_module, version,
				    sizeof(version));
		fputs(version, out);
	} else if (inode == INODE_STATE) {
		driver_write_state(front->driver, out);
	} else if (inode == INODE_CALLS) {
		faults_write_calls(&front->driver->faults, out);
	} else if (inode == INODE_ARRIVALS) {
		arrivals_write(&front->driver->arrivals, out);
	}
	fclose(out);
	text_list(text);
	return text;
}

static struct sim_file *open_device(struct driver *driver, fuse_ino_t inode)
{
	if (inode == INODE_CTL)
		return driver_open(driver, DEVICE_CTL, SIM_CTL_MINOR);
	if (inode == INODE_UVM)
		return driver_open(driver, DEVICE_UVM, 0);
	return driver_open(driver, DEVICE_GPU, (unsigned)(inode - INODE_GPU));
}

static bool is_text(fuse_ino_t inode)
{
	return inode >= INODE_VERSION && inode <= INODE_ARRIVALS;
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

static void front_ioctl(fuse_req_t req, fuse_ino_t inode, unsigned int request, void *arg,
			struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
			size_t out_size)
{
	(void)flags;
	(void)in;
	(void)in_size;
	(void)out_size;
	if (is_device(inode))
		front_answer_ioctl(req, (struct sim_file *)(uintptr_t)fi->fh, request, arg);
	else
		fuse_reply_err(req, ENOTTY);
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

struct fuse_session *fuse_front_start(struct front *front, struct mpu_error *error)
{
	const char *directory = front->options->directory;
	char program[] = "simrm", flag[] = "-o";
	char own[] = "fsname=simrm,subtype=simrm", all[] = "fsname=simrm,subtype=simrm,allow_other";
	char *options[] = {program, flag, getuid() ? own : all, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, options);
	struct fuse_session *session =
	    fuse_session_new(&args, &operations, sizeof(operations), front);

	fuse_opt_free_args(&args);
	if (!session) {
		mpu_fail(error, EINVAL, "FUSE: no session could be made");
		return NULL;
	}
	if (fuse_session_mount(session, directory)) {
		fuse_session_destroy(session);
		mpu_fail(error, EIO,
			 "%s: cannot mount; it must be an empty folder, and /dev/fuse must be "
			 "usable (root, or fusermount3)",
			 directory);
		return NULL;
	}
	return session;
}
