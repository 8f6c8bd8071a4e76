#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "tests/simrm/front-session.h"

/* Calls that are blocked or delayed each hold a thread; thousands may wait at once. */
enum { MAX_THREADS = 8192, IDLE_THREADS = 16, NUDGE_MS = 10 };

/* The folder, and with CUSE nvidiactl, nvidia-uvm and each GPU. */
enum { MAX_SESSIONS = 3 + SIM_GPUS };

struct served {
	struct front front;
	struct fuse_session *session;
	pthread_t thread;
	bool ended;
	int result;
};

struct fronts {
	struct served served[MAX_SESSIONS];
	unsigned count, pending;
};

void front_is_ready(struct front *front)
{
	if (!__atomic_sub_fetch(front->pending, 1, __ATOMIC_ACQ_REL) && front->options->ready)
		front->options->ready();
}

static bool was_interrupted(void *context)
{
	return fuse_req_interrupted(context);
}

/* The driver reads and writes the caller's memory itself, from the raw pointer: FUSE carries only
 * what the direction bits say, unrestricted CUSE nothing, and the driver does not look at those. */
void front_answer_ioctl(fuse_req_t req, struct sim_file *file, unsigned request, void *arg)
{
	struct front *front = fuse_req_userdata(req);
	struct sim_call call = {
	    .tid = fuse_req_ctx(req)->pid, .interrupted = was_interrupted, .context = req};
	int err = driver_ioctl(front->driver, file, &call, request, (uint64_t)(uintptr_t)arg);

	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}

static int start(struct fronts *fronts, const struct front *front, struct mpu_error *error)
{
	struct served *served = &fronts->served[fronts->count];

	served->front = *front;
	served->session = front->options->cuse && fronts->count
			      ? cuse_front_start(&served->front, error)
			      : fuse_front_start(&served->front, error);
	if (!served->session)
		return -error->code;
	fronts->count++;
	return 0;
}

/* The folder comes first. */
static int start_all(struct fronts *fronts, struct driver *driver,
		     const struct front_options *options, struct mpu_error *error)
{
	struct front front = {.driver = driver, .options = options, .pending = &fronts->pending};
	int err;

	fronts->pending = options->cuse ? 3 + driver->gpus : 1;
	err = start(fronts, &front, error);
	if (err || !options->cuse)
		return err;
	front.device = DEVICE_CTL;
	front.minor = SIM_CTL_MINOR;
	err = start(fronts, &front, error);
	front.device = DEVICE_UVM;
	front.minor = 0;
	if (!err)
		err = start(fronts, &front, error);
	front.device = DEVICE_GPU;
	for (; !err && front.minor < driver->gpus; front.minor++)
		err = start(fronts, &front, error);
	return err;
}

static pthread_t main_thread;

/* A session also ends by itself, when its folder is unmounted: then all of them end. A device does
 * only where the kernel could not make it. */
static void *serve(void *argument)
{
	struct served *served = argument;
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
	fuse_loop_cfg_set_idle_threads(config, IDLE_THREADS);
	served->result = fuse_session_loop_mt(served->session, config);
	fuse_loop_cfg_destroy(config);
	__atomic_store_n(&served->ended, true, __ATOMIC_RELEASE);
	pthread_kill(main_thread, SIGTERM);
	return NULL;
}

static void nudge(int signal)
{
	(void)signal;
}

/* A session looks whether it has ended when a signal wakes its thread; one that comes just before
 * the thread waits is lost, hence more of them. */
static void join(struct served *served)
{
	struct timespec until;

	fuse_session_exit(served->session);
	do {
		pthread_kill(served->thread, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += NUDGE_MS * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
	} while (pthread_timedjoin_np(served->thread, NULL, &until) == ETIMEDOUT);
}

/* Ends at a signal, which comes to nobody but the main thread. Returns the first error. */
static int run_all(struct fronts *fronts, struct faults *faults, struct mpu_error *error)
{
	struct sigaction action = {.sa_handler = nudge};
	unsigned running = 0;
	sigset_t ends;
	int signal_number, err = 0;

	main_thread = pthread_self();
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	while (!err && running < fronts->count) {
		struct served *served = &fronts->served[running];

		err = pthread_create(&served->thread, NULL, serve, served);
		running += !err;
	}
	if (err)
		mpu_fail(error, err, "pthread_create: %s", strerror(err));
	else
		sigwait(&ends, &signal_number);
	faults_stop(faults);
	for (unsigned i = 1; i < running; i++)
		if (__atomic_load_n(&fronts->served[i].ended, __ATOMIC_ACQUIRE))
			err = -mpu_fail(error, EBUSY,
					"CUSE: the kernel made no device; are its numbers taken, by "
					"the real driver or another simrm?");
	for (unsigned i = 0; i < running; i++) {
		struct served *served = &fronts->served[i];

		join(served);
		if (served->result < 0)
			err = -mpu_fail(error, -served->result, "the FUSE loop ended: %s",
					strerror(-served->result));
	}
	return -err;
}

static void destroy_all(struct fronts *fronts)
{
	for (unsigned i = fronts->count; i-- > 0;) {
		if (i == 0)
			fuse_session_unmount(fronts->served[i].session);
		fuse_session_destroy(fronts->served[i].session);
	}
	fuse_front_free_texts();
}

int front_serve(struct driver *driver, const struct front_options *options, struct mpu_error *error)
{
	struct fronts fronts = {0};
	int err = start_all(&fronts, driver, options, error);

	if (!err)
		err = run_all(&fronts, &driver->faults, error);
	destroy_all(&fronts);
	return err;
}
