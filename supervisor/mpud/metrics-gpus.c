/* A driver may take its time, or never answer: it is asked on a thread of its own, and at most as
 * often as its last answer gets old. */
#include "supervisor/mpud/metrics.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/gpus/census.h"
#include "supervisor/gpus/whose.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { FRESH_MS = 5000, PATIENCE_MS = 2000, USELESS_MS = 60000 };

/* What the processes of one container (or of the host) have on one GPU. */
struct row {
	const struct census_gpu *gpu;
	struct whose whose;
	uint64_t processes, memory;
};

struct rows {
	struct row *row;
	size_t count;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wanted, answered;
	struct journal *journal;
	const struct sandbox *sandbox;
	struct census_source source;
	bool wants; /* somebody waits */
	char *text; /* of the last answer, or NULL */
	int64_t text_ms;
} gpus = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The thread that asks ---- */

static struct known_container *find_known(struct journal *journal, size_t *count)
{
	struct known_container *known = NULL;

	*count = 0;
	for (uint32_t i = 0; i < JOURNAL_LISTENERS; i++) {
		const struct journal_listener *entry = journal_listener(journal, i);
		uint32_t state = atomic_load(&entry->state);
		struct known_container *more;

		if (state != JOURNAL_LISTENER_HELD && state != JOURNAL_LISTENER_PENDING)
			continue;
		more = realloc(known, (*count + 1) * sizeof(*known));
		if (!more)
			break;
		known = more;
		more += (*count)++;
		*more = (struct known_container){.pid = entry->pid};
		snprintf(more->id, sizeof(more->id), "%.*s", JOURNAL_LABEL - 1, entry->label);
		whose_read_about(more, entry->about);
		whose_look_up(more);
	}
	return known;
}

static void add_process(struct rows *rows, const struct census_gpu *gpu,
			const struct census_process *process, const struct whose *whose)
{
	struct row *row = rows->row, *end = row + rows->count;

	while (row < end && (row->gpu != gpu || strcmp(row->whose.id, whose->id) != 0))
		row++;
	if (row == end) {
		row = realloc(rows->row, (rows->count + 1) * sizeof(*row));
		if (!row)
			return;
		rows->row = row;
		row += rows->count++;
		*row = (struct row){.gpu = gpu, .whose = *whose};
	}
	row->processes++;
	row->memory += process->memory;
}

static void write_row(FILE *out, const char *name, const struct row *row, uint64_t value)
{
	const struct known_container *known = row->whose.known;
	const char *pod = known && *known->pod ? known->pod : row->whose.pod;
	char index[12];

	snprintf(index, sizeof(index), "%u", row->gpu->place.index);
	fprintf(out, "%s{", name);
	metrics_write_label(out, true, "gpu", index);
	metrics_write_label(out, false, "uuid", row->gpu->uuid);
	metrics_write_label(out, false, "container", row->whose.id);
	metrics_write_label(out, false, "name", known ? known->name : "");
	metrics_write_label(out, false, "pod", pod);
	metrics_write_label(out, false, "namespace", known ? known->namespace : "");
	metrics_write_label(out, false, "served", known ? "true" : "false");
	fprintf(out, "} %" PRIu64 "\n", value);
}

static void write_rows(FILE *out, const struct rows *rows)
{
	metrics_write_head(out, "mpu_gpu_processes", "gauge",
			   "Processes on a GPU, by container; an empty one is the host.");
	for (size_t i = 0; i < rows->count; i++)
		write_row(out, "mpu_gpu_processes", &rows->row[i], rows->row[i].processes);
	metrics_write_head(out, "mpu_gpu_memory_bytes", "gauge",
			   "GPU memory of a container's processes.");
	for (size_t i = 0; i < rows->count; i++)
		write_row(out, "mpu_gpu_memory_bytes", &rows->row[i], rows->row[i].memory);
}

