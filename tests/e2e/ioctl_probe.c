/* ioctl-probe FILE: makes each request of FILE, in hexadecimal, on no open file, and prints it with the
 * error that came: EBADF (9) is the kernel's own, any other that of who listens. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "re") : NULL;
	unsigned long request;

	if (!file) {
		fprintf(stderr, "ioctl-probe: %s\n", argc == 2 ? strerror(errno) : "wants a file");
		return 1;
	}
	while (fscanf(file, "%lx", &request) == 1)
		printf("0x%08lx %d\n", request, ioctl(-1, request, NULL) ? errno : 0);
	fclose(file);
	return 0;
}
