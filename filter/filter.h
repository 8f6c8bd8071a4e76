/* The seccomp filter: every ioctl that may be an RM control goes to the listener, everything else
 * is allowed. Built by libseccomp from nvabi_watched_ioctls(), loaded by seccomp(2). */
#ifndef FILTER_FILTER_H
#define FILTER_FILTER_H

#include "base/error.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A BPF program; owns code, which filter_program_free() or cleanup_filter gives back. */
struct filter_program {
	struct sock_filter *code;
	unsigned short length; /* instructions */
};

void filter_program_free(struct filter_program *program);
#define cleanup_filter __attribute__((cleanup(filter_program_free)))

/* Writes PROGRAM to OUT as C: an array NAME. */
void filter_program_write(const struct filter_program *program, const char *name, FILE *out);

/* What a filter shows: the calls that carry PIDs, or all that a confined container has to be
 * watched for; FILTER_CONFINE_COMPUTE lets those of UVM's through that CUDA makes all the time
 * (nvabi/confined.h). */
enum filter_kind { FILTER_PIDS, FILTER_CONFINE, FILTER_CONFINE_COMPUTE, FILTER_KINDS };

/* "pids", "confine", "confine-compute". */
const char *filter_kind_name(enum filter_kind kind);
bool filter_kind_parse(const char *word, enum filter_kind *kind);

/* Architectures by libseccomp's SCMP_ARCH_* tokens, ended by 0: all whose system calls a process on
 * this machine can make (on x86_64: x86_64, x86 and x32; on aarch64: aarch64 and arm). */
const uint32_t *filter_native_architectures(void);

/* Builds the program for ARCHITECTURES (see above) into PROGRAM. System calls of architectures that
 * are not listed are allowed. Returns 0, or -errno with ERROR filled. */
int filter_build(const uint32_t *architectures, struct filter_program *program,
		 struct mpu_error *error);

/* The same for a confined container: shows every ioctl that a release of the driver may take; with
 * COMPUTE, the numbers of nvabi_compute_uvm() pass. */
int filter_build_confine(const uint32_t *architectures, bool compute,
			 struct filter_program *program, struct mpu_error *error);

/* The one of the two that KIND says. */
int filter_build_kind(const uint32_t *architectures, enum filter_kind kind,
		      struct filter_program *program, struct mpu_error *error);

/* The program of CONTEXT, a scmp_filter_ctx of libseccomp, into PROGRAM. Returns 0 or -errno. */
int filter_export(void *context, struct filter_program *program);

/* The same for a trace: the program catches every ioctl that may be NVIDIA's, UVM's among them. */
int filter_build_trace(const uint32_t *architectures, struct filter_program *program,
		       struct mpu_error *error);

/* The programs of each kind, and that of a trace, for filter_native_architectures(): made when mpu was
 * built. */
extern const struct filter_program filter_native[FILTER_KINDS], filter_native_trace;

/* Flags for filter_install(), probed once: SECCOMP_FILTER_FLAG_NEW_LISTENER always, SPEC_ALLOW, and
 * WAIT_KILLABLE_RECV where the kernel has it (5.19). Returns them, or 0 with ERROR filled when the
 * kernel has no user notification (5.0, CONFIG_SECCOMP_FILTER). */
unsigned int filter_probe_flags(struct mpu_error *error);

/* Installs PROGRAM for the calling thread and what it will execute, for good. Needs no_new_privs or
 * CAP_SYS_ADMIN in the caller's user namespace. Returns the listener, which the caller owns
 * (close-on-exec), 0 where FLAGS ask for none, or -errno with ERROR filled: -EBUSY
 * when a filter above already has one. */
int filter_install(const struct filter_program *program, unsigned int flags,
		   struct mpu_error *error);

#endif
