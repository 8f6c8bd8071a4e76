/* Apart from what builds the filters: mpu-run needs no library for that. */
#include "supervisor/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <unistd.h>

int sandbox_enter(const struct sandbox *sandbox, enum sandbox_role role, struct mpu_error *error)
{
	return sandbox ? filter_install(&sandbox->program[role], sandbox->flags, error) : 0;
}

void sandbox_enter_thread(const struct sandbox *sandbox, enum sandbox_role role)
{
	struct mpu_error error = {0};

	if (sandbox_enter(sandbox, role, &error) && error.code != ENOSYS)
		log_error("a thread has the sandbox of its process only", "thread=%d error=\"%s\"",
			  gettid(), error.text);
}
