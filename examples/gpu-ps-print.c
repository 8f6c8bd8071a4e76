#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "examples/gpu-ps.h"

static void print_result(int result)
{
	if (result < 0)
		printf("\"errno\":%d,\"status\":0", -result);
	else
		printf("\"errno\":0,\"status\":%d", result);
}

static void print_numbers(const char *key, const uint32_t *number, uint32_t count)
{
	printf(",\"%s\":[", key);
	for (uint32_t i = 0; i < count; i++)
		printf("%s%u", i ? "," : "", number[i]);
	putchar(']');
}

static void print_lists(const struct ps_gpu *gpu, const struct ps_options *options)
{
	fputs("\"get_pids\":[", stdout);
	for (unsigned i = 0; i < options->classes; i++) {
		const struct ps_list *list = &gpu->list[i];
		uint32_t count = list->params->pidTblCount;

		printf("%s{\"class\":%u,", i ? "," : "", list->class_id);
		print_result(list->result);
		printf(",\"count\":%u", count);
		print_numbers("pids", list->params->pidTbl, count < PS_PIDS ? count : PS_PIDS);
		putchar('}');
	}
	putchar(']');
}

static void print_pid_infos(const struct ps_gpu *gpu)
{
	fputs(",\n\"get_pid_info\":{", stdout);
	print_result(gpu->pid_info_result);
	fputs(",\"entries\":[", stdout);
	for (unsigned i = 0; i < gpu->pid_infos; i++) {
		const struct pid_info *info = &gpu->pid_info[i];

		printf("%s{\"pid\":%u,\"index\":%u,\"result\":%u,\"private\":%llu,\"owned\":%llu,"
		       "\"duped\":%llu,\"compute_instance\":%u,\"gpu_instance\":%u}",
		       i ? "," : "", info->pid, info->index, info->result,
		       (unsigned long long)info->memPrivate,
		       (unsigned long long)info->memSharedOwned,
		       (unsigned long long)info->memSharedDuped, info->computeInstanceId,
		       info->gpuInstanceId);
	}
	fputs("]}", stdout);
}

static void print_samples(const char *key, const struct ps_samples *samples)
{
	bool first = true;

	printf(",\n\"%s\":{", key);
	print_result(samples->result);
	printf(",\"count\":%u,\"tracker\":%u,\"samples\":[", samples->count, samples->tracker);
	for (unsigned i = 0; samples->sample && i < samples->samples; i++) {
		const struct ps_sample *sample = &samples->sample[i];

		if (!sample->timestamp)
			continue;
		printf("%s{\"at\":%u,\"timestamp\":%llu", first ? "" : ",", i,
		       (unsigned long long)sample->timestamp);
		for (unsigned engine = 0; engine < samples->engines; engine++) {
			const struct ps_engine *part = &sample->engine[engine];

			printf(",\"%s\":{\"util\":%u,\"pid\":%u,\"sub_pid\":%u,"
			       "\"os_pid_info\":\"0x%llx\"}",
			       rm_engine_names[engine], part->util, part->pid, part->sub_pid,
			       (unsigned long long)part->os_pid_info);
		}
		putchar('}');
		first = false;
	}
	fputs("]}", stdout);
}

static void print_accounting(const struct ps_gpu *gpu)
{
	fputs(",\n\"accounting\":{\"state\":{", stdout);
	print_result(gpu->acct_state_result);
	printf(",\"enabled\":%u},\"pids\":{", gpu->acct_state);
	print_result(gpu->acct_pids_result);
	print_numbers("pids", gpu->acct_pids->pidTbl, gpu->acct_pids->pidCount);
	fputs("},\"processes\":[", stdout);
	for (unsigned i = 0; i < gpu->accounts; i++) {
		const struct ps_account *account = &gpu->account[i];

		printf("%s{\"asked\":%u,", i ? "," : "", account->asked);
		print_result(account->result);
		printf(",\"pid\":%u,\"gpu_util\":%u,\"fb_util\":%u,\"max_memory\":%llu,"
		       "\"start\":%llu,\"end\":%llu}",
		       account->info.pid, account->info.gpuUtil, account->info.fbUtil,
		       (unsigned long long)account->info.maxFbUsage,
		       (unsigned long long)account->info.startTime,
		       (unsigned long long)account->info.endTime);
	}
	fputs("]}", stdout);
}

