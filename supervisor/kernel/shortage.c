#include "supervisor/kernel/shortage.h"

#include <errno.h>

static _Thread_local bool noted;

void shortage_forget(void)
{
	noted = false;
}

void shortage_note(int errnum)
{
	static const int reasons[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS, EINTR, EAGAIN, EIO};

	for (unsigned int i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		noted |= errnum == reasons[i];
}

bool shortage_was_noted(void)
{
	return noted;
}
