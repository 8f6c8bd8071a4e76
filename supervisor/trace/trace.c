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
	struct held held;
	pthread_mutex_t lock; /* of the next three, and of what is written */
	struct reader *idle;
	struct summary summary;
	bool finished;
	int fd; /* -1: there is a sink */
};

/* A handle of the ABI, which is one thread's at a time. */
struct reader {
	struct nvabi_abi *abi;
	struct reader *next;
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

static void write_out(struct trace *trace, const char *bytes, size_t length, bool keeps)
{
	const struct trace_sink *sink = trace->options.sink;

	if (sink)
		sink->write(sink->context, bytes, length, keeps);
	else
		write_whole(trace->fd, bytes, length);
}

/* Takes the call, of which all is known that will be. */
static void finish(void *context, struct trace_call *call)
{
	struct trace *trace = context;
	const struct trace_sink *sink = trace->options.sink;
	struct text line cleanup_text = {0};

	if (is_selected(trace, call)) {
		if (trace->options.lines && !call->unprinted)
			line_print(call, &trace->style, &line);
		pthread_mutex_lock(&trace->lock);
		if (trace->options.summary && !trace->finished)
			summary_add(&trace->summary, call);
		if (call->unprinted)
			sink->drop(sink->context);
		else if (line.length)
			write_out(trace, line.bytes, line.length, false);
		pthread_mutex_unlock(&trace->lock);
	}
	trace_call_free(call);
}

/* ---- Readers ---- */

/* Returns NULL where nothing is known of the release, and without memory. */
static struct reader *take_reader(struct trace *trace)
{
	struct reader *reader;

	if (!trace->abi)
		return NULL;
	pthread_mutex_lock(&trace->lock);
	reader = trace->idle;
	if (reader)
		trace->idle = reader->next;
	pthread_mutex_unlock(&trace->lock);
	if (reader || !(reader = calloc(1, sizeof(*reader))))
		return reader;
	if (!nvabi_abi_open(&trace->options.driver.version, &reader->abi))
		return reader;
	free(reader);
	return NULL;
}

static void give_reader(struct trace *trace, struct reader *reader)
{
	if (!reader)
		return;
	pthread_mutex_lock(&trace->lock);
	reader->next = trace->idle;
	trace->idle = reader;
	pthread_mutex_unlock(&trace->lock);
}

static struct nvabi_abi *abi_of(const struct reader *reader)
{
	return reader ? reader->abi : NULL;
}

static void free_readers(struct trace *trace)
{
	struct reader *reader;

	while ((reader = trace->idle)) {
		trace->idle = reader->next;
		nvabi_abi_close(reader->abi);
		free(reader);
	}
}

/* ---- A call ---- */

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

/* Returns the call, or NULL where it is not to be shown. */
static struct trace_call *look_at(struct trace *trace, const struct seccomp_notif *notification,
				  enum trace_device device, const char *name,
				  struct nvabi_abi *abi)
{
	const struct trace_sink *sink = trace->options.sink;
	struct select_name names[TRACE_NAMES];
	struct timespec now;
	struct trace_call *call =
	    trace_call_new(notification, device, name, abi ? trace->names : NULL, abi);

