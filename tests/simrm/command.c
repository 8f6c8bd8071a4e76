#include "tests/simrm/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { MAX_ARGUMENTS = 16, MIB = 20 };

struct arguments {
	struct {
		const char *key, *value;
	} pair[MAX_ARGUMENTS];
	unsigned count;
	bool bad; /* a value was missing or no number */
};

static const char *text_of(struct arguments *arguments, const char *key)
{
	for (unsigned i = 0; i < arguments->count; i++)
		if (!strcmp(arguments->pair[i].key, key))
			return arguments->pair[i].value;
	return NULL;
}

static uint64_t number_or(struct arguments *arguments, const char *key, uint64_t otherwise)
{
	const char *text = text_of(arguments, key);
	uint64_t value;
	char *end;

	if (!text)
		return otherwise;
	value = strtoull(text, &end, 0);
	if (!*text || *end)
		arguments->bad = true;
	return value;
}

static uint64_t number(struct arguments *arguments, const char *key)
{
	if (!text_of(arguments, key))
		arguments->bad = true;
	return number_or(arguments, key, 0);
}

/* cmd=0x..., cmd=any, cmd=controls */
static uint32_t call_of(struct arguments *arguments)
{
	const char *text = text_of(arguments, "cmd");

	if (text && !strcmp(text, "any"))
		return FAULT_ANY;
	if (text && !strcmp(text, "controls"))
		return FAULT_ANY_CONTROL;
	return (uint32_t)number(arguments, "cmd");
}

static int add_rule(struct driver *driver, struct arguments *arguments, enum fault_kind kind,
		    const char *value)
{
	struct fault_rule rule = {
	    .kind = kind,
	    .cmd = call_of(arguments),
	    .value = value ? (uint32_t)number(arguments, value) : 0,
	    .remaining = (uint32_t)number_or(arguments, "count", UINT32_MAX),
	    .per_mille = (uint32_t)number_or(arguments, "per_mille", 1000),
	    .interruptible = number_or(arguments, "interruptible", 0),
	};

	if (arguments->bad || !rule.remaining)
		return -EINVAL;
	return faults_add(&driver->faults, &rule);
}

static int run_delay(struct driver *driver, struct arguments *arguments)
{
	return add_rule(driver, arguments, FAULT_DELAY, "ms");
}

static int run_fail(struct driver *driver, struct arguments *arguments)
{
	return text_of(arguments, "errno") ? add_rule(driver, arguments, FAULT_ERRNO, "errno")
					   : add_rule(driver, arguments, FAULT_STATUS, "status");
}

static int run_block(struct driver *driver, struct arguments *arguments)
{
	return add_rule(driver, arguments, FAULT_BLOCK, NULL);
}

static int run_kill(struct driver *driver, struct arguments *arguments)
{
	return add_rule(driver, arguments, FAULT_KILL, "signal");
}

static int run_clear(struct driver *driver, struct arguments *arguments)
{
	uint32_t cmd = text_of(arguments, "cmd") ? call_of(arguments) : FAULT_ANY;

	if (arguments->bad)
		return -EINVAL;
	faults_clear(&driver->faults, cmd);
	return 0;
}

static int run_record(struct driver *driver, struct arguments *arguments)
{
	bool on = number(arguments, "on");

	if (arguments->bad)
		return -EINVAL;
	faults_reset_counts(&driver->faults);
	faults_record(&driver->faults, on);
	return 0;
}

static int run_arrivals(struct driver *driver, struct arguments *arguments)
{
	bool on = number(arguments, "on");

	if (arguments->bad)
		return -EINVAL;
	arrivals_start(&driver->arrivals, on);
	return 0;
}

static int run_alarm(struct driver *driver, struct arguments *arguments)
{
	bool on = number(arguments, "on"), lanes = number_or(arguments, "lanes", 0);

	if (arguments->bad)
		return -EINVAL;
	arrivals_alarm(&driver->arrivals, on, lanes);
	return 0;
}

static int run_allow(struct driver *driver, struct arguments *arguments)
{
	uint32_t call = (uint32_t)number(arguments, "number");
	uint32_t mask = (uint32_t)number_or(arguments, "mask", UINT32_MAX);
	enum arrival_from from;
	enum arrival_kind kind;

	if (arguments->bad || arrival_from_name(text_of(arguments, "from"), &from) ||
	    arrival_kind_name(text_of(arguments, "kind"), &kind))
		return -EINVAL;
	return arrivals_allow(&driver->arrivals, from, kind, call, mask);
}

static struct gpu *gpu_of(struct driver *driver, struct arguments *arguments)
{
	uint64_t index = number_or(arguments, "gpu", 0);

	return index < driver->gpus ? &driver->gpu[index] : NULL;
}

static int run_accounting(struct driver *driver, struct arguments *arguments)
{
	struct gpu *gpu = gpu_of(driver, arguments);
	bool on = number(arguments, "on");

	if (arguments->bad || !gpu)
		return -EINVAL;
	gpu->accounting = on;
	if (!on)
		acct_clear(driver, &gpu->live);
	return 0;
}

