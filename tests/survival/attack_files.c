/* Files that are no device of NVIDIA's: a FUSE file that answers nothing, a FIFO, a regular file;
 * for a call, and for mpud's socket. */
#define FUSE_USE_VERSION 314
#include "tests/survival/attack.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- The file system: every name is a file, the name says which ---- */

static void fill(fuse_ino_t inode, struct stat *st)
{
	*st = (struct stat){.st_ino = inode,
			    .st_nlink = 1,
			    .st_size = PAGE,
			    .st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666};
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	static fuse_ino_t next = FUSE_ROOT_ID;
	struct fuse_entry_param entry = {.ino = ++next};

	(void)parent;
	(void)name;
	fill(entry.ino, &entry.attr);
	fuse_reply_entry(request, &entry);
}

/* The folder is there for path walks; a file is not heard of again. */
static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	struct stat st;

	(void)file;
	fill(inode, &st);
	if (inode == FUSE_ROOT_ID)
		fuse_reply_attr(request, &st, 0);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	(void)inode;
	fuse_reply_open(request, file);
}

static void never_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
		       struct fuse_file_info *file)
{
	(void)request;
	(void)inode;
	(void)size;
	(void)offset;
	(void)file;
}

static void never_flush(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	(void)request;
	(void)inode;
	(void)file;
}

static void never_ioctl(fuse_req_t request, fuse_ino_t inode, unsigned int cmd, void *argument,
			struct fuse_file_info *file, unsigned int flags, const void *in,
			size_t in_size, size_t out_size)
{
	(void)request;
	(void)inode;
	(void)cmd;
	(void)argument;
	(void)file;
	(void)flags;
	(void)in;
	(void)in_size;
	(void)out_size;
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = look_up,
    .getattr = get_attributes,
    .open = open_file,
    .read = never_read,
    .flush = never_flush,
    .ioctl = never_ioctl,
};

enum { LIFETIME_S = 300 };

static pid_t server;

/* A process of its own: with its end all that waits goes on. */
static void serve(const char *folder, int ready)
{
	char name[] = "attack";
	char *words[] = {name, NULL};
	struct fuse_args arguments = FUSE_ARGS_INIT(1, words);
	struct fuse_session *session =
	    fuse_session_new(&arguments, &operations, sizeof(operations), NULL);

	/* Should nobody be left to end it. */
	alarm(LIFETIME_S);
	if (!session || fuse_session_mount(session, folder) || write(ready, "", 1) != 1)
		_exit(3);
	close(ready);
	fuse_session_loop(session);
	_exit(0);
}

static const char *mount_fuse(void)
{
	static char folder[] = "/tmp/mpu-attack-XXXXXX";
	int ready[2];
	char byte;

	if (!mkdtemp(folder) || pipe2(ready, O_CLOEXEC))
		attack_die("cannot mount a FUSE file system");
	server = fork();
	if (server == 0) {
		close(ready[0]);
		serve(folder, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		attack_die("cannot mount a FUSE file system");
	close(ready[0]);
	return folder;
}

void attack_end_files(void)
{
	if (server > 0)
		kill(server, SIGKILL);
}

int attack_open_fuse(const char *name)
{
	static const char *folder;
	char path[64];
	int fd;

	if (!folder)
		folder = mount_fuse();
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		attack_die(path);
	return fd;
}

/* ---- Calls on what is no device ---- */

enum { FUSE_CALLERS = 20 };

struct fake {
	struct attack *attack;
	int fd;
};

static void *call_fake(void *argument)
{
	const struct fake *fake = argument;

	for (;;) {
		struct get_pids_params params = {.id = TURING_COMPUTE_A};
		struct nvos54_parameters call = attack_call(
		    fake->attack, NV2080_CTRL_CMD_GPU_GET_PIDS, &params, sizeof(params));
		int result = attack_ioctl(fake->attack, fake->fd, RM_CONTROL, &call);

		if (result != -ENOTTY && result != -EINVAL && result != -EAGAIN)
			attack_wrong(fake->attack, "a call on a fake node", result);
		usleep(1000);
	}
	return NULL;
}

static int make_file(const char *name, mode_t type)
{
	char folder[] = "/tmp/mpu-attack-XXXXXX", path[64];
	int fd;

	if (!mkdtemp(folder))
		attack_die(folder);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (mknod(path, type | 0666, 0))
		attack_die(path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		attack_die(path);
	unlink(path);
	rmdir(folder);
	return fd;
}

static void call_on(struct attack *attack, int fd)
{
	struct fake *fake = malloc(sizeof(*fake));

	if (!fake)
		attack_die("malloc");
	*fake = (struct fake){attack, fd};
	attack_thread(call_fake, fake);
}

void attack_fake_nodes(struct attack *attack)
{
	call_on(attack, make_file("nvidiactl", S_IFREG));
	call_on(attack, make_file("nvidiactl", S_IFIFO));
	for (int i = 0; i < FUSE_CALLERS; i++)
		call_on(attack, attack_open_fuse("nvidiactl"));
}

/* ---- A peer of the socket ---- */

static void hand_over(const char *path, int fd)
{
	static const char message[] =
	    "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":1,\"metadata\":\"\","
	    "\"state\":{\"ociVersion\":\"1.0.2\",\"id\":\"peer\",\"status\":\"creating\",\"pid\":1,"
	    "\"bundle\":\"/\"}}";
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec data = {.iov_base = (void *)(uintptr_t)message, .iov_len = strlen(message)};
	struct msghdr header = {.msg_iov = &data,
				.msg_iovlen = 1,
				.msg_control = control.room,
				.msg_controllen = sizeof(control.room)};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	if (connect(connection, (const struct sockaddr *)&address, sizeof(address)) ||
	    sendmsg(connection, &header, MSG_NOSIGNAL) < 0)
		attack_die(path);
	/* Half of them wait for the answer, half are gone. */
	if (fd % 2) {
		struct timeval patience = {.tv_sec = 2};
		char answer[256] = "";

		setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		if (recv(connection, answer, sizeof(answer) - 1, 0) < 0)
			snprintf(answer, sizeof(answer), "no answer: %s", strerror(errno));
		fprintf(stderr, "attack: peer: %s\n", answer);
	}
	close(connection);
}

static void *hand_over_forever(void *argument)
{
	const struct attack *attack = argument;
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		attack_die("pipe");
	for (int turn = 0;; turn++) {
		/* Not more than some: each may hold what nobody can take back before we end. */
		if (turn < 8)
			hand_over(attack->socket, attack_open_fuse("listener"));
		hand_over(attack->socket, pipes[turn % 2]);
		hand_over(attack->socket, open("/dev/null", O_RDWR | O_CLOEXEC));
		usleep(50000);
	}
	return NULL;
}

void attack_peer(struct attack *attack)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		attack_die("unshare");
	attack_thread(hand_over_forever, attack);
}