static void print_nvenc(const char *key, int result, const struct nvenc_sessions_v2 *sessions)
{
	printf(",\n\"%s\":{", key);
	print_result(result);
	fputs(",\"sessions\":[", stdout);
	for (uint32_t i = 0; !result && i < sessions->sessionInfoTblEntry &&
			     i < NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES;
	     i++)
		printf("%s{\"pid\":%u,\"sub_pid\":%u,\"session\":%u,\"codec\":%u,\"width\":%u,"
		       "\"height\":%u}",
		       i ? "," : "", sessions->sessionInfoTbl[i].processId,
		       sessions->sessionInfoTbl[i].subProcessId,
		       sessions->sessionInfoTbl[i].sessionId, sessions->sessionInfoTbl[i].codecType,
		       sessions->sessionInfoTbl[i].hResolution,
		       sessions->sessionInfoTbl[i].vResolution);
	fputs("]}", stdout);
}

static void print_nvfbc(int result, const struct nvfbc_sessions *sessions)
{
	fputs(",\n\"nvfbc\":{", stdout);
	print_result(result);
	fputs(",\"sessions\":[", stdout);
	for (uint32_t i = 0;
	     !result && i < sessions->sessionInfoCount && i < NV2080_GPU_NVFBC_MAX_SESSION_COUNT;
	     i++)
		printf(
		    "%s{\"pid\":%u,\"sub_pid\":%u,\"session\":%u,\"type\":%u}", i ? "," : "",
		    sessions->sessionInfoTbl[i].processId, sessions->sessionInfoTbl[i].subProcessId,
		    sessions->sessionInfoTbl[i].sessionId, sessions->sessionInfoTbl[i].sessionType);
	fputs("]}", stdout);
}

void ps_print_json(const struct rm *rm, const struct ps_gpu *gpus, unsigned count,
		   const struct ps_options *options)
{
	printf("{\"driver\":\"%s\",\"own_pid\":%d,\"gpus\":[", rm->version, getpid());
	for (unsigned i = 0; i < count; i++) {
		const struct ps_gpu *gpu = &gpus[i];

		printf("%s\n{\"index\":%u,\"gpu_id\":%u,\"open\":{", i ? "," : "", i, gpu->gpu_id);
		print_result(gpu->opened);
		putchar('}');
		if (!gpu->opened) {
			printf(",\"name\":\"%s\",\n", gpu->name);
			print_lists(gpu, options);
			print_pid_infos(gpu);
			print_samples("util", &gpu->util);
			print_samples("util_v1", &gpu->util_v1);
			print_accounting(gpu);
			print_nvenc("nvenc", gpu->nvenc_result, gpu->nvenc);
			print_nvenc("nvenc_v2", gpu->nvenc_v2_result, gpu->nvenc_v2);
			print_nvfbc(gpu->nvfbc_result, gpu->nvfbc);
		}
		putchar('}');
	}
	puts("]}");
}

static const char *process_name(uint32_t pid, char name[32])
{
	char path[64];
	cleanup_file FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, 32, file))
		return "[Not Found]";
	name[strcspn(name, "\n")] = '\0';
	return name;
}

/* "C", "G" or "C+G" by the lists that name it; "M+C" under MPS. */
static const char *process_type(const struct ps_gpu *gpu, uint32_t pid,
				const struct ps_options *options)
{
	bool compute = false, graphics = false, mps = false;

	for (unsigned i = 0; i < options->classes; i++) {
		const struct ps_list *list = &gpu->list[i];

		for (uint32_t at = 0; !list->result && at < list->params->pidTblCount; at++) {
			if (list->params->pidTbl[at] != pid)
				continue;
			compute |= list->class_id == TURING_COMPUTE_A;
			mps |= list->class_id == MPS_COMPUTE;
			graphics |= list->class_id == TURING_A;
		}
	}
	if (mps)
		return "M+C";
	return compute && graphics ? "C+G" : (graphics ? "G" : "C");
}

