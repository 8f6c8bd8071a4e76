/* Reads nvabi/data: the text tables as rows of nvabi/tables.h. Errors name file and line. */
#ifndef NVABI_TOOLS_LOAD_H
#define NVABI_TOOLS_LOAD_H

#include "base/error.h"
#include "nvabi/lines.h"
#include "nvabi/tables.h"

struct loaded_release {
	struct nvabi_release row;
	char parent[NVABI_VERSION_TEXT];
	unsigned int line;
};

/* The tree of releases. Free it with unload_tree(). */
struct loaded_tree {
	struct nvabi_release *release;
	uint32_t count;
};

/* Reads the tree from the file PATH. Refuses (-EINVAL): malformed lines, a version listed twice, a
 * parent that is not listed, a cycle, more or less than one root. */
int load_tree(const char *path, struct loaded_tree *tree, struct mpu_error *error);
void unload_tree(struct loaded_tree *tree);

/* Leaves the partial releases out, of whose process ids nothing is known. */
void drop_partial(struct loaded_tree *tree);

/* The index of the release that TEXT names; refuses the line where it is not in the tree. */
int load_release_of(const struct loaded_tree *tree, const struct table_line *line, const char *text,
		    uint32_t *release, struct mpu_error *error);

/* All tables about process ids. Free them with unload_pids(). */
struct loaded_pids {
	struct loaded_tree tree;
	struct nvabi_semantics_change *semantics;
	uint32_t semantics_count;
	struct nvabi_control_change *control;
	uint32_t control_count;
};

/* Reads the tree and the tables of PID semantics and PID controls. Refuses what load_tree() does,
 * rows for releases that are not in the tree, two rows for the same thing at one release, rows that
 * change nothing, and unknown or bad keys and values. */
int load_pids(const char *releases, const char *semantics, const char *controls,
	      struct loaded_pids *pids, struct mpu_error *error);
void unload_pids(struct loaded_pids *pids);

/* LOADED as the tables on which nvabi_pids_compose_from() works; borrows from it. */
struct nvabi_pid_tables loaded_pid_tables(const struct loaded_pids *loaded);

/* The word by which a control's call is written (GET_PIDS ...), and the field words of the others.
 */
const char *load_call_name(enum nvabi_pid_call call);

#endif
