#include "tests/simrm/arrivals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char *const from_names[FROM_KINDS] = {"host", "proxy", "target"};
static const char *const kind_names[ARRIVAL_KINDS] = {"escape", "control", "class",
						      "heap",	"memory",  "uvm"};
static const char proxy_name[] = "mpu-proxy";

static int name_index(const char *name, const char *const *names, unsigned count)
{
	for (unsigned i = 0; name && i < count; i++)
		if (!strcmp(name, names[i]))
			return (int)i;
	return -EINVAL;
}

int arrival_from_name(const char *name, enum arrival_from *from)
{
	int index = name_index(name, from_names, FROM_KINDS);

	if (index >= 0)
		*from = (enum arrival_from)index;
	return index < 0 ? index : 0;
}

int arrival_kind_name(const char *name, enum arrival_kind *kind)
{
	int index = name_index(name, kind_names, ARRIVAL_KINDS);

	if (index >= 0)
		*kind = (enum arrival_kind)index;
	return index < 0 ? index : 0;
}

void arrivals_init(struct arrivals *arrivals)
{
	struct stat st;

	pthread_mutex_init(&arrivals->lock, NULL);
	if (!stat("/proc/self/ns/pid", &st)) {
		arrivals->ns_dev = st.st_dev;
		arrivals->ns_ino = st.st_ino;
	}
}

void arrivals_destroy(struct arrivals *arrivals)
{
	pthread_mutex_destroy(&arrivals->lock);
}

static bool is_on(const struct arrivals *arrivals)
{
	return __atomic_load_n(&arrivals->counting, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&arrivals->alarm, __ATOMIC_RELAXED);
}

static pid_t tgid_of(pid_t tid)
{
	char path[48], line[128];
	cleanup_file FILE *file = NULL;
	int tgid = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	file = fopen(path, "re");
	while (file && !tgid && fgets(line, sizeof(line), file))
		if (sscanf(line, "Tgid: %d", &tgid) != 1)
			tgid = 0;
	return tgid;
}

static bool in_own_pid_ns(const struct arrivals *arrivals, pid_t tid)
{
	char path[48];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", tid);
	return !stat(path, &st) && st.st_dev == arrivals->ns_dev && st.st_ino == arrivals->ns_ino;
}

static void read_name(pid_t tgid, char name[16])
{
	char path[48];
	cleanup_file FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", tgid);
	file = fopen(path, "re");
	name[0] = '\0';
	if (file && fgets(name, 16, file))
		name[strcspn(name, "\n")] = '\0';
}

/* Lanes: memory that is shared, may be written and has no name in a file system. */
static void read_lanes(struct arrival_caller *caller)
{
	char path[48], line[512];
	cleanup_file FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/maps", caller->tgid);
	file = fopen(path, "re");
	caller->lanes = 0;
	while (file && caller->lanes < ARRIVAL_LANES && fgets(line, sizeof(line), file)) {
		unsigned long start, end;
		char flags[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, flags) != 3 ||
		    strcmp(flags, "rw-s") != 0 || !strstr(line, "/memfd:"))
			continue;
		caller->lane[caller->lanes].start = start;
		caller->lane[caller->lanes++].end = end;
	}
}

/* The caller of thread TID. A number that was seen before is known to be the same process as long
 * as the kernel finds the thread in it; its name is looked at again where it is no proxy's, which
 * may come yet. The lock is held. */
static struct arrival_caller *find_caller(struct arrivals *arrivals, pid_t tid)
{
	struct arrival_caller *caller = &arrivals->caller[(unsigned)tid % ARRIVAL_CALLERS];

	if (caller->tid == tid && caller->from != FROM_HOST &&
	    !syscall(SYS_tgkill, caller->tgid, tid, 0))
		return caller;
	*caller = (struct arrival_caller){.tid = tid, .tgid = tgid_of(tid)};
	read_name(caller->tgid, caller->name);
	if (!in_own_pid_ns(arrivals, tid))
		caller->from = FROM_TARGET;
	else if (!strcmp(caller->name, proxy_name))
		caller->from = FROM_PROXY;
	return caller;
}

static unsigned hash(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	uint64_t value = a * 0x9e3779b97f4a7c15u;

	value = (value ^ b) * 0xbf58476d1ce4e5b9u;
	value = (value ^ c) * 0x94d049bb133111ebu;
	value = (value ^ d) * 0x9e3779b97f4a7c15u;
	return (unsigned)(value >> 40);
}

