/* mpud: the daemon that answers the GPU calls of containers. */
#include "base/log.h"
#include "nvabi/allow.h"
#include "supervisor/confine/nursery.h"
#include "supervisor/mpud/mpud.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A service manager has ended the mpud before, and would soon give up on this one: with it would go the
 * calls of all containers. Without the file fewer calls are allowed, and nothing else is amiss. */
static bool goes_on_without(const struct mpud_options *options, const char *path)
{
	if (options->replace || !getenv("NOTIFY_SOCKET"))
		return false;
	log_error("mpud goes on, and allows no driver calls besides those that it knows to be "
		  "needed, until that file is mended and mpud restarted",
		  "file=%s", path);
	return true;
}

/* Before anything is begun or taken over: should it be bad, the mpud that runs goes on. The default
 * is root's only, since an ordinary user's mpud is not the administrator's. */
static int read_allowed(struct mpud_options *options)
{
	const char *path = options->allow ? options->allow : geteuid() ? NULL : "/etc/mpu/allow";
	struct mpu_error error = {0};
	int result = path ? nvabi_allow_read(path, &options->allowed, &error) : -ENOENT;

	if (result == -ENOENT && !options->allow)
		return 0;
	if (result) {
		log_error(error.text, "error=%d check=\"mpuctl abi policy VERSION --allow=%s\"",
			  error.code, path);
		return goes_on_without(options, path) ? 0 : 1;
	}
	log_info("driver calls are allowed besides those that mpu knows to be needed",
		 "file=%s rows=%u", path, nvabi_allow_rows(options->allowed));
	return 0;
}

int main(int argc, char **argv)
{
	static struct mpud_options options;
	int result;

	if (nursery_is_meant(argc, argv))
		nursery_main(argc, argv);
	result = mpud_options_parse(argc, argv, &options);
	if (result < 0 && read_allowed(&options))
		return 1;
	return result >= 0 ? result : keeper_run(&options);
}
