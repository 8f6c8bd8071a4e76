#include "supervisor/trace/trace.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/kernel/memory.h"
#include "supervisor/kernel/notify.h"
#include "supervisor/kernel/nsfs.h"
#include "supervisor/trace/held.h"
#include "supervisor/trace/line.h"
#include "supervisor/trace/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

struct trace {
	struct trace_options options;
	struct trace_hooks hooks;
	struct trace_devices devices;
	struct line_style style;
	struct nvabi_abi *abi; /* NULL: nothing is known of the release */
	struct names *names;
	pthread_key_t worker;
	struct held held;
	pthread_mutex_t lock; /* of the summary and of what is written */
	struct summary summary;
	int fd;
};

/* An executor's own. */
struct worker {
	struct nvabi_abi *abi;	    /* is one thread's; NULL: nothing is known */
	struct trace_call *current; /* what it is at */
};

/* ---- Output ---- */

static void write_whole(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t wrote = write(fd, bytes, length);

		if (wrote < 0 && errno != EINTR)
			return;
		bytes += wrote > 0 ? wrote : 0;
		length -= wrote > 0 ? (size_t)wrote : 0;
	}
}

static bool is_selected(const struct trace *trace, const struct trace_call *call)
{
	char buffer[LINE_STATUS];
	struct select_name status = {SELECT_STATUS, NULL, call->status};

	if (call->has_status)
		status.name = line_status(trace->abi, call->status, buffer);
	else if (call->errnum)
		status = (struct select_name){SELECT_STATUS, strerrorname_np(call->errnum),
					      (uint32_t)call->errnum};
	return selection_has_status(trace->options.selection, status.name ? &status : NULL);
}

/* Takes the call, of which all is known that will be. */
static void finish(void *context, struct trace_call *call)
{
	struct trace *trace = context;
	struct text line cleanup_text = {0};

	if (is_selected(trace, call)) {
		if (trace->options.lines)
			line_print(call, &trace->style, &line);
		pthread_mutex_lock(&trace->lock);
		if (trace->options.summary)
			summary_add(&trace->summary, call);
		if (line.length)
			write_whole(trace->fd, line.bytes, line.length);
		pthread_mutex_unlock(&trace->lock);
	}
	trace_call_free(call);
}

/* ---- A call ---- */

/* Returns NULL without memory. */
static struct worker *this_worker(struct trace *trace)
{
	struct worker *worker = pthread_getspecific(trace->worker);

	if (worker)
		return worker;
	worker = calloc(1, sizeof(*worker));
	if (!worker || pthread_setspecific(trace->worker, worker)) {
		free(worker);
		return NULL;
	}
	if (trace->abi && nvabi_abi_open(&trace->options.driver.version, &worker->abi))
		worker->abi = NULL;
	return worker;
}

static void free_worker(void *argument)
{
	struct worker *worker = argument;

	nvabi_abi_close(worker->abi);
	trace_call_free(worker->current);
	free(worker);
}

/* Who the caller is, for the translation of PIDs. */
struct caller {
	struct trace *trace;
	pid_t tid;
	struct pid_view view;
	int ns;
	bool known;
};

static int read_caller(void *context, uint64_t address, void *bytes, size_t size)
{
	const struct caller *caller = context;

	return memory_read(caller->tid, address, bytes, size);
}

static pid_t host_pid(void *context, pid_t number)
{
	struct caller *caller = context;
	pid_t host = 0;

	if (!caller->known) {
		caller->known = true;
		caller->ns = nsfs_open_pid(caller->tid);
		caller->view.ns = caller->ns;
		caller->view.ns_id = caller->ns >= 0 ? nsfs_id(caller->ns) : 0;
		caller->view.host = caller->view.ns_id == NSFS_INIT_PID;
	}
	if (caller->ns >= 0)
		pidmap_from_view(&caller->view, &number, &host, 1);
	return host;
}

static void format(struct trace *trace, struct nvabi_abi *abi, const struct trace_call *call,
		   const struct trace_piece *after, struct text *out)
{
	struct caller caller = {.trace = trace,
				.tid = call->tid,
				.ns = -1,
				.view = {.method = trace->options.pid_lookup}};
	struct decode decode = {
	    .abi = abi, .read = read_caller, .host_pid = host_pid, .context = &caller};

	if (!trace->options.lines)
		return;
	line_parameters(call, after, &decode, trace->options.json, out);
	cleanup_close_fd(&caller.ns);
}

static void identify(struct trace_call *call)
{
	struct task_status status;

	call->tgid = call->tid;
	if (task_status_read(call->tid, &status))
		return;
	call->tgid = status.tgid;
	call->number = status.process[status.levels - 1];
}

/* The memory that the call works on; more rather than less. */
static uint32_t argument_size(uint64_t request)
{
	uint32_t size = _IOC_SIZE((uint32_t)request);

	return size ? size : 16384;
}

/* 1. What is it? 2. What does it say? 3. It was the trapped thread's memory that was read. 4. Its
 * last call is over. 5. The line is begun where it will be wanted. */
static void received(void *context, int listener, const struct seccomp_notif *notification)
{
	struct trace *trace = context;
	const pid_t tid = (pid_t)notification->pid;
	struct select_name names[TRACE_NAMES];
	char name[TRACE_DEVICE_NAME];
	struct timespec now;
	enum trace_device device =
	    trace_device_of(&trace->devices, tid, (int)notification->data.args[0], name);
	struct worker *worker = this_worker(trace);
	struct trace_call *call = NULL;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (worker)
		trace_call_free(steal_ptr(worker->current));
	if (worker && device != TRACE_DEVICE_NONE)
		call = trace_call_new(notification, device, name, worker->abi ? trace->names : NULL,
				      worker->abi);
	held_settle(&trace->held, tid, notification->data.args[2],
		    argument_size(notification->data.args[1]));
	if (!call)
		return;
	identify(call);
	call->began_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (!selection_has_call(trace->options.selection, names, trace_call_names(call, names))) {
		trace_call_free(call);
		return;
	}
	format(trace, worker->abi, call, NULL, &call->entered);
	if (notify_id_valid(listener, notification->id))
		worker->current = call;
	else
		trace_call_free(call);
}

