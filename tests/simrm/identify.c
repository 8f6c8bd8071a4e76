#include "tests/simrm/identify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"

enum { STEP_MS = 20, PATIENCE_MS = 1000 };

struct question {
	uint64_t cookie;
	pid_t tid, tgid;
	int fd;
};

static void answer_one(const struct question *question)
{
	cleanup_close int pidfd = -1, copy = -1;

	pidfd = (int)syscall(SYS_pidfd_open, question->tid, O_EXCL); /* PIDFD_THREAD, Linux 6.9 */
	if (pidfd < 0)
		pidfd = (int)syscall(SYS_pidfd_open, question->tgid, 0);
	if (pidfd < 0)
		return;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, question->fd, 0);
	if (copy >= 0 && ioctl(copy, _IO('F', SIMRM_ESC_IDENTIFY), question->cookie))
		return; /* not a file of simrm: the answer stays away */
}

static void run_helper(int socket)
{
	struct question question;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "simrm-identify");
	while (recv(socket, &question, sizeof(question), 0) == (ssize_t)sizeof(question)) {
		answer_one(&question);
		if (send(socket, &question.cookie, sizeof(question.cookie), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

int identifier_start(struct identifier *identifier, struct mpu_error *error)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return mpu_fail(error, errno, "socketpair: %s", strerror(errno));
	identifier->helper = fork();
	if (identifier->helper == 0) {
		close(ends[0]);
		run_helper(ends[1]);
	}
	close(ends[1]);
	identifier->socket = ends[0];
	pthread_mutex_init(&identifier->lock, NULL);
	if (identifier->helper < 0)
		return mpu_fail(error, errno, "fork: %s", strerror(errno));
	return 0;
}

void identifier_stop(struct identifier *identifier)
{
	if (identifier->helper <= 0)
		return;
	close(identifier->socket);
	kill(identifier->helper, SIGKILL);
	waitpid(identifier->helper, NULL, 0);
	pthread_mutex_destroy(&identifier->lock);
}

/* Waits for the helper to be done with the question. An older answer may still come first. */
static bool wait_for_helper(const struct identifier *identifier, const bool *stopping)
{
	struct timeval step = {.tv_usec = STEP_MS * 1000};
	uint64_t done;

	setsockopt(identifier->socket, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
	for (unsigned waited = 0; waited < PATIENCE_MS;) {
		if (__atomic_load_n(stopping, __ATOMIC_RELAXED))
			return false;
		if (recv(identifier->socket, &done, sizeof(done), 0) != (ssize_t)sizeof(done))
			waited += STEP_MS;
		else if (done == identifier->cookie)
			return true;
	}
	return false;
}

const void *identifier_ask(struct identifier *identifier, pid_t tid, pid_t tgid, int fd,
			   const bool *stopping)
{
	struct question question = {.tid = tid, .tgid = tgid, .fd = fd};
	const void *answer = NULL;

	pthread_mutex_lock(&identifier->lock);
	question.cookie = __atomic_add_fetch(&identifier->cookie, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&identifier->answer, NULL, __ATOMIC_SEQ_CST);
	if (send(identifier->socket, &question, sizeof(question), MSG_NOSIGNAL) > 0 &&
	    wait_for_helper(identifier, stopping))
		answer = __atomic_load_n(&identifier->answer, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&identifier->lock);
	return answer;
}

bool identifier_answer(struct identifier *identifier, pid_t tid, uint64_t cookie, const void *file)
{
	if (tid != identifier->helper ||
	    cookie != __atomic_load_n(&identifier->cookie, __ATOMIC_SEQ_CST))
		return false;
	__atomic_store_n(&identifier->answer, file, __ATOMIC_SEQ_CST);
	return true;
}
