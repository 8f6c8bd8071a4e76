/* Prints how a release of the NVIDIA driver lays out the parameters of a call:
 *
 *	cc -o nvabi-show nvabi-show.c $(pkg-config --cflags --libs nvabi)
 *	./nvabi-show 580.95.05 NV2080_CTRL_CMD_GPU_GET_PIDS
 */
#include <nvabi/nvabi.h>
#include <stdio.h>

static int print_field(const struct nvabi_field *field, void *context)
{
	(void)context;
	printf("%6u %6u  %-10s %s%s  %s\n", field->offset, field->size, field->type, field->name,
	       field->dims, nvabi_role_name(field->role));
	return 0;
}

static int show(struct nvabi_abi *abi, const char *name)
{
	struct nvabi_call call;

	if (!nvabi_abi_by_name(abi, name, &call)) {
		fprintf(stderr, "nvabi-show: this release has no call %s\n", name);
		return 1;
	}
	printf("%s %s is 0x%x; %s, %u bytes:\n", nvabi_kind_name(call.kind), call.name, call.number,
	       call.structure ? call.structure : "no parameters", call.size);
	return call.structure && nvabi_abi_fields(abi, call.structure, true, print_field, NULL);
}

int main(int argc, char **argv)
{
	struct nvabi_version version;
	struct nvabi_abi *abi;
	int status;

	if (argc != 3 || nvabi_version_parse(argv[1], &version)) {
		fprintf(stderr, "usage: nvabi-show VERSION CALL\n");
		return 2;
	}
	if (nvabi_abi_open(&version, &abi)) {
		fprintf(stderr, "nvabi-show: nothing is known of driver %s\n", argv[1]);
		return 1;
	}
	status = show(abi, argv[2]);
	nvabi_abi_close(abi);
	return status;
}
