#include "supervisor/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <unistd.h>

bool sandbox_mode_parse(const char *word, enum sandbox_mode *mode)
{
	static const char *const words[] = {"on", "log", "off"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0) {
			*mode = (enum sandbox_mode)i;
			return true;
		}
	return false;
}

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

const char *sandbox_excuse(void)
{
#ifdef __SANITIZE_ADDRESS__
	return "a build with AddressSanitizer, which traces its own process";
#else
	return NULL;
#endif
}

void sandbox_prepare(struct sandbox *sandbox, bool logs, bool metrics)
{
	*sandbox = (struct sandbox){.program = sandbox_programs[metrics],
				    .flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW |
					     (logs ? SECCOMP_FILTER_FLAG_LOG : 0)};
}

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