static bool is_masked(const struct arrivals *arrivals, enum arrival_from from,
		      enum arrival_kind kind, uint32_t number)
{
	for (unsigned i = 0; i < arrivals->masks; i++)
		if (arrivals->masked[i].from == from && arrivals->masked[i].kind == kind &&
		    arrivals->masked[i].number == (number & arrivals->masked[i].mask))
			return true;
	return false;
}

static bool is_allowed(const struct arrivals *arrivals, enum arrival_from from,
		       enum arrival_kind kind, uint32_t number)
{
	unsigned at = hash(from, kind, number, 0);

	for (;; at++) {
		unsigned slot = at % ARRIVAL_ALLOWED;

		if (!arrivals->allowed[slot].used)
			return is_masked(arrivals, from, kind, number);
		if (arrivals->allowed[slot].from == from && arrivals->allowed[slot].kind == kind &&
		    arrivals->allowed[slot].number == number)
			return true;
	}
}

static void raise_alarm(struct arrivals *arrivals, const struct arrival_breach *breach)
{
	if (arrivals->breaches < ARRIVAL_BREACHES)
		arrivals->breach[arrivals->breaches] = *breach;
	arrivals->breaches++;
}

void arrivals_check(struct arrivals *arrivals, pid_t tid, const struct arrival *call)
{
	const struct arrival_caller *caller;

	if (!__atomic_load_n(&arrivals->alarm, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&arrivals->lock);
	caller = find_caller(arrivals, tid);
	if (!is_allowed(arrivals, caller->from, call->kind, call->number))
		raise_alarm(arrivals, &(struct arrival_breach){
					  .what = "call", .call = *call, .caller = *caller});
	pthread_mutex_unlock(&arrivals->lock);
}

enum { ARRIVAL_LOWEST = 64 << 10 };

static bool in_lane(const struct arrival_caller *caller, uint64_t address, uint64_t size)
{
	/* The kernel lets nobody have memory there (vm.mmap_min_addr): an address that only fails.
	 */
	if (address < ARRIVAL_LOWEST)
		return true;
	for (unsigned i = 0; i < caller->lanes; i++)
		if (address >= caller->lane[i].start && address < caller->lane[i].end &&
		    size <= caller->lane[i].end - address)
			return true;
	return false;
}

void arrivals_memory(struct arrivals *arrivals, pid_t tid, uint64_t address, uint64_t size)
{
	struct arrival_caller *caller;

	if (!__atomic_load_n(&arrivals->lanes, __ATOMIC_RELAXED) || !size)
		return;
	pthread_mutex_lock(&arrivals->lock);
	caller = find_caller(arrivals, tid);
	arrivals->lane_accesses += caller->from == FROM_PROXY;
	if (caller->from == FROM_PROXY && !in_lane(caller, address, size)) {
		read_lanes(caller);
		if (!in_lane(caller, address, size))
			raise_alarm(arrivals, &(struct arrival_breach){.what = "memory",
								       .caller = *caller,
								       .address = address,
								       .size = size});
	}
	pthread_mutex_unlock(&arrivals->lock);
}

static void count(struct arrivals *arrivals, const struct arrival_caller *caller,
		  const struct arrival *call)
{
	unsigned at = hash((uint32_t)caller->tgid, (uint32_t)call->kind << 8 | caller->from,
			   call->number, (uint32_t)call->result);

	for (;; at++) {
		struct arrival_record *record = &arrivals->record[at % ARRIVAL_RECORDS];

		if (!record->count) {
			if (arrivals->records == ARRIVAL_RECORDS / 2) {
				arrivals->unrecorded++;
				return;
			}
			arrivals->records++;
			*record = (struct arrival_record){
			    .call = *call, .from = caller->from, .tgid = caller->tgid};
		}
		if (record->tgid == caller->tgid && record->from == caller->from &&
		    record->call.kind == call->kind && record->call.number == call->number &&
		    record->call.result == call->result) {
			record->count++;
			return;
		}
	}
}

void arrivals_count(struct arrivals *arrivals, pid_t tid, const struct arrival *call)
{
	const struct arrival_caller *caller;

	if (!is_on(arrivals))
		return;
	pthread_mutex_lock(&arrivals->lock);
	arrivals->total++;
	caller = find_caller(arrivals, tid);
	arrivals->sent[caller->from]++;
	count(arrivals, caller, call);
	pthread_mutex_unlock(&arrivals->lock);
}

void arrivals_start(struct arrivals *arrivals, bool on)
{
	pthread_mutex_lock(&arrivals->lock);
	memset(arrivals->record, 0, sizeof(arrivals->record));
	memset(arrivals->caller, 0, sizeof(arrivals->caller));
	arrivals->records = 0;
	memset(arrivals->sent, 0, sizeof(arrivals->sent));
	arrivals->total = arrivals->unrecorded = 0;
	__atomic_store_n(&arrivals->counting, on, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&arrivals->lock);
}

void arrivals_alarm(struct arrivals *arrivals, bool on, bool lanes)
{
	pthread_mutex_lock(&arrivals->lock);
	arrivals->breaches = arrivals->lane_accesses = 0;
	if (!on) {
		memset(arrivals->allowed, 0, sizeof(arrivals->allowed));
		arrivals->allowances = arrivals->masks = 0;
	}
	__atomic_store_n(&arrivals->alarm, on, __ATOMIC_RELAXED);
	__atomic_store_n(&arrivals->lanes, on && lanes, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&arrivals->lock);
}

int arrivals_allow(struct arrivals *arrivals, enum arrival_from from, enum arrival_kind kind,
		   uint32_t number, uint32_t mask)
{
	unsigned at = hash(from, kind, number, 0);
	int err = 0;

	pthread_mutex_lock(&arrivals->lock);
	if (is_allowed(arrivals, from, kind, number)) {
		; /* said twice */
	} else if (mask != UINT32_MAX && arrivals->masks < ARRIVAL_MASKED) {
		arrivals->masked[arrivals->masks].from = from;
		arrivals->masked[arrivals->masks].kind = kind;
		arrivals->masked[arrivals->masks].number = number;
		arrivals->masked[arrivals->masks++].mask = mask;
	} else if (mask != UINT32_MAX || arrivals->allowances == ARRIVAL_ALLOWED / 2) {
		err = -ENOSPC;
	} else {
		while (arrivals->allowed[at % ARRIVAL_ALLOWED].used)
			at++;
		arrivals->allowed[at % ARRIVAL_ALLOWED].used = true;
		arrivals->allowed[at % ARRIVAL_ALLOWED].from = from;
		arrivals->allowed[at % ARRIVAL_ALLOWED].kind = kind;
		arrivals->allowed[at % ARRIVAL_ALLOWED].number = number;
		arrivals->allowances++;
	}
	pthread_mutex_unlock(&arrivals->lock);
	return err;
}

static void write_call(FILE *out, enum arrival_from from, pid_t tgid, const struct arrival *call)
{
	fprintf(out, "\"from\":\"%s\",\"tgid\":%d,\"kind\":\"%s\",\"number\":\"0x%08x\",",
		from_names[from], tgid, kind_names[call->kind], call->number);
}

static void write_breach(FILE *out, const struct arrival_breach *breach)
{
	char name[sizeof(breach->caller.name)];

	memcpy(name, breach->caller.name, sizeof(name));
	for (char *at = name; *at; at++)
		if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\')
			*at = '?';
	fprintf(out, "{\"what\":\"%s\",", breach->what);
	write_call(out, breach->caller.from, breach->caller.tgid, &breach->call);
	fprintf(out, "\"name\":\"%s\",\"address\":\"0x%llx\",\"size\":%llu}", name,
		(unsigned long long)breach->address, (unsigned long long)breach->size);
}

void arrivals_write(struct arrivals *arrivals, FILE *out)
{
	bool first = true;

	pthread_mutex_lock(&arrivals->lock);
	fputs("{\"sent\":{", out);
	for (unsigned i = 0; i < FROM_KINDS; i++)
		fprintf(out, "%s\"%s\":%llu", i ? "," : "", from_names[i],
			(unsigned long long)arrivals->sent[i]);
	fprintf(out,
		"},\"total\":%llu,\"unrecorded\":%llu,\"allowed\":%u,\"lane_accesses\":%llu,"
		"\"breaches\":%llu,\"breach\":[",
		(unsigned long long)arrivals->total, (unsigned long long)arrivals->unrecorded,
		arrivals->allowances, (unsigned long long)arrivals->lane_accesses,
		(unsigned long long)arrivals->breaches);
	for (unsigned i = 0; i < ARRIVAL_BREACHES && i < arrivals->breaches; i++) {
		fputs(i ? ",\n" : "\n", out);
		write_breach(out, &arrivals->breach[i]);
	}
	fputs("],\"calls\":[", out);
	for (unsigned i = 0; i < ARRIVAL_RECORDS; i++) {
		const struct arrival_record *record = &arrivals->record[i];

		if (!record->count)
			continue;
		fputs(first ? "\n{" : ",\n{", out);
		first = false;
		write_call(out, record->from, record->tgid, &record->call);
		fprintf(out, "\"result\":%d,\"count\":%llu}", record->call.result,
			(unsigned long long)record->count);
	}
	fputs("]}\n", out);
	pthread_mutex_unlock(&arrivals->lock);
}
