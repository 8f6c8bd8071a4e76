/* A client of the driver that makes its calls by hand, so as to make them wrongly. */
#ifndef E2E_HOSTILE_H
#define E2E_HOSTILE_H

#include "examples/rm.h"
#include "nvabi/pids.h"

#include <stddef.h>
#include <stdint.h>

/* The requests as every NVIDIA library writes them. */
#define RM_CONTROL 0xc020462aUL
#define XFER	   0xc01046d3UL

/* A client with one device and subdevice of GPU 0. */
struct gpu {
	const char *root; /* folder of the device files */
	int ctl;
	int device_file;
	uint32_t client, device, subdevice, gpu_id;
	struct nvabi_pids pids;
};

/* Opens ROOT/nvidiactl and allocates the objects; ends the program where that fails. */
void gpu_open(struct gpu *gpu, const char *root, const char *version);

/* The result of one call: errno (0 for none) and, where the call came back, NVOS54's status. */
struct result {
	int error;
	uint32_t status;
};

/* ioctl() with any request; UINT32_MAX stands for the status until the driver writes it. */
struct result call_control(int fd, unsigned long request, struct nvos54_parameters *control);

/* The call as a library makes it. */
struct result gpu_control(const struct gpu *gpu, uint32_t cmd, void *params, uint32_t size);

/* NVOS54 for CONTROL with PARAMS, as a library fills it. */
struct nvos54_parameters gpu_call(const struct gpu *gpu, const struct nvabi_pid_control *control,
				  void *params);

/* The size of CONTROL's parameters in this release. */
uint32_t control_size(const struct nvabi_pid_control *control);

/* Fills PARAMS, control_size() bytes, so that the call succeeds. LIST is memory for an embedded
 * list, LIST_SIZE bytes. */
void fill_valid(const struct gpu *gpu, const struct nvabi_pid_control *control, void *params,
		void *list, size_t list_size);

/* GUARDED bytes of memory with a page behind them that cannot be used; ends the program where that
 * fails. Lies below 4 GiB. */
unsigned char *guarded_pages(void);
enum { PAGE = 4096, GUARDED = 65536 };

/* One line of the output: NAME and what came of it. */
void say(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_result(const char *control, const char *name, struct result result);

void die(const char *what) __attribute__((noreturn));

/* Each prints its lines: wrong arguments; things that happen while a call is under way; what is
 * told of each PID that it tries, all small ones and those in the list PIDS, which NULL ends. */
void wrong_arguments(struct gpu *gpu);
void races(struct gpu *gpu);
void probe(struct gpu *gpu, char **pids);

#endif