/* CONTROL was read again since the call was looked at. */
static bool executes(void *context, const struct nvos54_parameters *control)
{
	struct trace *trace = context;
	struct worker *worker = this_worker(trace);
	const struct trace_call *call = worker ? worker->current : NULL;
	const struct nvabi_call *known =
	    call && call->inner_kind == NVABI_CONTROL ? call->inner : NULL;

	if (!trace->options.execute || !known || known->number != control->cmd ||
	    trace_call_is_legacy(call))
		return false;
	if (!control->paramsSize)
		return !control->params;
	return known->structure && control->paramsSize == known->size &&
	       names_is_plain(worker->abi, known->structure);
}

static void executed(void *context, uint64_t nanoseconds)
{
	struct worker *worker = this_worker(context);

	if (!worker || !worker->current)
		return;
	worker->current->executed = true;
	worker->current->driver_ns += nanoseconds;
}

static void see_end(struct trace *trace, struct nvabi_abi *abi, struct trace_call *call)
{
	struct trace_piece after[2];

	trace_call_read_again(call, after);
	if (after[0].bytes && call->status_offset >= 0) {
		memcpy(&call->status, after[0].bytes + call->status_offset, sizeof(call->status));
		call->has_status = true;
	}
	format(trace, abi, call, after, &call->left);
	if (!strcmp(call->left.bytes ? call->left.bytes : "", "{}"))
		text_free(&call->left);
	free(after[0].bytes);
	free(after[1].bytes);
}

static void answered(void *context, uint64_t id, const struct seccomp_notif_resp *response)
{
	struct trace *trace = context;
	struct worker *worker = this_worker(trace);
	struct trace_call *call = worker ? worker->current : NULL;

	if (!call || call->id != id)
		return;
	worker->current = NULL;
	if (response->flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE) {
		/* They are printed by now; many may be held back. */
		free(steal_ptr(call->params.bytes));
		held_put(&trace->held, call);
		return;
	}
	call->end = TRACE_ANSWERED;
	call->errnum = -response->error;
	if (!call->errnum)
		see_end(trace, worker->abi, call);
	finish(trace, call);
}

/* ---- The whole ---- */

static int open_output(const char *path)
{
	return path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644)
		    : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static bool wants_colour(int fd)
{
	const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return isatty(fd) && !(refused && *refused) && !(terminal && !strcmp(terminal, "dumb"));
}

static int find_names(struct trace *trace, struct mpu_error *error)
{
	char text[NVABI_VERSION_TEXT];
	int result = nvabi_abi_open(&trace->options.driver.version, &trace->abi);

	if (result == -ENOENT) {
		log_warning(
		    "no header of this driver's branch is public: calls are traced by their "
		    "numbers",
		    "driver=%s", nvabi_version_format(&trace->options.driver.version, text));
		return 0;
	}
	trace->names = result ? NULL : names_new(trace->abi);
	return trace->names ? 0 : mpu_fail(error, ENOMEM, "cannot trace: %s", strerror(ENOMEM));
}

struct trace *trace_open(const struct trace_options *options, struct mpu_error *error)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace || pthread_key_create(&trace->worker, free_worker)) {
		free(trace);
		mpu_fail(error, ENOMEM, "cannot trace: %s", strerror(ENOMEM));
		return NULL;
	}
	trace->options = *options;
	trace->hooks = (struct trace_hooks){received, executes, executed, answered, trace};
	pthread_mutex_init(&trace->lock, NULL);
	held_begin(&trace->held, finish, trace);
	trace_devices_find(&trace->devices, &options->driver, options->dev_root);
	trace->fd = open_output(options->path);
	if (trace->fd < 0)
		mpu_fail(error, errno, "cannot write the trace to %s: %s",
			 options->path ? options->path : "standard error", strerror(errno));
	if (trace->fd < 0 || find_names(trace, error)) {
		trace_close(trace);
		return NULL;
	}
	trace->style = (struct line_style){.json = options->json,
					   .colour = !options->json && wants_colour(trace->fd),
					   .abi = trace->abi};
	return trace;
}

void trace_close(struct trace *trace)
{
	if (!trace)
		return;
	held_end(&trace->held);
	pthread_mutex_destroy(&trace->lock);
	pthread_key_delete(trace->worker);
	summary_free(&trace->summary);
	names_free(trace->names);
	nvabi_abi_close(trace->abi);
	cleanup_close_fd(&trace->fd);
	free(trace);
}

const struct trace_hooks *trace_hooks(struct trace *trace)
{
	return &trace->hooks;
}

void trace_finish(struct trace *trace)
{
	char release[NVABI_VERSION_TEXT];
	struct text table cleanup_text = {0};

	held_stop(&trace->held);
	if (!trace->options.summary)
		return;
	nvabi_version_format(trace->abi ? nvabi_abi_release(trace->abi, NULL)
					: &trace->options.driver.version,
			     release);
	pthread_mutex_lock(&trace->lock);
	summary_print(&trace->summary, release, trace->options.json, &table);
	pthread_mutex_unlock(&trace->lock);
	write_whole(trace->fd, table.bytes ? table.bytes : "", table.length);
}
