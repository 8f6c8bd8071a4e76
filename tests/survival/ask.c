/* ask --dev-root=DIR: makes one call for each line "CMD SIZE" on standard input, as it is and once,
 * and answers with a line "ERRNO STATUS", after it said "ready". */
#include "tests/survival/holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_ASKED = 64 << 10 };

static void ask(const struct holder *holder, uint32_t cmd, uint32_t size)
{
	static unsigned char params[SIZE_MAX_ASKED];
	uint32_t object = cmd >> 16 == 0x2080 ? holder->gpu.subdevice : holder->client.handle;
	int result;

	memset(params, 0, sizeof(params));
	result = rm_control(&holder->client, object, cmd, params, size);
	printf("%d %d\n", result < 0 ? -result : 0, result > 0 ? result : 0);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const char option[] = "--dev-root=";
	static struct holder holder;
	unsigned int cmd, size;

	if (argc != 2 || strncmp(argv[1], option, strlen(option)) != 0)
		return 2;
	holder_start(&holder, argv[1] + strlen(option), 1);
	puts("ready");
	fflush(stdout);
	while (scanf("%x %u", &cmd, &size) == 2 && size <= SIZE_MAX_ASKED)
		ask(&holder, cmd, size);
	return 0;
}
