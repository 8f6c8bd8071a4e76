/* The true state as JSON: what tests compare answers with. */
#include <stdio.h>

#include "tests/simrm/driver.h"

static const char *const engine_names[ENGINES] = {"fb", "gr", "nvenc", "nvdec", "nvjpg", "nvofa"};

static void write_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", *text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void write_numbers(FILE *out, const char *key, const uint32_t *number, unsigned count)
{
	fprintf(out, "\"%s\":[", key);
	for (unsigned i = 0; i < count; i++)
		fprintf(out, "%s%u", i ? "," : "", number[i]);
	fputc(']', out);
}

static void write_client(const struct driver *driver, const struct client *client, FILE *out)
{
	uint64_t memory = 0;
	bool first = true;

	fprintf(out, "{\"handle\":\"0x%08x\",\"tgid\":%u,\"tid\":%d,\"euid\":%u,\"admin\":%s,",
		client->handle, client->proc_id, client->task.tid, client->task.euid,
		client->task.admin ? "true" : "false");
	fputs("\"name\":", out);
	write_string(out, client->task.name);
	fputc(',', out);
	write_numbers(out, "ns_tgid", client->task.ns_tgid, client->task.levels);
	fputc(',', out);
	write_numbers(out, "ns_tid", client->task.ns_tid, client->task.levels);
	fputs(",\"util\":{", out);
	for (unsigned i = 0; i < ENGINES; i++)
		fprintf(out, "%s\"%s\":%u", i ? "," : "", engine_names[i], client->util[i]);
	fputs("},\"objects\":[", out);
	for (const struct object *object = client->objects; object; object = object->next) {
		memory += object->kind == OBJECT_MEMORY ? object->size : 0;
		fprintf(out,
			"%s{\"handle\":\"0x%08x\",\"parent\":\"0x%08x\",\"class\":%u,\"gpu\":%d,"
			"\"bytes\":%llu",
			first ? "" : ",", object->handle, object->parent, object->class_id,
			object->gpu, (unsigned long long)object->size);
		if (object->pinned.tgid)
			fprintf(out,
				",\"pinned\":{\"tgid\":%d,\"address\":\"0x%llx\","
				"\"first\":\"0x%llx\"}",
				object->pinned.tgid, (unsigned long long)object->pinned.address,
				(unsigned long long)object->pinned.first);
		fputc('}', out);
		first = false;
	}
	fputs("],\"mappings\":[", out);
	for (const struct mapping *at = client->mappings; at; at = at->next)
		fprintf(out, "{\"memory\":\"0x%08x\",\"bytes\":%llu,\"tgid\":%d}%s", at->memory,
			(unsigned long long)at->size, at->tgid, at->next ? "," : "");
	fprintf(out, "],\"memory\":%llu}", (unsigned long long)memory);
	(void)driver;
}

static void write_accounts(const char *key, const struct acct_list *list, FILE *out)
{
	fprintf(out, "\"%s\":[", key);
	for (const struct acct_entry *entry = list->head; entry; entry = entry->next)
		fprintf(out,
			"%s{\"tgid\":%u,\"on_gpu\":%s,\"gpu_util\":%u,\"fb_util\":%u,"
			"\"max_memory\":%llu,\"start\":%llu,\"end\":%llu}",
			entry == list->head ? "" : ",", entry->proc_id,
			entry->on_gpu ? "true" : "false", entry->gpu_util, entry->fb_util,
			(unsigned long long)entry->max_fb_usage,
			(unsigned long long)entry->start_time, (unsigned long long)entry->end_time);
	fputc(']', out);
}

static void write_gpu(const struct gpu *gpu, FILE *out)
{
	bool first = true;

	fprintf(out, "{\"gpu_id\":%u,\"memory\":%llu,\"accounting\":%s,", gpu->gpu_id,
		(unsigned long long)gpu->memory, gpu->accounting ? "true" : "false");
	write_accounts("live", &gpu->live, out);
	fputc(',', out);
	write_accounts("dead", &gpu->dead, out);
	fputs(",\"injected_sessions\":[", out);
	for (const struct injected_session *at = gpu->sessions; at; at = at->next) {
		fprintf(out, "%s{\"kind\":\"%s\",\"tgid\":%u,\"session\":%u}", first ? "" : ",",
			at->kind == OBJECT_NVFBC ? "nvfbc" : "nvenc", at->proc_id, at->session[0]);
		first = false;
	}
	fputs("]}", out);
}

static void write_contexts(const struct driver *driver, FILE *out)
{
	bool first = true;

	for (const struct sim_file *at = driver->files; at; at = at->next) {
		if (!at->mmap_context.size)
			continue;
		fprintf(out, "%s{\"client\":\"0x%08x\",\"memory\":\"0x%08x\",\"tgid\":%d}",
			first ? "" : ",", at->mmap_context.client, at->mmap_context.memory,
			at->mmap_context.tgid);
		first = false;
	}
}

void driver_write_state(struct driver *driver, FILE *out)
{
	static const char *const spaces[] = {"global", "caller_ns", "caller_ns_partial", "mixed"};
	const struct release *release = &driver->release;

	pthread_mutex_lock(&driver->lock);
	fprintf(out,
		"{\"version\":\"%s\",\"get_pids\":\"%s\",\"get_pid_info\":\"%s\",\"util\":\"%s\","
		"\"accounting\":\"%s\",\"kind\":\"%s\",\"opens\":%llu,\"releases\":%llu,",
		release->text, spaces[release->get_pids], spaces[release->get_pid_info],
		spaces[release->util], spaces[release->accounting],
		release->kind == KIND_TID ? "tid" : "tgid", (unsigned long long)driver->opens,
		(unsigned long long)driver->releases);
	fputs("\"gpus\":[", out);
	for (unsigned i = 0; i < driver->gpus; i++) {
		fputs(i ? ",\n" : "\n", out);
		write_gpu(&driver->gpu[i], out);
	}
	fputs("],\"clients\":[", out);
	for (const struct client *client = driver->first_client; client; client = client->next) {
		fputs(client == driver->first_client ? "\n" : ",\n", out);
		write_client(driver, client, out);
	}
	fputs("],\"events\":[", out);
	for (const struct os_event *at = driver->events; at; at = at->next)
		fprintf(out, "%s{\"client\":\"0x%08x\",\"fd\":%u}", at == driver->events ? "" : ",",
			at->client, at->fd);
	fputs("],\"mmap_contexts\":[", out);
	write_contexts(driver, out);
	fputs("]}\n", out);
	pthread_mutex_unlock(&driver->lock);
}
