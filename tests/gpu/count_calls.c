/* LD_PRELOAD: writes a line for each ioctl of an NVIDIA device to the file $COUNT_CALLS, as the program
 * makes it. Told by the path of the device, so that nothing of mpu's own knowledge is in it:
 *	escape NUMBER | control CMD | class NUMBER | uvm NUMBER */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RM_CONTROL = 0x2a, RM_ALLOC = 0x2b, XFER = 211 };

static void describe(int fd, unsigned long request, const void *argument, char *line, size_t size)
{
	char link[48], path[512];
	const char *name;
	ssize_t length;
	uint32_t number = (uint32_t)request & 0xff, word[4];

	*line = '\0';
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length > 0 ? length : 0] = '\0';
	name = strrchr(path, '/');
	if (!name)
		return;
	if (!strcmp(name, "/nvidia-uvm") || !strcmp(name, "/nvidia-uvm-tools")) {
		snprintf(line, size, "uvm %u\n", (uint32_t)request);
		return;
	}
	if (strcmp(name, "/nvidiactl") && !(!strncmp(name, "/nvidia", 7) && name[7] >= '0' && name[7] <= '9'))
		return;
	if (number == XFER) {
		memcpy(word, argument, 16);
		number = word[0];
		memcpy(&argument, word + 2, sizeof(argument));
	}
	if (number == RM_CONTROL || number == RM_ALLOC) {
		memcpy(word, argument, 16);
		snprintf(line, size, "%s %u\n", number == RM_CONTROL ? "control" : "class",
			 number == RM_CONTROL ? word[2] : word[3]);
		return;
	}
	snprintf(line, size, "escape %u\n", number);
}

int ioctl(int fd, unsigned long request, ...)
{
	const char *path = getenv("COUNT_CALLS");
	char line[64];
	void *argument;
	va_list args;
	int out;

	va_start(args, request);
	argument = va_arg(args, void *);
	va_end(args);
	describe(fd, request, argument, line, sizeof(line));
	out = *line && path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
	if (out >= 0) {
		if (write(out, line, strlen(line)) < 0)
			_exit(99);
		close(out);
	}
	return (int)syscall(SYS_ioctl, fd, request, argument);
}
