/* A seccomp section compiled as runc and crun compile it, and its program run in user space. */
#ifndef TESTS_UNIT_RUNTIME_HOOK_SECCOMP_JSON_H
#define TESTS_UNIT_RUNTIME_HOOK_SECCOMP_JSON_H

#include "filter/filter.h"

#include <json-c/json.h>
#include <linux/seccomp.h>

/* Compiles PROFILE with libseccomp: rules of the default action skipped, names that libseccomp does
 * not know skipped, several comparisons of one argument taken as alternatives, Docker's includes
 * and excludes resolved for an unprivileged container on this machine. Aborts the test on errors.
 */
void seccomp_json_compile(struct json_object *profile, struct filter_program *program);

/* Runs PROGRAM on DATA as the kernel does. Returns its SECCOMP_RET_ value. */
uint32_t bpf_run(const struct filter_program *program, const struct seccomp_data *data);

#endif
