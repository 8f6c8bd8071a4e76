#include "runtime-hook/confine.h"

#include "base/cleanup.h"
#include "supervisor/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

char *confine_metadata(const char *metadata, uint32_t confine)
{
	char words[MPU_CONFINE_TEXT];
	char *text = NULL;

	if (!confine)
		return metadata ? strdup(metadata) : NULL;
	if (asprintf(&text, "%s=%s mpu.confine=%s%s%s", MPU_FILTER_WORD,
		     filter_kind_name(mpu_confine_filter(confine)),
		     mpu_confine_words(confine, words), metadata ? " " : "",
		     metadata ? metadata : "") < 0)
		return NULL;
	return text;
}

int confine_check_filter(const char *metadata, uint32_t confine, struct mpu_error *error)
{
	struct mpu_error cause = {0};
	enum filter_kind kind;

	if (!confine)
		return 0;
	if (mpu_filter_of(metadata, &kind))
		kind = FILTER_PIDS;
	if (mpu_confine_check_filter(confine, kind, &cause) == 0)
		return 0;
	return mpu_fail(
	    error, EBUSY,
	    "the container's seccomp profile sends to mpud already, and cannot be used: %s",
	    cause.text);
}
