/* nvabi-parity [--facts FILE] TREE VERSION: a C compiler's word on all that nvabi says of a
 * release. It shares nothing with nvabi-extract but the list of headers. */
#include "nvabi/abi-rows.h"
#include "nvabi/tools/extract.h"
#include "nvabi/tools/facts.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct parity {
	const char *tree, *version;
	struct extract headers;
	struct nvabi_abi *abi;
	char folder[64]; /* scratch */
};

static int open_release(struct parity *parity, struct mpu_error *error)
{
	struct nvabi_version version;
	enum nvabi_match match;
	int rc;

	if (nvabi_version_parse(parity->version, &version))
		return mpu_fail(error, EINVAL, "'%s' is not a version", parity->version);
	rc = nvabi_abi_open(&version, &parity->abi);
	if (rc)
		return mpu_fail(error, -rc, "%s: nothing is known of its ABI", parity->version);
	nvabi_abi_release(parity->abi, &match);
	if (match != NVABI_MATCH_EXACT)
		return mpu_fail(error, ENOENT, "%s: is not in nvabi/data/releases",
				parity->version);
	return 0;
}

/* Runs the program ARGS. Its standard output goes to the file OUT where that is not NULL. */
static int run(char *const *args, const char *out, struct mpu_error *error)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return mpu_fail(error, errno, "fork: %s", strerror(errno));
	if (!child) {
		if (out && !freopen(out, "w", stdout))
			_exit(126);
		execvp(args[0], args);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return mpu_fail(error, errno, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return mpu_fail(error, EINVAL, "%s failed", args[0]);
}

static int compile(const struct parity *parity, const char *source, const char *program,
		   struct mpu_error *error)
{
	static const char *const folders[] = {"src/common/sdk/nvidia/inc",
					      "src/nvidia/arch/nvalloc/unix/include",
					      "kernel-open/nvidia-uvm", "kernel-open/common/inc"};
	enum { FOLDERS = sizeof(folders) / sizeof(*folders) };
	char include[FOLDERS][4096];
	char *compiler = getenv("CC") ? getenv("CC") : (char *)(uintptr_t) "cc";
	char *args[FOLDERS + 9] = {compiler, (char *)(uintptr_t) "-w",
				   (char *)(uintptr_t) "-std=gnu11", (char *)(uintptr_t) "-O0",
				   (char *)(uintptr_t) "-fmax-errors=20"};
	int count = 5;

	for (int i = 0; i < FOLDERS; i++) {
		snprintf(include[i], sizeof(include[i]), "-I%s/%s", parity->tree, folders[i]);
		args[count++] = include[i];
	}
	args[count++] = (char *)(uintptr_t)source;
	args[count++] = (char *)(uintptr_t)(program ? "-o" : "-fsyntax-only");
	if (program)
		args[count++] = (char *)(uintptr_t)program;
	return run(args, NULL, error);
}

/* Headers are included by their full paths. */
static int full_paths(struct parity *parity, struct mpu_error *error)
{
	for (uint32_t i = 0; i < parity->headers.header_count; i++) {
		char *path;

		if (asprintf(&path, "%s/%s", parity->tree, parity->headers.header[i]) < 0)
			return mpu_fail(error, ENOMEM, "no memory");
		free(parity->headers.header[i]);
		parity->headers.header[i] = path;
	}
	return 0;
}

static int check_assertions(struct parity *parity, struct fact_counts *counts,
			    struct mpu_error *error)
{
	char path[96];
	int rc = 0;

	snprintf(path, sizeof(path), "%s/assert.c", parity->folder);
	FILE *out = fopen(path, "we");
	if (!out)
		return mpu_fail(error, errno, "%s: %s", path, strerror(errno));
	*counts = write_assertions(parity->abi, parity->headers.header,
				   parity->headers.header_count, out);
	if (fclose(out))
		rc = mpu_fail(error, EIO, "%s: cannot be written", path);
	if (!rc && compile(parity, path, NULL, error)) {
		error->code = 0; /* the compiler's own words stand above */
		rc = mpu_fail(error, EINVAL, "%s: the headers in %s contradict the tables",
			      parity->version, parity->tree);
	}
	unlink(path);
	return rc;
}

static int print_facts(struct parity *parity, const char *facts, struct mpu_error *error)
{
	char source[96], program[96];
	char *const args[] = {program, NULL};
	int rc = 0;

	snprintf(source, sizeof(source), "%s/facts.c", parity->folder);
	snprintf(program, sizeof(program), "%s/facts", parity->folder);
	FILE *out = fopen(source, "we");
	if (!out)
		return mpu_fail(error, errno, "%s: %s", source, strerror(errno));
	write_fact_program(parity->abi, parity->headers.header, parity->headers.header_count, out);
	if (fclose(out))
		rc = mpu_fail(error, EIO, "%s: cannot be written", source);
	if (!rc)
		rc = compile(parity, source, program, error);
	if (!rc)
		rc = run(args, facts, error);
	unlink(source);
	unlink(program);
	return rc;
}

/* The compiler's own lines must be the tables' lines. */
static int hash_facts(const struct parity *parity, const char *facts, uint64_t *hash,
		      struct mpu_error *error)
{
	cleanup_file FILE *file = fopen(facts, "re");
	cleanup_file FILE *own = tmpfile();

	if (!file || !own)
		return mpu_fail(error, errno, "%s: %s", facts, strerror(errno));
	write_facts(parity->abi, own);
	*hash = fact_hash(file);
	if (*hash != fact_hash(own))
		return mpu_fail(error, EINVAL, "%s: what the compiler printed is not in the tables",
				facts);
	return 0;
}

/* Types and names, which a compiler does not print: what is extracted must be the tables' rows. */
static int hash_rows(const struct parity *parity, uint64_t *hash, struct mpu_error *error)
{
	cleanup_file FILE *extracted = tmpfile();
	cleanup_file FILE *own = tmpfile();
	int rc;

	if (!extracted || !own)
		return mpu_fail(error, errno, "tmpfile: %s", strerror(errno));
	rc = extract_tree(parity->tree, parity->version, NVABI_DATA, extracted, error);
	if (rc)
		return rc;
	nvabi_abi_write_rows(parity->abi, own);
	*hash = fact_hash(extracted);
	if (*hash != fact_hash(own))
		return mpu_fail(error, EINVAL, "%s: what is extracted from %s is not in the tables",
				parity->version, parity->tree);
	return 0;
}

static int print_hashes(const struct parity *parity, const char *facts, struct fact_counts counts,
			struct mpu_error *error)
{
	uint64_t hash = 0, rows = 0;
	int rc = hash_facts(parity, facts, &hash, error);

	if (!rc)
		rc = hash_rows(parity, &rows, error);
	if (!rc)
		printf("%s,%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%016" PRIx64 ",%016" PRIx64 "\n",
		       parity->version, counts.calls, counts.structures, counts.fields, hash, rows);
	return rc;
}

static int check(struct parity *parity, const char *facts, struct mpu_error *error)
{
	struct fact_counts counts = {0};
	int rc = open_release(parity, error);

	if (!rc)
		rc = extract_find_headers(&parity->headers, error);
	if (!rc)
		rc = full_paths(parity, error);
	if (!rc)
		rc = check_assertions(parity, &counts, error);
	if (!rc && facts)
		rc = print_facts(parity, facts, error);
	if (rc)
		return rc;
	if (facts)
		return print_hashes(parity, facts, counts, error);
	printf("%s: %" PRIu32 " calls, %" PRIu32 " structures, %" PRIu32
	       " fields agree with the headers\n",
	       parity->version, counts.calls, counts.structures, counts.fields);
	return 0;
}

int main(int argc, char **argv)
{
	bool facts = argc == 5 && !strcmp(argv[1], "--facts");
	struct mpu_error error = {0};
	struct parity parity = {.folder = "/tmp/nvabi-parity-XXXXXX"};
	int rc;

	if (argc != 3 && !facts) {
		fprintf(stderr,
			"usage: nvabi-parity [--facts FILE] TREE VERSION\n"
			"Compiles an assertion of every number, size and offset that nvabi has for "
			"VERSION\nagainst the headers in TREE. With --facts, the compiler's own "
			"numbers go to FILE; a row of\ntests/data/abi-facts.csv, with hashes of "
			"them and of what is "
			"extracted, to standard output.\n");
		return 2;
	}
	parity.tree = argv[argc - 2];
	parity.version = argv[argc - 1];
	parity.headers.tree = strdup(parity.tree);
	if (!parity.headers.tree || !mkdtemp(parity.folder)) {
		fprintf(stderr, "nvabi-parity: %s: %s\n", parity.folder, strerror(errno));
		return 1;
	}
	rc = check(&parity, facts ? argv[2] : NULL, &error);
	if (rc)
		fprintf(stderr, "nvabi-parity: %s\n", error.text);
	rmdir(parity.folder);
	nvabi_abi_close(parity.abi);
	extract_free(&parity.headers);
	return rc ? 1 : 0;
}