static int run_dead(struct driver *driver, struct arguments *arguments)
{
	struct gpu *gpu = gpu_of(driver, arguments);
	struct acct_entry record = {
	    .proc_id = (uint32_t)number(arguments, "pid"),
	    .on_gpu = true,
	    .gpu_util = (uint32_t)number_or(arguments, "gpu_util", 0),
	    .fb_util = (uint32_t)number_or(arguments, "fb_util", 0),
	    .max_fb_usage = number_or(arguments, "memory", 0) << MIB,
	    .start_time = number_or(arguments, "start", now_us() - 1000000),
	    .end_time = number_or(arguments, "end", now_us()),
	};

	if (arguments->bad || !gpu)
		return -EINVAL;
	return acct_add_dead(driver, gpu, &record);
}

static int run_session(struct driver *driver, struct arguments *arguments)
{
	struct gpu *gpu = gpu_of(driver, arguments);
	const char *kind = text_of(arguments, "kind");
	struct injected_session *session, **link;
	uint32_t pid = (uint32_t)number(arguments, "pid");

	if (arguments->bad || !gpu || !kind || (strcmp(kind, "nvenc") && strcmp(kind, "nvfbc")))
		return -EINVAL;
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->kind = strcmp(kind, "nvfbc") ? OBJECT_NVENC : OBJECT_NVFBC;
	session->proc_id = pid;
	session->session[0] = driver->next_session++;
	for (link = &gpu->sessions; *link; link = &(*link)->next)
		;
	*link = session;
	return 0;
}

static int run_end_sessions(struct driver *driver, struct arguments *arguments)
{
	struct gpu *gpu = gpu_of(driver, arguments);

	if (!gpu)
		return -EINVAL;
	while (gpu->sessions) {
		struct injected_session *session = gpu->sessions;

		gpu->sessions = session->next;
		free(session);
	}
	return 0;
}

static int run_xid(struct driver *driver, struct arguments *arguments)
{
	struct gpu *gpu = gpu_of(driver, arguments);
	struct xid_report report = {.proc_id = (uint32_t)number(arguments, "pid"),
				    .code = (uint32_t)number_or(arguments, "code", 31),
				    .time = (uint32_t)(now_us() / 1000000)};

	if (arguments->bad || !gpu)
		return -EINVAL;
	if (driver->xids == XID_REPORTS)
		return -ENOSPC;
	report.gpu_id = gpu->gpu_id;
	driver->xid[driver->xids++] = report;
	return 0;
}

static int run_work(struct driver *driver, struct arguments *arguments)
{
	static const char *const names[ENGINES] = {"fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"};
	uint32_t pid = (uint32_t)number(arguments, "pid"), util[ENGINES];
	bool found = false;

	for (unsigned i = 0; i < ENGINES; i++)
		util[i] = (uint32_t)number_or(arguments, names[i], 0);
	if (arguments->bad)
		return -EINVAL;
	for (struct client *client = driver->first_client; client; client = client->next) {
		if (client->proc_id != pid)
			continue;
		memcpy(client->util, util, sizeof(util));
		found = true;
	}
	return found ? 0 : -ESRCH;
}

/* The first group guards itself: its calls may wait. The second runs under the driver's lock. */
static const struct {
	const char *name;
	int (*run)(struct driver *driver, struct arguments *arguments);
	bool locked;
} commands[] = {
    {"delay", run_delay, false},
    {"fail", run_fail, false},
    {"block", run_block, false},
    {"kill", run_kill, false},
    {"clear", run_clear, false},
    {"record", run_record, false},
    {"arrivals", run_arrivals, false},
    {"alarm", run_alarm, false},
    {"allow", run_allow, false},
    {"accounting", run_accounting, true},
    {"dead", run_dead, true},
    {"session", run_session, true},
    {"end-sessions", run_end_sessions, true},
    {"xid", run_xid, true},
    {"work", run_work, true},
};

static int parse(char *line, const char **name, struct arguments *arguments)
{
	char *word;

	*name = NULL;
	while ((word = strsep(&line, " \t"))) {
		char *value = strchr(word, '=');

		if (!*word)
			continue;
		if (!*name) {
			*name = word;
			continue;
		}
		if (!value || arguments->count == MAX_ARGUMENTS)
			return -EINVAL;
		*value++ = '\0';
		arguments->pair[arguments->count].key = word;
		arguments->pair[arguments->count++].value = value;
	}
	return 0;
}

int command_run(struct driver *driver, const char *line)
{
	cleanup_free char *copy = strdup(line);
	struct arguments arguments = {0};
	const char *name;
	int err = copy ? parse(copy, &name, &arguments) : -ENOMEM;

	if (err || !name)
		return err;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		if (commands[i].locked)
			pthread_mutex_lock(&driver->lock);
		err = commands[i].run(driver, &arguments);
		if (commands[i].locked)
			pthread_mutex_unlock(&driver->lock);
		return err;
	}
	return -EINVAL;
}
