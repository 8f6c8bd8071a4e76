/* Puts the files that an engine reads in place, and takes them away again. */
#ifndef RUNTIME_HOOK_INSTALL_H
#define RUNTIME_HOOK_INSTALL_H

#include "base/error.h"
#include "runtime-hook/config.h"

struct install_request {
	unsigned int targets; /* bits by install_add_target() */
	const char *root;     /* a folder that stands for /, or NULL */
	/* The seccomp profile that Kubernetes' is made from, or NULL for none; and LXC's, or NULL
	 * for the one that LXC has by itself. */
	const char *base;
	const char *lxc_socket; /* where mpud listens for LXC's monitors, or NULL: lxc.sock beside
				   its other socket */
};

/* Adds the engine NAME (podman, docker, kubernetes, cdi, lxc). Returns 0 or -ENOENT. */
int install_add_target(struct install_request *request, const char *name);

/* Writes the files, naming the programs beside this one. Existing ones of ours are replaced; of
 * Docker's daemon.json only the runtime "mpu" changes. Returns 0 or -errno with ERROR filled. */
int install_run(const struct install_request *request, const struct hook_settings *settings,
		struct mpu_error *error);

/* Takes them away. What is not there is no error. Returns 0 or -errno with ERROR filled. */
int uninstall_run(const struct install_request *request, struct mpu_error *error);

#endif
