/* What mpud is and does, told from inside its worker. */
#include "supervisor/mpud/control.h"

#include "base/cleanup.h"
#include "supervisor/confine/proxies.h"
#include "supervisor/confine/refuse.h"
#include "supervisor/kernel/notify.h"

#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

static void add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_uint64(value));
}

static void add_bool(struct json_object *object, const char *name, bool value)
{
	json_object_object_add(object, name, json_object_new_boolean(value));
}

/* ---- The driver, the kernel, the settings ---- */

static struct json_object *driver_json(const struct engine_options *options)
{
	static const char *const matches[] = {[NVABI_MATCH_EXACT] = "exact",
					      [NVABI_MATCH_NEIGHBOUR] = "neighbour",
					      [NVABI_MATCH_BRANCH] = "branch"};
	static const char *const spaces[] = {[NVABI_GLOBAL] = "global",
					     [NVABI_CALLER_NS] = "caller",
					     [NVABI_CALLER_NS_PARTIAL] = "caller, partly",
					     [NVABI_MIXED] = "mixed"};
	const struct nvabi_pids *pids = &options->pids;
	struct json_object *driver = json_object_new_object();
	struct json_object *native = json_object_new_object();
	char text[NVABI_VERSION_TEXT];

	add_text(driver, "version", nvabi_version_format(&pids->running, text));
	add_text(driver, "release", nvabi_version_format(&pids->release, text));
	add_text(driver, "match", matches[pids->match]);
	add_bool(driver, "named_by_option", options->driver.named);
	add_bool(driver, "can_confine", nvabi_policy_knows_branch(&pids->running));
	add_text(driver, "records", pids->semantics.kind == NVABI_TID ? "threads" : "processes");
	add_text(native, "lists", spaces[pids->semantics.get_pids]);
	add_text(native, "memory", spaces[pids->semantics.get_pid_info]);
	add_text(native, "utilisation", spaces[pids->semantics.util_samples]);
	add_text(native, "accounting", spaces[pids->semantics.accounting]);
	json_object_object_add(driver, "pids_natively", native);
	return driver;
}

static struct json_object *kernel_json(const struct engine_options *options)
{
	struct json_object *kernel = json_object_new_object();
	int sync = notify_has_sync_wake_up();
	struct utsname name;

	uname(&name);
	add_text(kernel, "release", name.release);
	add_text(kernel, "pid_lookup", options->pid_lookup == PIDMAP_NSFS ? "nsfs" : "nspid");
	add_bool(kernel, "pidfd_thread", options->use_pidfd_thread);
	/* Not known before there was a listener. */
	json_object_object_add(kernel, "sync_wake_up",
			       sync < 0 ? NULL : json_object_new_boolean(sync));
	return kernel;
}

static void add_settings(struct json_object *object, const struct mpu_settings *settings)
{
	static const char *const views[] = {
	    [MPU_VIEW_CONTAINER] = "container", [MPU_VIEW_HOST] = "host"};
	static const char *const policies[] = {
	    [MPU_POLICY_AUTO] = "auto", [MPU_POLICY_ALWAYS] = "always", [MPU_POLICY_OFF] = "off"};

	char confine[MPU_CONFINE_TEXT];

	add_text(object, "view", views[settings->view]);
	add_text(object, "policy", policies[settings->policy]);
	add_text(object, "shared_pids", settings->deny_shared_pids ? "deny" : "allow");
	add_text(object, "confine",
		 settings->confine ? mpu_confine_words(settings->confine, confine) : "off");
}

/* ---- Containers ---- */

/* Notifications in flight, for each listener. */
static void count_in_flight(struct journal *journal, uint32_t count[JOURNAL_LISTENERS])
{
	memset(count, 0, JOURNAL_LISTENERS * sizeof(count[0]));
	for (uint32_t i = 0; i < JOURNAL_SLOTS; i++) {
		const struct journal_slot *slot = journal_slot(journal, i);
		uint32_t phase = atomic_load(&slot->phase);

		if (phase >= JOURNAL_RECEIVED && slot->listener < JOURNAL_LISTENERS)
			count[slot->listener]++;
	}
}

