/* Rules on ioctl of a seccomp profile, compiled by libseccomp and run without a kernel. */
#ifndef FUZZ_SECCOMP_RUN_H
#define FUZZ_SECCOMP_RUN_H

#include <json-c/json.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>

struct seccomp_code {
	struct sock_filter *code; /* from malloc() */
	size_t length;
};

/* Compiles PROFILE for x86-64 alone as runc and crun do: rules of the default action skipped,
 * several comparisons of one argument as alternatives. Rules that name no ioctl are left out, and
 * so is what Docker's includes and excludes make conditional. Returns false for a profile that
 * libseccomp does not take. */
bool seccomp_compile(struct json_object *profile, struct seccomp_code *program);

/* The SECCOMP_RET_ value of PROGRAM for DATA. */
uint32_t seccomp_run(const struct seccomp_code *program, const struct seccomp_data *data);

#endif