	if (!call)
		return NULL;
	if (!selection_has_call(trace->options.selection, names, trace_call_names(call, names))) {
		trace_call_free(call);
		return NULL;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	call->began_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	identify(call);
	call->unprinted = trace->options.lines && sink && !sink->has_room(sink->context);
	if (!call->unprinted)
		format(trace, abi, call, NULL, &call->entered);
	return call;
}

/* 1. What is it? 2. What does it say? 3. Its last call is over. 4. It was the trapped thread's memory
 * that was read. */
static void *received(void *context, int listener, const struct seccomp_notif *notification)
{
	struct trace *trace = context;
	const pid_t tid = (pid_t)notification->pid;
	char name[TRACE_DEVICE_NAME];
	enum trace_device device =
	    trace_device_of(&trace->devices, tid, (int)notification->data.args[0], name);
	struct trace_call *call = NULL;

	if (device != TRACE_DEVICE_NONE) {
		struct reader *reader = take_reader(trace);

		call = look_at(trace, notification, device, name, abi_of(reader));
		give_reader(trace, reader);
	}
	held_settle(&trace->held, tid, notification->data.args[2],
		    argument_size(notification->data.args[1]));
	if (!call || notify_id_valid(listener, notification->id))
		return call;
	trace_call_free(call);
	return NULL;
}

/* CONTROL was read again since the call was looked at. */
static bool executes(void *context, void *its, const struct nvos54_parameters *control)
{
	struct trace *trace = context;
	const struct trace_call *call = its;
	const struct nvabi_call *known = call->inner_kind == NVABI_CONTROL ? call->inner : NULL;
	struct reader *reader;
	bool plain;

	if (!trace->options.execute || !known || known->number != control->cmd ||
	    trace_call_is_legacy(call))
		return false;
	if (!control->paramsSize)
		return !control->params;
	if (!known->structure || control->paramsSize != known->size)
		return false;
	reader = take_reader(trace);
	plain = reader && names_is_plain(reader->abi, known->structure);
	give_reader(trace, reader);
	return plain;
}

static void executed(void *context, void *its, uint64_t nanoseconds)
{
	struct trace_call *call = its;

	(void)context;
	call->executed = true;
	call->driver_ns += nanoseconds;
}

static void vanished(void *context, void *call)
{
	(void)context;
	trace_call_free(call);
}

static void see_end(struct trace *trace, struct trace_call *call)
{
	struct trace_piece after[2];
	struct reader *reader;

	trace_call_read_again(call, after);
	if (after[0].bytes && call->status_offset >= 0) {
		memcpy(&call->status, after[0].bytes + call->status_offset, sizeof(call->status));
		call->has_status = true;
	}
	reader = take_reader(trace);
	if (!call->unprinted)
		format(trace, abi_of(reader), call, after, &call->left);
	give_reader(trace, reader);
	if (!strcmp(call->left.bytes ? call->left.bytes : "", "{}"))
		text_free(&call->left);
	free(after[0].bytes);
	free(after[1].bytes);
}

static void answered(void *context, void *its, const struct seccomp_notif_resp *response)
{
	struct trace *trace = context;
	struct trace_call *call = its;

	if (response->flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE) {
		/* They are printed by now; many may be held back. */
		free(steal_ptr(call->params.bytes));
		held_put(&trace->held, call);
		return;
	}
	call->end = TRACE_ANSWERED;
	call->errnum = -response->error;
	if (!call->errnum)
		see_end(trace, call);
	finish(trace, call);
}

static void released(void *context)
{
	const struct trace *trace = context;

	if (trace->options.sink)
		trace->options.sink->released(trace->options.sink->context);
}

/* ---- The whole ---- */

/* Returns 0 or -errno with ERROR filled. */
static int open_output(struct trace *trace, struct mpu_error *error)
{
	const char *path = trace->options.path;

	trace->fd = -1;
	if (trace->options.sink)
		return 0;
	trace->fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644)
			 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (trace->fd >= 0)
		return 0;
	return mpu_fail(error, errno, "cannot write the trace to %s: %s",
			path ? path : "standard error", strerror(errno));
}

static bool wants_colour(const struct trace *trace)
{
	const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");

	if (trace->options.json || trace->options.sink)
		return !trace->options.json && trace->options.sink->colour;
	return isatty(trace->fd) && !(refused && *refused) && !(terminal && !strcmp(terminal, "dumb"));
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

	if (!trace) {
		mpu_fail(error, ENOMEM, "cannot trace: %s", strerror(ENOMEM));
		return NULL;
	}
	trace->options = *options;
	trace->hooks = (struct trace_hooks){.received = received,
					    .executes = executes,
					    .executed = executed,
					    .answered = answered,
					    .vanished = vanished,
					    .released = released,
					    .context = trace};
	pthread_mutex_init(&trace->lock, NULL);
	held_begin(&trace->held, finish, trace);
	trace_devices_find(&trace->devices, &options->driver, options->dev_root);
	if (open_output(trace, error) || find_names(trace, error)) {
		trace_close(trace);
		return NULL;
	}
	trace->style = (struct line_style){
	    .json = options->json, .colour = wants_colour(trace), .abi = trace->abi};
	return trace;
}

void trace_close(struct trace *trace)
{
	if (!trace)
		return;
	held_end(&trace->held);
	pthread_mutex_destroy(&trace->lock);
	free_readers(trace);
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
	trace->finished = trace->options.sink != NULL;
	if (table.bytes)
		write_out(trace, table.bytes, table.length, true);
	pthread_mutex_unlock(&trace->lock);
}