void control_add_about(struct json_object *object, const char *about)
{
	while (*about) {
		const char *value = strchr(about, '='), *end = strchr(about, '\n');
		char name[32];

		if (!value || !end || value > end || value - about >= (int)sizeof(name))
			return;
		memcpy(name, about, (size_t)(value - about));
		name[value - about] = '\0';
		json_object_object_add(
		    object, name, json_object_new_string_len(value + 1, (int)(end - value - 1)));
		about = end + 1;
	}
}

static struct json_object *new_container(const struct journal_listener *entry)
{
	struct json_object *container = json_object_new_object();

	add_text(container, "id", entry->label);
	control_add_about(container, entry->about);
	json_object_object_add(container, "pid", json_object_new_int(entry->pid));
	add_number(container, "since", entry->since);
	add_settings(container, &entry->settings);
	return container;
}

static void add_to(struct json_object *container, const char *name, uint64_t value)
{
	struct json_object *member;

	if (json_object_object_get_ex(container, name, &member))
		value += json_object_get_uint64(member);
	add_number(container, name, value);
}

/* One container may have several listeners: one a process that was started in it. */
static struct json_object *containers_json(struct journal *journal, uint32_t *listeners)
{
	struct json_object *by_label = json_object_new_object();
	struct json_object *list = json_object_new_array();
	uint32_t in_flight[JOURNAL_LISTENERS];

	*listeners = 0;
	count_in_flight(journal, in_flight);
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		const struct journal_listener *entry = journal_listener(journal, i);
		uint32_t state = atomic_load(&entry->state);
		struct json_object *container;

		if (state != JOURNAL_LISTENER_HELD && state != JOURNAL_LISTENER_PENDING)
			continue;
		++*listeners;
		if (!json_object_object_get_ex(by_label, entry->label, &container)) {
			container = new_container(entry);
			json_object_object_add(by_label, entry->label, container);
			json_object_array_add(list, json_object_get(container));
		}
		add_to(container, "listeners", 1);
		add_to(container, "in_flight", in_flight[i]);
		add_to(container, "quarantined", atomic_load(&entry->quarantined));
	}
	json_object_put(by_label);
	return list;
}

/* ---- All of it ---- */

static struct json_object *workers_json(const struct journal_header *header)
{
	struct json_object *workers = json_object_new_object();

	add_number(workers, "started", header->workers);
	add_number(workers, "replaced", header->replacements);
	add_number(workers, "crashed", header->crashes);
	add_number(workers, "hung", header->hangs);
	return workers;
}

/* Who stands for whom at the driver. */
static struct json_object *live_proxies_json(struct journal *journal)
{
	struct json_object *proxies = json_object_new_array();

	for (uint32_t i = 0; i < JOURNAL_PROXIES; i++) {
		const struct journal_proxy *proxy = journal_proxy(journal, i);
		struct json_object *one;

		if (atomic_load(&proxy->state) != JOURNAL_PROXY_LIVE)
			continue;
		one = json_object_new_object();
		add_number(one, "pid", (uint64_t)proxy->proxy.pid);
		add_number(one, "target", (uint64_t)proxy->target.pid);
		add_number(one, "uid", proxy->uid);
		json_object_array_add(proxies, one);
	}
	return proxies;
}

struct json_object *control_status(const struct control *control)
{
	const struct worker_start *start = control->start;
	const struct journal_header *header = journal_header(start->journal);
	struct json_object *status = json_object_new_object();
	struct json_object *settings = json_object_new_object();
	struct json_object *processes = json_object_new_array();
	struct json_object *containers;
	uint32_t listeners;

	containers = containers_json(start->journal, &listeners);
	add_text(status, "version", MPU_VERSION);
	add_text(status, "socket", start->socket);
	json_object_object_add(status, "driver", driver_json(control->options));
	json_object_object_add(status, "kernel", kernel_json(control->options));
	add_settings(settings, &start->options->settings);
	add_bool(settings, "sandbox", start->sandbox != NULL);
	json_object_object_add(status, "settings", settings);
	json_object_array_add(processes, control_process("keeper", header->keeper.pid, listeners));
	json_object_array_add(processes, control_process("worker", getpid(), listeners));
	json_object_object_add(status, "processes", processes);
	json_object_object_add(status, "workers", workers_json(header));
	add_number(status, "listeners", listeners);
	add_number(status, "listeners_max", JOURNAL_LISTENERS);
	json_object_object_add(status, "containers", containers);
	json_object_object_add(status, "proxies", live_proxies_json(start->journal));
	return status;
}

