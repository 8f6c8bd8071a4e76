/* Reads nvabi/data/policy, policy-params and unknown-calls, and files of lines of the first two. */
#ifndef NVABI_LOAD_POLICY_H
#define NVABI_LOAD_POLICY_H

#include "nvabi/lines.h"
#include "nvabi/policy-tables.h"

struct loaded_row {
	struct nvabi_policy_row row;
	unsigned int line;
};

struct loaded_param {
	struct nvabi_policy_param param;
	unsigned int line;
};

/* Strings are owned by it. Free it with unload_policy(). */
struct loaded_policy {
	struct loaded_row *row;
	uint32_t row_count;
	struct loaded_param *param;
	uint32_t param_count;
	struct nvabi_unknown_change *unknown;
	uint32_t unknown_count;
	/* Compiled: */
	struct nvabi_policy_row *out_row;
	struct nvabi_policy_param *out_param;
};

/* Reads the rows of the file PATH, behind those that are there. Refuses (-EINVAL), with file and
 * line: malformed rows, unknown words, a row without a reason, a second row for the same call. */
int load_policy_rows(struct loaded_policy *policy, const char *path, struct mpu_error *error);

/* Reads what is behind fields. Refuses malformed rows and a second row for the same field. */
int load_policy_params(struct loaded_policy *policy, const char *path, struct mpu_error *error);

/* Reads how unknown calls are answered. Refuses malformed rows, a release that is not in the tree
 * of ABI, unknown words and a second row for the same. */
int load_unknown_calls(struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
		       const char *path, struct mpu_error *error);

/* Reads FILE, which PATH names, with lines of both kinds: rows are those that begin with a kind. */
int load_policy_lines(struct loaded_policy *policy, FILE *file, const char *path,
		      struct mpu_error *error);

/* Whether both rows are of one call. */
bool load_policy_same_call(const struct nvabi_policy_row *a, const struct nvabi_policy_row *b);

/* Whether mpu translates the process ids of a control of RELEASE. */
typedef bool policy_translates(const struct nvabi_version *release, uint32_t control);

/* Holds what was read, and is to stand besides BASE, against the ABI of all releases. Refuses, with
 * file and line: a name that no release has, a field that no release has, and a rule in whose
 * parameters any release has a pointer or a descriptor of which nothing is said, or more than one
 * thing, or too many; of a file's own rows also what would take a call out of a pattern of BASE, a
 * process id that nobody TRANSLATES, and RM's objects in calls of UVM. */
int check_policy(const struct loaded_policy *policy, const struct nvabi_policy_tables *base,
		 const struct nvabi_abi_tables *abi, policy_translates *translates,
		 const char *rows, const char *params, struct mpu_error *error);

/* Looks for the last of these in the release VERSION alone. */
int check_policy_at(const struct loaded_policy *policy, const struct nvabi_abi_tables *abi,
		    const struct nvabi_version *version, struct mpu_error *error);

/* Compiles what was read, with BASE, into TABLES, which borrows from both. */
int load_policy_finish(struct loaded_policy *policy, const struct nvabi_policy_tables *base,
		       struct nvabi_policy_tables *tables, struct mpu_error *error);

/* All of it, from the folder DATA. */
int load_policy(const char *data, const struct nvabi_abi_tables *abi, struct loaded_policy *policy,
		struct nvabi_policy_tables *tables, struct mpu_error *error);

void unload_policy(struct loaded_policy *policy);

#endif
