/* Prints the processes of the GPUs as nvidia-smi does, from the same RM calls that NVML makes. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "examples/gpu-ps.h"

static const char usage[] =
    "usage: gpu-ps [--dev-root=DIR] [--json] [--class=N]... [--account=PID]...\n"
    "  --dev-root=DIR  folder of the devices (/dev)\n"
    "  --json          exactly what was received\n"
    "  --class=N       a further class to ask for\n"
    "  --account=PID   ask for the accounting of PID too\n";

static void parse_options(int argc, char **argv, struct ps_options *options)
{
	static const struct option table[] = {
	    {"dev-root", required_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
	    {"class", required_argument, NULL, 'c'},	{"account", required_argument, NULL, 'a'},
	    {"help", no_argument, NULL, 'h'},		{NULL, 0, NULL, 0},
	};
	int option;

	*options = (struct ps_options){.dev_root = "/dev"};
	options->class_id[options->classes++] = TURING_COMPUTE_A;
	options->class_id[options->classes++] = MPS_COMPUTE;
	options->class_id[options->classes++] = TURING_A;
	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (option) {
		case 'd':
			options->dev_root = optarg;
			break;
		case 'j':
			options->json = true;
			break;
		case 'c':
			if (options->classes == PS_CLASSES) {
				fprintf(stderr, "gpu-ps: --class: at most %d\n", PS_CLASSES);
				exit(1);
			}
			options->class_id[options->classes++] = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'a':
			if (options->accounts == PS_ACCOUNTS) {
				fprintf(stderr, "gpu-ps: --account: at most %d\n", PS_ACCOUNTS);
				exit(1);
			}
			options->account[options->accounts++] = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(1);
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	uint32_t ids[NV0000_CTRL_GPU_MAX_ATTACHED_GPUS];
	cleanup_free struct ps_gpu *gpus = NULL;
	struct ps_options options;
	struct rm_client client;
	char text[64];
	struct rm rm;
	int err, count;

	parse_options(argc, argv, &options);
	if (rm_open(&rm, options.dev_root))
		return 1;
	err = rm_client_alloc(&rm, &client);
	count = err ? 0 : rm_gpu_count(&client, ids);
	if (err || count < 0) {
		fprintf(stderr, "gpu-ps: %s/nvidiactl: no client: %s\n", options.dev_root,
			rm_error_text(err ? err : count, text));
		return 1;
	}
	gpus = calloc((size_t)count + 1, sizeof(*gpus));
	if (!gpus) {
		fprintf(stderr, "gpu-ps: no memory\n");
		return 1;
	}
	for (int i = 0; i < count; i++)
		ps_ask(&client, ids[i], &options, &gpus[i]);
	if (options.json)
		ps_print_json(&rm, gpus, (unsigned)count, &options);
	else
		ps_print_table(&rm, gpus, (unsigned)count, &options);
	ps_free(gpus, (unsigned)count);
	rm_close(&rm);
	return 0;
}