static struct json_object *control_json(const struct engine_stats *stats, uint32_t index)
{
	const uint32_t *took = stats->control[index].took;
	uint64_t count = stats->control[index].count;
	struct json_object *one = json_object_new_object();

	add_number(one, "cmd", stats->control[index].cmd);
	add_text(one, "name", stats->control[index].name);
	add_number(one, "count", count);
	add_number(one, "mean_ns", count ? stats->control[index].nanoseconds / count : 0);
	add_number(one, "p50_ns", latency_within(took, 500));
	add_number(one, "p99_ns", latency_within(took, 990));
	add_number(one, "max_ns", latency_within(took, 1000));
	return one;
}

static struct json_object *refused_json(const struct journal_refused *row, struct nvabi_abi *abi)
{
	const char *name = refused_name(abi, row->kind, row->number);
	struct json_object *one = json_object_new_object();

	add_text(one, "container", row->label);
	add_text(one, "kind", refused_kind_name(row->kind));
	add_number(one, "number", row->number);
	add_text(one, "name", name ? name : "");
	add_number(one, "count", row->count);
	return one;
}

static struct json_object *proxies_json(struct journal *journal)
{
	struct json_object *proxies = json_object_new_object();
	struct proxies_stats stats;

	proxies_stats(journal, &stats);
	add_number(proxies, "live", stats.live);
	add_number(proxies, "started", stats.started);
	add_number(proxies, "lost", stats.lost);
	return proxies;
}

/* Of confined containers. */
static struct json_object *confined_json(const struct control *control,
					 const struct engine_stats *stats)
{
	struct json_object *confined = json_object_new_object();
	struct json_object *refused = json_object_new_array();
	cleanup_free struct journal_refused *rows = calloc(JOURNAL_REFUSED, sizeof(*rows));
	struct journal *journal = control->start->journal;
	struct nvabi_abi *abi = NULL;
	uint64_t forgotten = 0, sum = 0;
	uint32_t count = rows ? refused_rows(journal, rows, &forgotten) : 0;

	if (count)
		nvabi_abi_open(&control->options->pids.running, &abi);
	for (uint32_t i = 0; i < count; i++) {
		sum += rows[i].count;
		json_object_array_add(refused, refused_json(&rows[i], abi));
	}
	nvabi_abi_close(abi);
	add_number(confined, "executed", stats->executed);
	add_number(confined, "continued", stats->continued);
	add_number(confined, "refused", sum + forgotten);
	add_number(confined, "forgotten", forgotten);
	json_object_object_add(confined, "calls", refused);
	json_object_object_add(confined, "proxies", proxies_json(journal));
	return confined;
}

struct json_object *control_stats(const struct control *control)
{
	struct json_object *answer = json_object_new_object();
	struct json_object *controls = json_object_new_array();
	struct engine_stats stats;

	engine_stats(control->engine, &stats);
	add_number(answer, "received", stats.received);
	add_number(answer, "passed", stats.passed);
	add_number(answer, "handled", stats.handled);
	add_number(answer, "vanished", stats.vanished);
	add_number(answer, "unreadable", stats.unreadable);
	add_number(answer, "retried", stats.retried);
	add_number(answer, "refused", stats.refused);
	add_number(answer, "taken_up", stats.taken_up);
	add_number(answer, "taken_over", stats.taken_over);
	add_number(answer, "listeners", stats.listeners);
	for (uint32_t i = 0; i < stats.control_count; i++)
		if (stats.control[i].count)
			json_object_array_add(controls, control_json(&stats, i));
	json_object_object_add(answer, "controls", controls);
	json_object_object_add(answer, "confined", confined_json(control, &stats));
	return answer;
}
