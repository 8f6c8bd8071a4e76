/* The parts of gpu-ps: asking (gpu-ps-ask.c) and printing (gpu-ps-print.c). */
#ifndef EXAMPLES_GPU_PS_H
#define EXAMPLES_GPU_PS_H

#include "examples/rmclient.h"

enum { PS_CLASSES = 8, PS_ACCOUNTS = 16, PS_PIDS = NV2080_CTRL_GPU_GET_PIDS_MAX_COUNT };

struct ps_options {
	const char *dev_root;
	bool json;
	uint32_t class_id[PS_CLASSES];
	unsigned classes;
	uint32_t account[PS_ACCOUNTS]; /* to be asked for besides those that are listed */
	unsigned accounts;
};

/* Results are 0, a positive NV_STATUS or a negative errno. */
struct ps_list {
	uint32_t class_id;
	int result;
	struct get_pids_params *params;
};

struct ps_engine {
	uint32_t util, pid, sub_pid;
	uint64_t os_pid_info;
};

struct ps_sample {
	uint64_t timestamp; /* 0: empty */
	struct ps_engine engine[RM_ENGINES];
};

struct ps_samples {
	int result;
	uint32_t count, tracker, samples, engines;
	struct ps_sample *sample;
};

struct ps_account {
	uint32_t asked;
	int result;
	struct acct_proc_info info;
};

struct ps_gpu {
	uint32_t gpu_id;
	int opened;
	char name[64];
	struct ps_list list[PS_CLASSES];
	/* GET_PID_INFO for all that the lists named, in calls of at most 200. */
	int pid_info_result;
	unsigned pid_infos;
	struct pid_info *pid_info;
	struct ps_samples util, util_v1;
	int acct_state_result;
	uint32_t acct_state;
	int acct_pids_result;
	struct acct_pids *acct_pids;
	unsigned accounts; /* those listed, then those of the options */
	struct ps_account *account;
	int nvenc_result, nvenc_v2_result, nvfbc_result;
	struct nvenc_sessions_v2 *nvenc, *nvenc_v2;
	struct nvfbc_sessions *nvfbc;
};

/* Asks all about the GPU. A call that fails leaves its result behind and no data. */
void ps_ask(struct rm_client *client, uint32_t gpu_id, const struct ps_options *options,
	    struct ps_gpu *gpu);
void ps_free(struct ps_gpu *gpus, unsigned count);
void ps_print_json(const struct rm *rm, const struct ps_gpu *gpus, unsigned count,
		   const struct ps_options *options);
void ps_print_table(const struct rm *rm, const struct ps_gpu *gpus, unsigned count,
		    const struct ps_options *options);

#endif