static void write_census(FILE *out, const struct census *census)
{
	struct rows rows = {.row = NULL};
	size_t count;
	cleanup_free struct known_container *known = find_known(gpus.journal, &count);

	for (size_t i = 0; i < census->count; i++)
		for (size_t j = 0; j < census->gpu[i].count; j++) {
			struct whose whose;

			whose_find(census->gpu[i].process[j].pid, known, count, &whose);
			add_process(&rows, &census->gpu[i], &census->gpu[i].process[j], &whose);
		}
	write_rows(out, &rows);
	free(rows.row);
}

/* Returns the text, which the caller frees; NULL where the driver gave no answer. */
static char *ask_driver(void)
{
	cleanup_census struct census census = {.count = 0};
	static bool has_complained;
	struct mpu_error error = {0};
	char *text = NULL;
	size_t size;
	FILE *out;

	if (census_take(&census, &gpus.source, &error)) {
		if (!has_complained)
			log_warning("metrics lack who uses the GPUs", "error=\"%s\"", error.text);
		has_complained = true;
		return NULL;
	}
	has_complained = false;
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	write_census(out, &census);
	fclose(out);
	return text;
}

static void *gpus_thread(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "mpu-census");
	sandbox_enter_thread(gpus.sandbox, SANDBOX_METRICS);
	pthread_mutex_lock(&gpus.lock);
	for (;;) {
		char *text;

		while (!gpus.wants)
			pthread_cond_wait(&gpus.wanted, &gpus.lock);
		pthread_mutex_unlock(&gpus.lock);
		text = ask_driver();
		pthread_mutex_lock(&gpus.lock);
		free(gpus.text);
		gpus.text = text;
		gpus.text_ms = now_ms();
		gpus.wants = false;
		pthread_cond_broadcast(&gpus.answered);
	}
	return NULL;
}

/* ---- Who wants it ---- */

static bool is_fresh(int64_t now)
{
	return gpus.text_ms && now - gpus.text_ms < FRESH_MS;
}

static void wait_for_answer(void)
{
	int64_t until = now_ms() + PATIENCE_MS;
	struct timespec end = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

	gpus.wants = true;
	pthread_cond_signal(&gpus.wanted);
	while (gpus.wants && !pthread_cond_timedwait(&gpus.answered, &gpus.lock, &end))
		;
}

void metrics_gpus_write(FILE *out)
{
	bool answers;

	pthread_mutex_lock(&gpus.lock);
	if (!is_fresh(now_ms()))
		wait_for_answer();
	answers = gpus.text && !gpus.wants;
	metrics_write_head(out, "mpu_driver_answers", "gauge",
			   "Whether the driver tells in time who uses the GPUs.");
	fprintf(out, "mpu_driver_answers %d\n", answers);
	if (gpus.text && now_ms() - gpus.text_ms < USELESS_MS) {
		metrics_write_head(out, "mpu_driver_answer_age_seconds", "gauge",
				   "How old what it told is.");
		fprintf(out, "mpu_driver_answer_age_seconds %.3f\n",
			(double)(now_ms() - gpus.text_ms) / 1e3);
		fputs(gpus.text, out);
	}
	pthread_mutex_unlock(&gpus.lock);
}

int metrics_gpus_start(const struct worker_start *start, const struct engine_options *options)
{
	pthread_condattr_t monotonic;
	pthread_t thread;
	int result;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&gpus.answered, &monotonic);
	pthread_cond_init(&gpus.wanted, &monotonic);
	gpus.journal = start->journal;
	gpus.sandbox = start->sandbox;
	gpus.source = (struct census_source){.driver = options->driver,
					     .dev_root = start->options->dev_root,
					     .roster = journal_roster(start->journal),
					     .journal = start->journal,
					     .pids = options->pids};
	result = pthread_create(&thread, NULL, gpus_thread, NULL);
	if (!result)
		pthread_detach(thread);
	return result;
}