/* One row of the table: a GPU, a process, what it does, padded to the frame. */
static void print_row(unsigned index, uint32_t pid, const char *type, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void print_row(unsigned index, uint32_t pid, const char *type, const char *format, ...)
{
	char text[128];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printf("| %4u %12u  %4s   %-61.61s |\n", index, pid, type, text);
}

static void print_memory(unsigned index, const struct ps_gpu *gpu, const struct ps_options *options)
{
	for (unsigned i = 0; i < gpu->pid_infos; i++) {
		const struct pid_info *info = &gpu->pid_info[i];
		char name[32];

		print_row(index, info->pid, process_type(gpu, info->pid, options),
			  "%-44.44s %12llu MiB", process_name(info->pid, name),
			  (unsigned long long)(info->memPrivate + info->memSharedOwned) >> 20);
	}
}

/* The newest use of each engine by each process, as nvidia-smi pmon shows it. */
static void print_newest_util(unsigned index, const struct ps_samples *samples)
{
	for (unsigned i = 0; samples->sample && i < samples->samples; i++) {
		const struct ps_sample *sample = &samples->sample[i];

		for (unsigned engine = 0; sample->timestamp && engine < samples->engines;
		     engine++) {
			const struct ps_engine *part = &sample->engine[engine];
			bool newest = part->pid != NV2080_GPUMON_PID_INVALID;
			char name[32];

			for (unsigned at = 0; newest && at < samples->samples; at++)
				newest = samples->sample[at].engine[engine].pid != part->pid ||
					 samples->sample[at].timestamp <= sample->timestamp;
			if (newest)
				print_row(index, part->pid, "", "%-44.44s %8s %5.1f %%",
					  process_name(part->pid, name), rm_engine_names[engine],
					  part->util / 100.0);
		}
	}
}

static void print_accounts(unsigned index, const struct ps_gpu *gpu)
{
	for (unsigned i = 0; i < gpu->accounts; i++) {
		const struct ps_account *account = &gpu->account[i];

		if (!account->result)
			print_row(index, account->asked, "",
				  "%-8s %3u %% GPU %3u %% memory, at most %llu MiB",
				  account->info.endTime ? "ended" : "running",
				  account->info.gpuUtil, account->info.fbUtil,
				  (unsigned long long)account->info.maxFbUsage >> 20);
	}
}

static void print_sessions(unsigned index, const struct ps_gpu *gpu)
{
	const struct nvenc_sessions_v2 *nvenc = gpu->nvenc_result ? gpu->nvenc_v2 : gpu->nvenc;
	bool has_nvenc = !gpu->nvenc_result || !gpu->nvenc_v2_result;

	for (uint32_t i = 0; has_nvenc && i < nvenc->sessionInfoTblEntry &&
			     i < NVENC_SESSION_INFO_MAX_COPYOUT_ENTRIES;
	     i++)
		print_row(index, nvenc->sessionInfoTbl[i].processId, "",
			  "encoder session %u, %ux%u", nvenc->sessionInfoTbl[i].sessionId,
			  nvenc->sessionInfoTbl[i].hResolution,
			  nvenc->sessionInfoTbl[i].vResolution);
	for (uint32_t i = 0; !gpu->nvfbc_result && i < gpu->nvfbc->sessionInfoCount &&
			     i < NV2080_GPU_NVFBC_MAX_SESSION_COUNT;
	     i++)
		print_row(index, gpu->nvfbc->sessionInfoTbl[i].processId, "", "capture session %u",
			  gpu->nvfbc->sessionInfoTbl[i].sessionId);
}

/* What all GPUs have of one kind, under a title of its own. */
static void print_part(const char *title, const char *value)
{
	printf("|%88s|\n| %-4s %12s  %4s   %-44s %16s |\n"
	       "|=================================================================================="
	       "======|\n",
	       "", "GPU", "PID", "Type", title, value);
}

void ps_print_table(const struct rm *rm, const struct ps_gpu *gpus, unsigned count,
		    const struct ps_options *options)
{
	static const char line[] = "+--------------------------------------------------------------"
				   "--------------------------+";
	char text[64];

	printf("%s\n| Driver Version: %-70s |\n", line, rm->version);
	for (unsigned i = 0; i < count; i++)
		if (gpus[i].opened)
			printf("| GPU %u cannot be opened: %-61s |\n", i,
			       rm_error_text(gpus[i].opened, text));
	print_part("Process name", "GPU Memory Usage");
	for (unsigned i = 0; i < count; i++)
		print_memory(i, &gpus[i], options);
	print_part("Utilisation", "");
	for (unsigned i = 0; i < count; i++)
		print_newest_util(i, &gpus[i].util);
	print_part("Accounting, sessions", "");
	for (unsigned i = 0; i < count; i++) {
		print_accounts(i, &gpus[i]);
		if (!gpus[i].opened)
			print_sessions(i, &gpus[i]);
	}
	puts(line);
}
