/* A client that makes every kind of call a confined program may make, and those it may not. */
#ifndef E2E_TOUR_H
#define E2E_TOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "examples/rmclient.h"
#include "tests/simrm/escapes.h"

struct tour {
	struct rm rm;
	struct rm_client client;
	uint32_t device, subdevice, gpu_id;
	int node; /* nvidia0, registered to rm.ctl */
};

/* Opens the devices in ROOT, and a client with GPU 0. Ends the program where that fails. */
void tour_open(struct tour *tour, const char *root);
void tour_client(struct tour *tour);

/* ioctl() of an escape: 0 or a negative errno. */
int tour_escape(int fd, unsigned number, size_t size, void *data);

/* One line of the output. RESULT: negative errno or NV_STATUS. */
void say(const char *name, int result);
void say_bytes(const char *name, int result, const void *bytes, size_t size);
void die(const char *what) __attribute__((noreturn));

/* Lines of a control whose parameters count the entries of a list at COUNT_AT and point to it at
 * POINTER_AT: filled, empty, without memory. */
void tour_list(const struct tour *tour, const char *name, uint32_t object, uint32_t cmd,
	       uint32_t size, uint32_t count_at, uint32_t pointer_at, uint32_t entry);

/* Each prints its lines. */
void tour_memory(struct tour *tour);
void tour_objects(struct tour *tour);
void tour_lists(struct tour *tour);
void tour_files(struct tour *tour);
void tour_uvm(struct tour *tour, const char *root);
void tour_pinned(struct tour *tour);
void tour_requests(struct tour *tour);
void tour_refused(struct tour *tour, const char *root);
void tour_added(struct tour *tour, const char *root);

#endif
