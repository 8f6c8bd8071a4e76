/* mpu-run: a command under supervision. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "nvabi/allow.h"
#include "supervisor/confine/nursery.h"
#include "supervisor/engine.h"
#include "supervisor/kernel/pidfd.h"
#include "supervisor/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>

static int find_driver(struct run_plan *plan, struct mpu_error *error)
{
	const struct run_options *options = &plan->options;
	int result = driver_find(&plan->driver, options->dev_root, options->driver_version, error);

	if (!result)
		result = driver_check_confine(&plan->driver.version, options->settings.confine,
					      error);
	return result ? result : driver_compose(&plan->driver, &plan->pids, error);
}

/* Who may do what: CAP_SYS_ADMIN makes PID namespaces and installs filters; without it a user
 * namespace does the first, and no_new_privs allows the second. */
static void find_privilege(struct run_plan *plan)
{
	bool admin = privilege_has(CAP_SYS_ADMIN);

	plan->uid = geteuid();
	plan->gid = getegid();
	plan->user_ns = plan->options.pid_ns && !admin;
	plan->no_new_privs = !admin;
}

/* A trace shows UVM's calls too: a confined command's filter lets none of them pass unseen then. */
static const struct filter_program *choose_filter(const struct run_options *options)
{
	const bool traced = options->trace || options->trace_summary;
	const uint32_t confine = options->settings.confine;

	if (traced)
		return confine ? &filter_native[FILTER_CONFINE] : &filter_native_trace;
	return &filter_native[mpu_confine_filter(confine)];
}

/* No child of ours, so that it and the proxies are none of the command's tree. It gets ready while we do. */
static int start_nursery(struct run_plan *plan, struct mpu_error *error)
{
	const struct run_options *options = &plan->options;

	plan->nursery = -1;
	if (!options->settings.confine || options->settings.confine & MPU_CONFINE_LOG ||
	    options->socket)
		return 0;
	plan->nursery = nursery_start(SANDBOX_ON, NULL, error);
	return plan->nursery < 0 ? plan->nursery : 0;
}

static int make_plan(struct run_plan *plan, struct mpu_error *error)
{
	int result = engine_check_namespace(error);

	if (result)
		return result;
	plan->filter_flags = filter_probe_flags(error);
	if (!plan->filter_flags)
		return -ENOSYS;
	if (plan->options.allow)
		result = nvabi_allow_read(plan->options.allow, &plan->allow, error);
	if (!result)
		result = start_nursery(plan, error);
	if (!result && !plan->options.socket)
		result = find_driver(plan, error);
	plan->filter = choose_filter(&plan->options);
	find_privilege(plan);
	return result;
}

/* The command shall find signals as we did. Those that we forward wait for us from now on. */
static void take_signals(struct run_plan *plan)
{
	sigset_t ours;

	for (int i = 0; i < RUN_SIGNALS_CHANGED; i++)
		sigaction(run_signals_changed[i], NULL, &plan->inherited[i]);
	run_forwarded_signals(&ours);
	sigaddset(&ours, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ours, &plan->signals);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

static int fail(const char *text)
{
	fprintf(stderr, "mpu-run: %s\n", text);
	return RUN_EXIT_OWN;
}

int main(int argc, char **argv)
{
	static struct run_plan plan;
	struct mpu_error error = {0};
	pid_t front = getpid(), back;
	int front_pidfd, status[2], result;

	if (nursery_is_meant(argc, argv))
		nursery_main(argc, argv);
	result = run_options_parse(argc, argv, &plan.options);
	if (result >= 0)
		return result;
	log_set_level(LOG_LEVEL_INFO);
	if (make_plan(&plan, &error))
		return fail(error.text);
	take_signals(&plan);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	front_pidfd = pidfd_of_process(front);
	if (front_pidfd < 0 || pipe2(status, O_CLOEXEC))
		return fail("cannot start: no file descriptors left, or a kernel without pidfds "
			    "(Linux 5.6 has them)");
	back = fork();
	if (back < 0)
		return fail("cannot start a process: fork failed (limits on processes?)");
	if (back == 0) {
		close(status[0]);
		return run_back(&plan, front, front_pidfd, status[1]);
	}
	close(status[1]);
	close(front_pidfd);
	if (plan.nursery >= 0)
		close(plan.nursery);
	return run_front(back, status[0]);
}
